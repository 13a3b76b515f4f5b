"""The sparsity pattern of a Jacobian, read from the jaxpr: each equation has a rule for what its outputs depend on.

Values that follow from constants alone are known (indices, masks, zeros of a matrix); values of arguments never are.
Of an array of indices a part may be known. Products with sparse matrices of JAX are followed through their definitions.
Of a hand-written rule the derivative is followed, not the primal: a straight-through rule has entries where its primal
has none. An equation without a rule makes every output depend on all that any input depends on. It is reported, as is
every other one whose outputs count as depending on more than they may, such as a gather by unknown indices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.pattern.contractions import CONTRACTION_DEPENDENCE
from jaxdl.jacobian.analysis.pattern.control_flow import CONTROL_FLOW_RULES
from jaxdl.jacobian.analysis.pattern.dependence import (
    MOST_ENTRIES,
    Dependence,
    groups,
    identity,
    take,
    through,
    union,
    union_of,
)
from jaxdl.jacobian.analysis.pattern.indexing import INDEXING_DEPENDENCE
from jaxdl.jacobian.analysis.pattern.linear_algebra import LINEAR_ALGEBRA_DEPENDENCE
from jaxdl.jacobian.analysis.pattern.values import Constant, DependenceRule, Value, fold, is_partly_known, known

NotUnderstood = list[tuple[str, str]]


def sparsity_pattern(
    jaxpr: Any, n: int, constant: Callable[[int], Any] = lambda i: None, constants: int = 0
) -> tuple[list[Dependence | None], NotUnderstood]:
    """How the outputs of a jaxpr depend on its first input.

    Args:
        jaxpr: A closed jaxpr.
        n: The size of its first input, a vector.
        constant: The value of constant i, None if it is not known.
        constants: How many inputs after the first are constants.

    Returns:
        The dependence of each output, and what counted as dense: pairs (primitive, line).
    """
    propagate = Propagation(n)
    first, *others = jx.opened(jaxpr).invars
    as_constant = lambda i: Constant(lambda: constant(i)) if i < constants else None
    values = [Value(first.aval, identity(n))] + [Value(v.aval, None, as_constant(i)) for i, v in enumerate(others)]
    return [out.dependence for out in propagate(jaxpr, values)], propagate.dense


class Propagation:
    """Carries values through jaxprs, equation by equation.

    Args:
        n: The number of inputs.
        within: The propagation that met a hand-written rule which this one follows. Operations with such rules are then
            followed by what they compute, not by their derivative.
    """

    def __init__(self, n: int, within: Propagation | None = None):
        self.n: int = n
        self.by_value: bool = within is not None
        self.dense: NotUnderstood = within.dense if within else []
        self._line: str = within._line if within else ""
        self._definitions: dict[Any, Any] = {}

    def __call__(self, jaxpr: Any, values: list[Value]) -> list[Value]:
        """The values of a jaxpr's outputs, from those of its inputs."""
        plain = jx.opened(jaxpr)
        env = dict(zip(plain.invars, values, strict=True))
        env.update((v, known(c, v.aval)) for v, c in zip(plain.constvars, getattr(jaxpr, "consts", ()), strict=True))
        read = lambda atom: env[atom] if jx.is_variable(atom) else known(atom.val, atom.aval)
        for eqn in jx.needed_equations(jaxpr):
            previous = self._line
            if not self.by_value:  # an equation of a rule was traced here, not in the user's program
                self._line = jx.where_asked(eqn) or self._line or jx.where(eqn)
            env.update(zip(eqn.outvars, self._outputs(eqn, [read(v) for v in eqn.invars]), strict=True))
            self._line = previous
        return [read(v) for v in plain.outvars]

    def _outputs(self, eqn: Any, values: list[Value]) -> list[Value]:
        out = [v.aval for v in eqn.outvars]
        name, unknown = eqn.primitive.name, jx.unknown_parameter(eqn)
        if all(v.dependence is None for v in values):
            followed = name in jx.CALLS and not unknown and is_partly_known(values)
            return CONTROL_FLOW_RULES[name](self, eqn, values) if followed else fold(eqn, values)
        if name in CONTROL_FLOW_RULES and not unknown:
            outputs = CONTROL_FLOW_RULES[name](self, eqn, values)
        elif definition := jx.written_out(eqn):
            outputs = self.inside(self.n)(self._traced(eqn, definition), values)
        elif not any(map(_is_inexact, out)):
            return [Value(aval) for aval in out]
        else:
            rule = (None if unknown else DEPENDENCE_RULES.get(name)) or _by_its_derivative
            outputs = [Value(aval, p) for aval, p in zip(out, rule(self, eqn, values), strict=True)]
            if any(v.is_rounded for v in outputs) and not any(v.is_rounded for v in values):
                self.report(eqn, f"more than {MOST_ENTRIES:,} entries")
        return [v if v.dependence is None or _is_inexact(v.aval) else Value(v.aval, None, v.constant) for v in outputs]

    def inside(self, n: int) -> Propagation:
        """The propagation through a hand-written rule, of n inputs."""
        return Propagation(n, self)

    def _traced(self, eqn: Any, definition: Callable[..., Any]) -> Any:
        """The jaxpr of an equation's definition; traced once, as a loop may come back to the equation."""
        if eqn not in self._definitions:
            self._definitions[eqn], _ = jx.trace(definition, *[v.aval for v in eqn.invars])
        return self._definitions[eqn]

    def report(self, eqn: Any, why: str = "") -> None:
        """Notes that an equation counts as dense, and the line of the user's program that it is part of."""
        entry = (eqn.primitive.name + (f" ({why})" if why else ""), self._line)
        if entry not in self.dense:
            self.dense.append(entry)


# What JAX and libraries raise where they have no derivative or no definition.
_REFUSED = (TypeError, ValueError, NotImplementedError, AttributeError, AssertionError, KeyError, RuntimeError)


def _is_inexact(aval: Any) -> bool:
    """Whether a value of this type has a derivative."""
    return jax.numpy.issubdtype(aval.dtype, jax.numpy.inexact)


def _by_its_derivative(propagate, eqn, values):
    """Of an equation without a rule, as of another library: by its derivative, and in derivatives by its definition."""
    try:
        if not propagate.by_value:
            return _by_tangents(propagate, eqn, values, *_tangents(eqn, values))
        definition = jx.definition_of(eqn)
    except _REFUSED:
        return _dense(propagate, eqn, values)
    if eqn.primitive.name in jx.primitives(definition):
        return _dense(propagate, eqn, values)
    return [v.dependence for v in propagate(definition, values)]


def _dense(propagate, eqn, values):
    """Of an equation that cannot be followed: every output depends on all that any input depends on."""
    unknown = jx.unknown_parameter(eqn)
    propagate.report(eqn, "{}={}".format(*unknown) if unknown else "")
    whole = union_of(v.together() for v in values)
    return [take(whole, np.zeros(math.prod(v.aval.shape), int)) for v in eqn.outvars]


# --- entry by entry ------------------------------------------------------------------------------------


def _elementwise(propagate, eqn, values):
    return [union_of(v.broadcast_to(eqn.outvars[0].aval.shape) for v in values)]


def _constant(propagate, eqn, values):
    return [None] * len(eqn.outvars)


def _unchanged(propagate, eqn, values):
    return [v.dependence for v in values]


def _product(propagate, eqn, values):
    """The other factor has no effect where one is known to be zero."""
    a, b = values
    shape = eqn.outvars[0].aval.shape
    return [union(_where_nonzero(b, a.broadcast_to(shape), shape), _where_nonzero(a, b.broadcast_to(shape), shape))]


def _quotient(propagate, eqn, values):
    a, b = values
    shape = eqn.outvars[0].aval.shape
    return [union(a.broadcast_to(shape), _where_nonzero(a, b.broadcast_to(shape), shape))]


def _where_nonzero(factor: Value, dependence: Dependence | None, shape: tuple[int, ...]) -> Dependence | None:
    """The dependence, without the entries where the factor is known to be zero."""
    array = None if dependence is None else factor.array()
    if dependence is None or array is None or (array != 0).all():
        return dependence
    return take(dependence, np.where(np.broadcast_to(array != 0, shape).ravel(), np.arange(dependence.size), -1))


# --- hand-written rules ------------------------------------------------------------------------------------


def _tangent_rule(propagate, eqn, values):
    """A rule that gives tangents: how they depend on the tangents of the inputs.

    The rule itself is followed by value, as it may call the operation that it belongs to.
    """
    if propagate.by_value and (primal := jx.primal_of(eqn)):
        return [v.dependence for v in propagate(primal, values)]
    return _by_tangents(propagate, eqn, values, *_tangents(eqn, values))


def _tangents(eqn: Any, values: list[Value]) -> tuple[Any, list[int]]:
    """The jaxpr from all inputs of an equation, and the tangents of those that depend on x, to those of its outputs.

    Returns:
        The jaxpr, and which inputs these are.
    """
    moving = [i for i, v in enumerate(values) if v.dependence is not None]

    def push(args, tangents):
        return jax.jvp(jx.in_some(jx.binding(eqn), args, moving), [args[i] for i in moving], tangents)[1]

    types = [v.aval for v in values]
    return jax.make_jaxpr(push)(types, [types[i] for i in moving]), moving


def _by_tangents(propagate, eqn, values, jaxpr, moving):
    inputs = [Value(v.aval, None, v.constant) for v in values]
    inputs += [Value(values[i].aval, values[i].dependence) for i in moving]
    tangents = iter(propagate.inside(propagate.n)(jaxpr, inputs))
    return [next(tangents).dependence if _is_inexact(v.aval) else None for v in eqn.outvars]


def _cotangent_rule(propagate, eqn, values):
    """A rule that gives cotangents: x̄ = T ȳ has the pattern of T, and ẏ = Tᵀ ẋ that of its transpose.

    T itself is followed by value, as it may call the operation whose rule it belongs to.
    """
    if propagate.by_value and (primal := jx.primal_of(eqn)):
        return [v.dependence for v in propagate(primal, values)]
    moving = [i for i, v in enumerate(values) if v.dependence is not None]
    inexact = [v.aval for v in eqn.outvars if _is_inexact(v.aval)]
    sizes = [math.prod(t.shape) for t in inexact]
    total, starts = sum(sizes), np.cumsum([0, *sizes]).tolist()

    def pull(args, dy):
        return jax.vjp(jx.in_some(jx.binding(eqn), args, moving), *[args[i] for i in moving])[1](dy)

    jaxpr = jax.make_jaxpr(pull)([v.aval for v in values], inexact)
    inputs = [Value(v.aval, None, v.constant) for v in values]
    inputs += [Value(t, identity(s, b, total)) for t, s, b in zip(inexact, sizes, starts, strict=False)]
    cotangents = propagate.inside(total)(jaxpr, inputs)
    joined = union_of(
        _transposed(bar.dependence, values[i].dependence) for bar, i in zip(cotangents, moving, strict=True)
    )
    parts = iter(take(joined, np.arange(b, b + s)) for s, b in zip(sizes, starts, strict=False))
    return [next(parts) if _is_inexact(v.aval) else None for v in eqn.outvars]


def _transposed(back: Dependence | None, dependence: Dependence | None) -> Dependence | None:
    """The dependence of Tᵀ ẋ, given that of x̄ = T ȳ on ȳ and that of ẋ."""
    if back is None or dependence is None:
        return None
    out = through(back.rows.T.tocsr(), dependence)
    if back.full.any():
        whole = through(groups(np.flatnonzero(back.full), 1, dependence.size), dependence)
        out = union(out, take(whole, np.zeros(back.inputs, int)))
    return out


def _gamma_sample(propagate, eqn, values):
    """Each sample depends on its own shape parameter."""
    return [values[-1].dependence]


_COMPLEX_PARTS = {"complex", "conj", "imag", "real"}

DEPENDENCE_RULES: dict[str, DependenceRule] = {
    **dict.fromkeys(jx.ELEMENTWISE | jx.IDENTITIES | _COMPLEX_PARTS, _elementwise),
    **dict.fromkeys(jx.STEPS, _constant),
    **dict.fromkeys(["optimization_barrier", "device_put"], _unchanged),
    "mul": _product,
    "div": _quotient,
    "custom_jvp_call": _tangent_rule,
    "random_gamma": _gamma_sample,
    **dict.fromkeys(
        ["custom_vjp_call", "custom_vjp_call_jaxpr", "call_hi_primitive", "jaxdl_op", "jaxdl_linear", "linear_call"],
        _cotangent_rule,
    ),
    **INDEXING_DEPENDENCE,
    **CONTRACTION_DEPENDENCE,
    **LINEAR_ALGEBRA_DEPENDENCE,
}
