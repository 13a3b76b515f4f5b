"""Evaluates a jaxpr in arbitrary precision, by a table of rules for primitives and control flow.

A rule takes the mpmath context, the equation and its inputs, and returns its output or the list of its outputs.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.exact import elementwise, indexing, matrices, reductions, sorting
from jaxdl.exact.numbers import empty, exact, filled, fitted, is_exact, is_inexact, is_opaque, remembered
from jaxdl.exact.types import Array, Context, Rules

MOST_STEPS = 100_000


class UnknownPrimitive(NotImplementedError):
    """A primitive that `jaxdl.exact` has no definition of.

    Attributes:
        primitive: Its name.
        where: The line of source code that it comes from.
        setting: "name=value" of a parameter that is not known, if the primitive is known without it; else empty.
    """

    def __init__(self, primitive: str, where: str, setting: str = ""):
        self.primitive: str = primitive
        self.where: str = where
        self.setting: str = setting
        what = f"{primitive} with {setting}" if setting else primitive
        super().__init__(f"jaxdl.exact has no definition of the primitive {what}, at {where or 'an unknown line'}")


def run(jaxpr: jx.AnyJaxpr, values: Sequence[Array], mp: Context) -> list[Array]:
    """The outputs of a jaxpr at the precision of the context, for inputs as made by `numbers.exact`."""
    plain = jx.opened(jaxpr)
    known = {v: exact(mp, c, v.aval) for v, c in zip(plain.constvars, getattr(jaxpr, "consts", ()), strict=True)}
    known.update(zip(plain.invars, values, strict=True))
    read = lambda atom: known[atom] if jx.is_variable(atom) else exact(mp, atom.val, atom.aval)
    for eqn in plain.eqns:
        try:
            y = outputs(mp, eqn, [*map(read, eqn.invars)])
        except UnknownPrimitive as unknown:
            # An equation inside one of JAX's own functions has no line in the user's code, but the call has.
            if unknown.where:
                raise
            raise UnknownPrimitive(unknown.primitive, jx.where(eqn), unknown.setting) from None
        known.update((v, fitted(mp, part, v.aval)) for v, part in zip(eqn.outvars, y, strict=True))
    return [read(v) for v in plain.outvars]


def outputs(mp: Context, eqn: jx.Equation, inputs: list[Any]) -> list[Array]:
    """The outputs of one equation; nothing is computed if all of them are empty."""
    kinds = [v.aval for v in eqn.outvars]
    if kinds and not any(kind.size or is_opaque(kind) for kind in kinds):
        return [*map(empty, kinds)]
    y = rule_of(eqn)(mp, eqn, *inputs)
    return y if isinstance(y, list) else [y]


def rule_of(eqn: jx.Equation) -> Callable[..., Any]:
    name = eqn.primitive.name
    if name not in FLOW and name != "convert_element_type" and not any(is_inexact(v.aval) for v in eqn.invars):
        return indexing.native
    rule = FLOW.get(name) or RULES.get(name) or (own_primitive if name.startswith("jaxdl_") else None)
    unknown = jx.unknown_parameter(eqn)
    if rule is None or unknown:
        raise UnknownPrimitive(name, jx.where(eqn), "{}={}".format(*unknown) if rule and unknown else "")
    return rule


# --- calls and control flow --------------------------------------------------------------------------


def call(mp: Context, eqn: jx.Equation, *args: Array) -> list[Array]:
    return run(jx.inner_jaxprs(eqn)[0], args, mp)


def call_op(mp: Context, eqn: jx.Equation, *args: Array) -> list[Array]:
    return run(remembered(mp, eqn, lambda: jx.primal_of(eqn)), args, mp)


def own_primitive(mp: Context, eqn: jx.Equation, *args: Array) -> list[Array]:
    """A primitive of jaxdl that is defined by a JAX function."""
    return run(remembered(mp, eqn, lambda: jx.definition_of(eqn)), args, mp)


def cond(mp: Context, eqn: jx.Equation, index: Array, *args: Array) -> list[Array]:
    branches = jx.branches(eqn)
    return run(branches[min(max(int(index), 0), len(branches) - 1)], args, mp)


def scan_rule(mp: Context, eqn: jx.Equation, *args: Array) -> list[Array]:
    p = jx.scan(eqn)
    fixed, carry, xs = p.split(args)
    steps = range(p.length)
    stacked = []
    for i in reversed(steps) if p.reverse else steps:
        y = run(p.body, [*fixed, *carry, *[part(x, i) for x in xs]], mp)
        carry = y[: len(carry)]
        stacked.append(y[len(carry) :])
    if p.reverse:
        stacked.reverse()
    if not stacked:
        return [*carry, *(empty(v.aval) for v in eqn.outvars[len(carry) :])]
    return [*carry, *(np.stack(ys) for ys in zip(*stacked, strict=True))]


def part(x: Array, i: int) -> Array:
    return filled([x[i]], ()) if is_exact(x) and x.ndim == 1 else x[i]


def while_rule(mp: Context, eqn: jx.Equation, *args: Array) -> list[Array]:
    loop = jx.while_(eqn)
    test, body, state = loop.split(args)
    for _ in range(MOST_STEPS):
        (runs,) = run(loop.test, [*test, *state], mp)
        if not np.any(runs):
            return state
        new = run(loop.body, [*body, *state], mp)
        state = [
            np.where(runs.reshape(runs.shape + (1,) * (x.ndim - runs.ndim)), y, x)
            for x, y in zip(state, new, strict=True)
        ]
    raise ArithmeticError(f"jaxdl.exact: the while loop at {jx.where(eqn)} does not end within {MOST_STEPS} steps")


def solve(mp: Context, eqn: jx.Equation, *args: Array) -> list[Array]:
    """custom_linear_solve, by its own solver."""
    system = jx.linear_solve(eqn)
    return run(system.solve, system.inputs_of_solve(args), mp)


def reduce_by_jaxpr(mp: Context, eqn: jx.Equation, *args: Array) -> list[Array]:
    """A reduction by any jaxpr of two values, or of two groups of values."""
    axes, (body,) = jx.reduced_axes(eqn), jx.inner_jaxprs(eqn)
    arrays, starts = jx.split(args, len(args) // 2)
    return fold_rows(mp, body, starts, [reductions.rows(x, axes) for x in arrays])


def reduce_window_by_jaxpr(mp: Context, eqn: jx.Equation, *args: Array) -> list[Array]:
    arrays, starts = jx.split(args, len(args) // 2)
    at = reductions.windows_of(eqn, arrays[0].shape)
    return fold_rows(
        mp,
        jx.inner_jaxprs(eqn)[0],
        starts,
        [indexing.taken([*x.ravel(), s[()]], at) for x, s in zip(arrays, starts, strict=True)],
    )


def fold_rows(mp: Context, body: jx.AnyJaxpr, starts: list[Any], arrays: list[Any]) -> list[Array]:
    """Reduces along the last axis, by a jaxpr of numbers that is applied to all rows at once."""
    step = lambda *values: run_each(body, values, mp)
    y = [np.broadcast_to(s, x.shape[:-1]) for s, x in zip(starts, arrays, strict=True)]
    for i in range(arrays[0].shape[-1]):
        y = step(*y, *[x[..., i] for x in arrays])
    return y


def scatter_or_apply(mp: Context, eqn: jx.Equation, *args: Array) -> list[Array]:
    """`x.at[i].set(y)` or `x.at[i].apply(f)`."""
    body = jx.scatter(eqn).update
    if body is None or not jx.opened(body).eqns:
        return indexing.indexed(mp, eqn, *args)
    return indexing.scatter_by(lambda mp, x, y: run_each(body, [x, y], mp)[0][()])(mp, eqn, *args)


def run_each(body: jx.AnyJaxpr, values: Sequence[Array], mp: Context) -> list[Array]:
    """A jaxpr of numbers on arrays, entry by entry."""
    shape = np.shape(values[0])
    entries = zip(*[np.asarray(x).ravel() for x in values], strict=True)
    boxed = lambda v: filled([v], ()) if hasattr(v, "context") else np.asarray(v)
    found = [run(body, list(map(boxed, entry)), mp) for entry in entries]
    return [np.array([v[()] for v in ys] or [], object).reshape(shape) for ys in zip(*found, strict=True)]


def no_outputs(mp: Context, eqn: jx.Equation, *args: Array) -> list[Array]:
    return []


FLOW: Rules = {
    **dict.fromkeys(jx.CALLS | jx.CHECKPOINTS | jx.CUSTOM_RULES, call),
    **dict.fromkeys(("call", "custom_vmap_call", "composite", "eval_jaxpr"), call),
    **dict.fromkeys(("call_hi_primitive", "jaxdl_op"), call_op),
    "cond": cond,
    "scan": scan_rule,
    "while": while_rule,
    "custom_linear_solve": solve,
    "reduce": reduce_by_jaxpr,
    "reduce_window": reduce_window_by_jaxpr,
    "debug_callback": no_outputs,
    "debug_print": no_outputs,
}
RULES: Rules = {
    **elementwise.ELEMENTWISE_RULES,
    **indexing.INDEXING_RULES,
    **sorting.SORTING_RULES,
    **reductions.REDUCTION_RULES,
    **matrices.MATRIX_RULES,
    "scatter": scatter_or_apply,
}
