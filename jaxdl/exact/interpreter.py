"""A jaxpr evaluated in arbitrary precision: one table of rules by primitive, and control flow around it.

A rule takes the context, the equation and its inputs, and gives its output or the list of its outputs.
"""

import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.exact import elementwise, indexing, matrices, reductions
from jaxdl.exact.numbers import empty, exact, filled, fitted, is_exact, is_inexact, is_opaque, remembered

MOST_STEPS = 100_000


class UnknownPrimitive(NotImplementedError):
    """A primitive that `jaxdl.exact` has no definition of: `primitive` is its name, `where` the line it came from.

    `setting`, "name=value", is the parameter that is not known, where the primitive without it is; else empty.
    """

    def __init__(self, primitive, where, setting=""):
        self.primitive, self.where, self.setting = primitive, where, setting
        what = f"{primitive} with {setting}" if setting else primitive
        super().__init__(f"jaxdl.exact has no definition of the primitive {what}, at {where or 'an unknown line'}")


def run(jaxpr, values, mp):
    """The outputs of a jaxpr for inputs as the interpreter keeps them, at the precision of the context."""
    plain = jx.opened(jaxpr)
    known = {v: exact(mp, c, v.aval) for v, c in zip(plain.constvars, getattr(jaxpr, "consts", ()), strict=True)}
    known.update(zip(plain.invars, values, strict=True))
    read = lambda atom: known[atom] if jx.is_variable(atom) else exact(mp, atom.val, atom.aval)
    for eqn in plain.eqns:
        try:
            y = outputs(mp, eqn, [*map(read, eqn.invars)])
        except UnknownPrimitive as unknown:
            # Inside JAX's own functions an equation has no line of the user's; the call of them has.
            if unknown.where:
                raise
            raise UnknownPrimitive(unknown.primitive, jx.where(eqn), unknown.setting) from None
        known.update((v, fitted(mp, part, v.aval)) for v, part in zip(eqn.outvars, y, strict=True))
    return [read(v) for v in plain.outvars]


def outputs(mp, eqn, inputs):
    """Those of one equation; where none has an entry, nothing is computed."""
    kinds = [v.aval for v in eqn.outvars]
    if kinds and not any(kind.size or is_opaque(kind) for kind in kinds):
        return [*map(empty, kinds)]
    y = rule_of(eqn)(mp, eqn, *inputs)
    return y if isinstance(y, list) else [y]


def rule_of(eqn):
    name = eqn.primitive.name
    if name not in FLOW and name != "convert_element_type" and not any(is_inexact(v.aval) for v in eqn.invars):
        return indexing.native
    rule = FLOW.get(name) or RULES.get(name) or (own_primitive if name.startswith("jaxdl_") else None)
    unknown = jx.unknown_parameter(eqn)
    if rule is None or unknown:
        raise UnknownPrimitive(name, jx.where(eqn), "{}={}".format(*unknown) if rule and unknown else "")
    return rule


# --- calls and control flow --------------------------------------------------------------------------


def call(mp, eqn, *args):
    return run(jx.inner_jaxprs(eqn)[0], args, mp)


def op_call(mp, eqn, *args):
    return run(remembered(mp, eqn, lambda: jx.primal_of(eqn)), args, mp)


def own_primitive(mp, eqn, *args):
    """A primitive that is defined by a JAX function."""
    return run(remembered(mp, eqn, lambda: jx.definition_of(eqn)), args, mp)


def cond(mp, eqn, index, *args):
    branches = jx.branches(eqn)
    return run(branches[min(max(int(index), 0), len(branches) - 1)], args, mp)


def scan(mp, eqn, *args):
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


def part(x, i):
    return filled([x[i]], ()) if is_exact(x) and x.ndim == 1 else x[i]


def while_loop(mp, eqn, *args):
    loop = jx.while_(eqn)
    test, body, state = loop.split(args)
    for _ in range(MOST_STEPS):
        (going,) = run(loop.test, [*test, *state], mp)
        if not np.any(going):
            return state
        new = run(loop.body, [*body, *state], mp)
        state = [
            np.where(going.reshape(going.shape + (1,) * (x.ndim - going.ndim)), y, x)
            for x, y in zip(state, new, strict=True)
        ]
    raise ArithmeticError(f"jaxdl.exact: the while loop at {jx.where(eqn)} does not end within {MOST_STEPS} steps")


def solve(mp, eqn, *args):
    """custom_linear_solve: what its own solver computes."""
    system = jx.linear_solve(eqn)
    return run(system.solve, system.inputs_of_solve(args), mp)


def reduce(mp, eqn, *args):
    """A reduction by any jaxpr of two values, or of two groups of values."""
    axes, (body,) = jx.reduced_axes(eqn), jx.inner_jaxprs(eqn)
    arrays, starts = jx.split(args, len(args) // 2)
    return fold(mp, body, starts, [reductions.rows(x, axes) for x in arrays])


def reduce_window(mp, eqn, *args):
    arrays, starts = jx.split(args, len(args) // 2)
    at = reductions.windows_of(eqn, arrays[0].shape)
    return fold(
        mp,
        jx.inner_jaxprs(eqn)[0],
        starts,
        [indexing.taken([*x.ravel(), s[()]], at) for x, s in zip(arrays, starts, strict=True)],
    )


def fold(mp, body, starts, arrays):
    """The jaxpr of a step, for numbers, done for all rows at once along the last axis."""
    step = lambda *values: run_each(body, values, mp)
    y = [np.broadcast_to(s, x.shape[:-1]) for s, x in zip(starts, arrays, strict=True)]
    for i in range(arrays[0].shape[-1]):
        y = step(*y, *[x[..., i] for x in arrays])
    return y


def scatter(mp, eqn, *args):
    """Updates put in their places; with `x.at[i].apply(f)`, f of what is there."""
    body = jx.scatter(eqn).update
    if body is None or not jx.opened(body).eqns:
        return indexing.move(mp, eqn, *args)
    return indexing.scatter(lambda mp, x, y: run_each(body, [x, y], mp)[0][()])(mp, eqn, *args)


def run_each(body, values, mp):
    """A jaxpr of numbers on arrays, entry by entry."""
    shape = np.shape(values[0])
    entries = zip(*[np.asarray(x).ravel() for x in values], strict=True)
    boxed = lambda v: filled([v], ()) if hasattr(v, "context") else np.asarray(v)
    found = [run(body, list(map(boxed, entry)), mp) for entry in entries]
    return [np.array([v[()] for v in ys] or [], object).reshape(shape) for ys in zip(*found, strict=True)]


def nothing(mp, eqn, *args):
    return []


FLOW = {
    **dict.fromkeys(jx.CALLS | jx.CHECKPOINTS | jx.CUSTOM_RULES, call),
    **dict.fromkeys(("call", "custom_vmap_call", "composite", "eval_jaxpr"), call),
    **dict.fromkeys(("call_hi_primitive", "jaxdl_op"), op_call),
    "cond": cond,
    "scan": scan,
    "while": while_loop,
    "custom_linear_solve": solve,
    "reduce": reduce,
    "reduce_window": reduce_window,
    "debug_callback": nothing,
    "debug_print": nothing,
}
RULES = {**elementwise.RULES, **indexing.RULES, **reductions.RULES, **matrices.RULES, "scatter": scatter}
