"""The partial derivatives of one equation, entry by entry: which are not zero, and how to compute them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.entry_positions import as_matrices, positions
from jaxdl.jacobian.analysis.modes import hindrance

LINEAR = {"add": 1.0, "add_any": 1.0, "neg": -1.0, "convert_element_type": 1.0, "copy": 1.0, "reduce_precision": 1.0}
DIFFERENTIABLE = jx.ELEMENTWISE - jx.STEPS


@dataclasses.dataclass(frozen=True)
class Partials:
    """Partial derivatives of an output of an equation in an operand, at the flat positions (rows, cols).

    Their values are `constant`, or the entries at `index` of an array that is computed.
    """

    output: int
    operand: int
    rows: np.ndarray
    cols: np.ndarray
    constant: np.ndarray | None = None
    index: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class LocalJacobian:
    """An equation's partial derivatives; `compute(inputs, outputs)` gives an array for each that is not constant."""

    partials: list[Partials]
    compute: Callable[[Sequence[Any], Sequence[Any]], list[Any]] = lambda inputs, outputs: []


def local_jacobian(eqn: Any, moving: Sequence[int], known: Sequence[Any]) -> LocalJacobian | None:
    """The partial derivatives of an equation.

    Args:
        eqn: The equation.
        moving: The operands that depend on the input.
        known: For each operand its value if it is constant, else None.

    Returns:
        None if no output depends on them. Of equations without a rule here the whole Jacobian, by JAX, with
        hand-written rules.
    """
    name = eqn.primitive.name
    if not any(_is_inexact(v.aval) for v in eqn.outvars):
        return None
    if jx.unknown_parameter(eqn):
        return _dense(eqn, moving)
    if name in jx.STEPS:
        return None
    if name in _BY_NAME:
        return _BY_NAME[name](eqn, moving, known)
    if name in DIFFERENTIABLE or _is_elementwise_call(eqn, moving):
        return _elementwise(eqn, moving)
    return _dense(eqn, moving)


def most_partials(eqn: Any, moving: Sequence[int]) -> int:
    """An upper bound of the number of an equation's partial derivatives."""
    outputs = sum(math.prod(v.aval.shape) for v in eqn.outvars)
    inputs = [math.prod(eqn.invars[j].aval.shape) for j in moving]
    name = None if jx.unknown_parameter(eqn) else eqn.primitive.name
    if name == "reduce_sum":
        return sum(inputs)
    if name == "dot_general":
        (contracted, _), _ = jx.dot(eqn)
        return outputs * math.prod(eqn.invars[0].aval.shape[d] for d in contracted) * len(inputs)
    elementwise = name in DIFFERENTIABLE or _is_elementwise_call(eqn, moving)
    return outputs * (len(inputs) if elementwise else sum(inputs))


# --- by name ---------------------------------------------------------------------------------------------


def _linear(eqn, moving, known):
    sign = lambda j: -1.0 if eqn.primitive.name == "sub" and j == 1 else LINEAR.get(eqn.primitive.name, 1.0)
    return LocalJacobian([_diagonal(eqn, j, constant=np.full(jx.size(eqn.outvars[0]), sign(j))) for j in moving])


def _mul(eqn, moving, known):
    """∂(ab)/∂a = b"""
    partials = [_factor(eqn, j, 1 - j, known[1 - j]) for j in moving]
    return LocalJacobian(partials, _other_operands(partials))


def _other_operands(partials: list[Partials]) -> Callable[[Sequence[Any], Sequence[Any]], list[Any]]:
    """The values of a product's partial derivatives: of each operand the other one."""
    return lambda inputs, outputs: [inputs[1 - p.operand] for p in partials if p.index is not None]


def _div(eqn, moving, known):
    """∂(a/b)/∂a = 1/b,   ∂(a/b)/∂b = −(a/b)/b"""
    partials = []
    if 0 in moving:
        with np.errstate(divide="ignore"):
            partials.append(_factor(eqn, 0, 1, known[1] if known[1] is None else 1.0 / np.asarray(known[1], float)))
    if 1 in moving:
        partials.append(_diagonal(eqn, 1, index=np.arange(jx.size(eqn.outvars[0]))))

    def compute(inputs, outputs):
        inverse = 1 / inputs[1]
        slots = {0: inverse, 1: -outputs[0] * inverse}
        return [slots[p.operand] for p in partials if p.index is not None]

    return LocalJacobian(partials, compute)


def _select(eqn, moving, known):
    """1 where the operand is selected, else 0."""
    if known[0] is None:
        return _elementwise(eqn, moving)
    which = np.broadcast_to(np.asarray(known[0]), eqn.outvars[0].aval.shape).reshape(-1).astype(int)
    return LocalJacobian([_diagonal(eqn, j, constant=(which == j - 1).astype(float)) for j in moving])


def _sum(eqn, moving, known):
    shape, axes = eqn.invars[0].aval.shape, jx.reduced_axes(eqn) or ()
    kept = [1 if d in axes else s for d, s in enumerate(shape)]
    rows = np.broadcast_to(positions(kept), shape).reshape(-1)
    return LocalJacobian([Partials(0, 0, rows, np.arange(rows.size), constant=np.ones(rows.size))])


def _dot(eqn, moving, known):
    """∂(Σ aᵢ bᵢ)/∂aᵢ = bᵢ"""
    dot = jx.dot(eqn)
    sides = [as_matrices(positions(v.aval.shape), dot, place) for place, v in enumerate(eqn.invars)]
    left, right = sides[0][:, :, None, :], sides[1][:, None, :, :]
    shape = np.broadcast_shapes(left.shape, right.shape)
    rows = np.broadcast_to(positions((*shape[:-1], 1)), shape).reshape(-1)
    flat = [np.broadcast_to(side, shape).reshape(-1) for side in (left, right)]
    partials = []
    for j in moving:
        other = known[1 - j]
        where = {"index": flat[1 - j]} if other is None else {"constant": _flat(other)[flat[1 - j]]}
        partials.append(Partials(0, j, rows, flat[j], **where))
    return LocalJacobian(partials, _other_operands(partials))


_BY_NAME = {**dict.fromkeys((*LINEAR, "sub"), _linear), "mul": _mul, "div": _div, "select_n": _select}
_BY_NAME |= {"reduce_sum": _sum, "dot_general": _dot}


# --- others --------------------------------------------------------------------------------------------------


def _elementwise(eqn, moving):
    """The diagonal: the tangent of the output where the operand's is 1."""
    inexact = [o for o, v in enumerate(eqn.outvars) if _is_inexact(v.aval)]
    partials = [_diagonal(eqn, j, o, index=np.arange(jx.size(eqn.outvars[o]))) for j in moving for o in inexact]

    def pulled(inputs):
        f = jx.in_some(jx.binding(eqn), inputs, moving)
        y, pullback = jax.vjp(f, *[inputs[j] for j in moving])
        seeds = [[jnp.ones_like(v) if o == i else jnp.zeros_like(v) for i, v in enumerate(y)] for o in range(len(y))]
        of_outputs = [pullback(seed) for seed in seeds]
        return [cotangents[a] for a in range(len(moving)) for cotangents in of_outputs]

    def pushed(inputs, j):
        return jax.jvp(jx.in_some(jx.binding(eqn), inputs, (j,)), (inputs[j],), (jnp.ones_like(inputs[j]),))[1]

    def compute(inputs, outputs):
        if eqn.primitive.name in _REVERSE_ONLY:
            return pulled(inputs)
        return [tangent for j in moving for tangent in pushed(inputs, j)]

    return LocalJacobian(partials, compute)


def _dense(eqn, moving):
    """The whole Jacobian, by JAX's mode with fewer sweeps if there is that."""
    inexact = [o for o, v in enumerate(eqn.outvars) if _is_inexact(v.aval)]
    rows, cols = sum(jx.size(eqn.outvars[o]) for o in inexact), sum(jx.size(eqn.invars[j]) for j in moving)
    method = _possible(eqn, moving, (jax.jacrev, jax.jacfwd) if rows < cols else (jax.jacfwd, jax.jacrev))
    partials = []
    for j in moving:
        for o in inexact:
            rows, cols = np.indices((jx.size(eqn.outvars[o]), jx.size(eqn.invars[j]))).reshape(2, -1)
            partials.append(Partials(o, j, rows, cols, index=np.arange(rows.size)))

    def compute(inputs, outputs):
        blocks = method(jx.in_some(jx.binding(eqn), inputs, moving), argnums=tuple(range(len(moving))))(
            *[inputs[j] for j in moving]
        )
        return [row[a] for a in range(len(moving)) for row in blocks]

    return LocalJacobian(partials, compute)


_REVERSE_ONLY = frozenset(("custom_vjp_call", "custom_vjp_call_jaxpr"))


def _possible(
    eqn: Any, moving: Sequence[int], methods: tuple[Callable[..., Any], Callable[..., Any]]
) -> Callable[..., Any]:
    """The first of the methods that JAX's derivative of the equation allows."""
    every, refused = tuple(range(len(moving))), ""
    for method in methods:

        def jacobian(*inputs, method=method):
            f = jx.in_some(jx.binding(eqn), inputs, moving)
            return method(f, argnums=every)(*[inputs[j] for j in moving])

        refused = hindrance(jacobian, [v.aval for v in eqn.invars])
        if not refused:
            return method
    raise ValueError(
        f"jacobian.eliminate: JAX has no Jacobian of {eqn.primitive.name}, at {jx.where(eqn) or 'an unknown line'}: "
        f"{refused}"
    )


def _is_elementwise_call(eqn, moving):
    """Whether an equation with a hand-written rule is elementwise: whether its derivative, traced, is."""
    if eqn.primitive.name not in ("custom_jvp_call", "jaxdl_op", *_REVERSE_ONLY):
        return False
    if len(moving) > 1 and jx.takes_symbolic_zeros(eqn):
        return False  # its derivative may be no sum over the operands
    shape = eqn.outvars[0].aval.shape
    reverse = eqn.primitive.name in _REVERSE_ONLY
    allowed = {shape} if reverse else {shape, ()}
    if {v.aval.shape for v in eqn.outvars} != {shape} or not {eqn.invars[j].aval.shape for j in moving} <= allowed:
        return False

    def derivative(*inputs):
        f, x = jx.in_some(jx.binding(eqn), inputs, moving), [inputs[j] for j in moving]
        if reverse:
            y, pullback = jax.vjp(f, *x)
            return pullback(y)
        return jax.jvp(f, x, x)

    return jx.is_elementwise(_trace(derivative, eqn), shape, refused=_REVERSE_ONLY)


# --- positions ---------------------------------------------------------------------------------------------


def _is_inexact(value: Any) -> bool:
    return jnp.issubdtype(value.dtype, jnp.inexact)


def _trace(f, eqn):
    return jax.make_jaxpr(f)(*[jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars])


def _flat(value):
    return np.asarray(value).reshape(-1).astype(float)


def _diagonal(eqn: Any, j: int, output: int = 0, **values) -> Partials:
    """Partial derivatives of entries in the same position; a scalar operand has an effect on every entry."""
    shape = eqn.outvars[output].aval.shape
    cols = np.broadcast_to(positions(eqn.invars[j].aval.shape), shape).reshape(-1)
    return Partials(output, j, np.arange(cols.size), cols, **values)


def _factor(eqn: Any, j: int, other: int, value: Any) -> Partials:
    """Diagonal partial derivatives that are equal to the other operand, or to the constant `value`."""
    shape = eqn.outvars[0].aval.shape
    place = np.broadcast_to(positions(eqn.invars[other].aval.shape), shape).reshape(-1)
    if value is None:
        return _diagonal(eqn, j, index=place)
    return _diagonal(eqn, j, constant=_flat(np.broadcast_to(np.asarray(value), eqn.invars[other].aval.shape))[place])
