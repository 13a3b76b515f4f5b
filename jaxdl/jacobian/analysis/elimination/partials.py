"""The partial derivatives of one equation, entry by entry: which there are, and how to compute those not constant."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.modes import hindrance

LINEAR = {"add": 1.0, "add_any": 1.0, "neg": -1.0, "convert_element_type": 1.0, "copy": 1.0, "reduce_precision": 1.0}
SLOPING = jx.ELEMENTWISE - jx.STEPS


@dataclasses.dataclass(frozen=True)
class Partial:
    """∂ output / ∂ operand at flat places rows, cols: `constant` entries, or those at `index` of a computed array."""

    output: int
    operand: int
    rows: np.ndarray
    cols: np.ndarray
    constant: np.ndarray | None = None
    index: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Local:
    """An equation's partials; `compute(inputs, outputs)` gives an array for each that is not constant, in order."""

    partials: list[Partial]
    compute: Callable = lambda inputs, outputs: []


def local_partials(eqn, moving, known) -> Local | None:
    """The partials of an equation in its operands `moving`; known holds an array for each constant operand, else None.

    None where nothing depends. Falls back on the dense Jacobian of the equation by JAX, with its hand-written rule
    if it has one.
    """
    name = eqn.primitive.name
    if not any(_is_smooth(v.aval) for v in eqn.outvars):
        return None
    if jx.unknown_parameter(eqn):
        return _dense(eqn, moving)
    if name in jx.STEPS:
        return None
    if name in _BY_NAME:
        return _BY_NAME[name](eqn, moving, known)
    if name in SLOPING or _is_elementwise_call(eqn, moving):
        return _elementwise(eqn, moving)
    return _dense(eqn, moving)


def size(eqn, moving) -> int:
    """At most this many entries come of the equation."""
    outputs = sum(math.prod(v.aval.shape) for v in eqn.outvars)
    inputs = [math.prod(eqn.invars[j].aval.shape) for j in moving]
    name = None if jx.unknown_parameter(eqn) else eqn.primitive.name
    if name == "reduce_sum":
        return sum(inputs)
    if name == "dot_general":
        (contracted, _), _ = jx.dot(eqn)
        return outputs * math.prod(eqn.invars[0].aval.shape[d] for d in contracted) * len(inputs)
    elementwise = name in SLOPING or _is_elementwise_call(eqn, moving)
    return outputs * (len(inputs) if elementwise else sum(inputs))


# --- by name ---------------------------------------------------------------------------------------------


def _linear(eqn, moving, known):
    sign = lambda j: -1.0 if eqn.primitive.name == "sub" and j == 1 else LINEAR.get(eqn.primitive.name, 1.0)
    return Local([_at(eqn, j, constant=np.full(_count(eqn.outvars[0]), sign(j))) for j in moving])


def _mul(eqn, moving, known):
    """∂(ab)/∂a = b"""
    partials = [_factor(eqn, j, 1 - j, known[1 - j]) for j in moving]
    return Local(partials, lambda inputs, outputs: [inputs[1 - p.operand] for p in partials if p.index is not None])


def _div(eqn, moving, known):
    """∂(a/b)/∂a = 1/b,   ∂(a/b)/∂b = −(a/b)/b"""
    partials = []
    if 0 in moving:
        with np.errstate(divide="ignore"):
            partials.append(_factor(eqn, 0, 1, known[1] if known[1] is None else 1.0 / np.asarray(known[1], float)))
    if 1 in moving:
        partials.append(_at(eqn, 1, index=np.arange(_count(eqn.outvars[0]))))

    def compute(inputs, outputs):
        inverse = 1 / inputs[1]
        slots = {0: inverse, 1: -outputs[0] * inverse}
        return [slots[p.operand] for p in partials if p.index is not None]

    return Local(partials, compute)


def _select(eqn, moving, known):
    if known[0] is None:
        return _elementwise(eqn, moving)
    which = np.broadcast_to(np.asarray(known[0]), eqn.outvars[0].aval.shape).reshape(-1).astype(int)
    return Local([_at(eqn, j, constant=(which == j - 1).astype(float)) for j in moving])


def _sum(eqn, moving, known):
    shape, axes = eqn.invars[0].aval.shape, jx.reduced_axes(eqn)
    kept = [1 if d in axes else s for d, s in enumerate(shape)]
    rows = np.broadcast_to(_places(kept), shape).reshape(-1)
    return Local([Partial(0, 0, rows, np.arange(rows.size), constant=np.ones(rows.size))])


def _dot(eqn, moving, known):
    """∂(Σ aᵢ bᵢ)/∂aᵢ = bᵢ"""
    contracted, batched = jx.dot(eqn)
    sides = []
    for v, c, b in zip(eqn.invars, contracted, batched, strict=True):
        free = [d for d in range(v.aval.ndim) if d not in (*c, *b)]
        places = _places(v.aval.shape).transpose(*b, *free, *c)
        sides.append(places.reshape(math.prod(places.shape[: len(b)]), -1, math.prod(v.aval.shape[d] for d in c)))
    left, right = sides[0][:, :, None, :], sides[1][:, None, :, :]
    shape = np.broadcast_shapes(left.shape, right.shape)
    rows = np.broadcast_to(_places((*shape[:-1], 1)), shape).reshape(-1)
    flat = [np.broadcast_to(side, shape).reshape(-1) for side in (left, right)]
    partials = []
    for j in moving:
        other = known[1 - j]
        where = {"index": flat[1 - j]} if other is None else {"constant": _flat(other)[flat[1 - j]]}
        partials.append(Partial(0, j, rows, flat[j], **where))
    return Local(partials, lambda inputs, outputs: [inputs[1 - p.operand] for p in partials if p.index is not None])


_BY_NAME = {**dict.fromkeys((*LINEAR, "sub"), _linear), "mul": _mul, "div": _div, "select_n": _select}
_BY_NAME |= {"reduce_sum": _sum, "dot_general": _dot}


# --- whatever else -----------------------------------------------------------------------------------------


def _elementwise(eqn, moving):
    """With ẋ = 1 in one operand, ẏ holds the diagonal."""
    smooth = [o for o, v in enumerate(eqn.outvars) if _is_smooth(v.aval)]
    partials = [_at(eqn, j, o, index=np.arange(_count(eqn.outvars[o]))) for j in moving for o in smooth]

    def compute(inputs, outputs):
        if eqn.primitive.name in _REVERSE_ONLY:
            y, pullback = jax.vjp(jx.in_some(jx.binding(eqn), inputs, moving), *[inputs[j] for j in moving])
            seeds = [
                [jnp.ones_like(v) if o == i else jnp.zeros_like(v) for i, v in enumerate(y)] for o in range(len(y))
            ]
            by_output = [pullback(seed) for seed in seeds]
            return [column[a] for a in range(len(moving)) for column in by_output]
        slots = []
        for j in moving:
            slots += jax.jvp(jx.in_some(jx.binding(eqn), inputs, (j,)), (inputs[j],), (jnp.ones_like(inputs[j]),))[1]
        return slots

    return Local(partials, compute)


def _dense(eqn, moving):
    """All of the equation's Jacobian, by as few sweeps of JAX as its derivative allows."""
    smooth = [o for o, v in enumerate(eqn.outvars) if _is_smooth(v.aval)]
    rows, cols = sum(_count(eqn.outvars[o]) for o in smooth), sum(_count(eqn.invars[j]) for j in moving)
    method = _working(eqn, moving, (jax.jacrev, jax.jacfwd) if rows < cols else (jax.jacfwd, jax.jacrev))
    partials = []
    for j in moving:
        for o in smooth:
            places = np.indices((_count(eqn.outvars[o]), _count(eqn.invars[j]))).reshape(2, -1)
            partials.append(Partial(o, j, *places, index=np.arange(places.shape[1])))

    def compute(inputs, outputs):
        blocks = method(jx.in_some(jx.binding(eqn), inputs, moving), argnums=tuple(range(len(moving))))(
            *[inputs[j] for j in moving]
        )
        return [row[a] for a in range(len(moving)) for row in blocks]

    return Local(partials, compute)


_REVERSE_ONLY = {"custom_vjp_call", "custom_vjp_call_jaxpr"}


def _working(eqn, moving, methods):
    """The first of the methods that JAX's derivative of the equation allows."""
    every = tuple(range(len(moving)))
    for method in methods:
        of = lambda *inputs, method=method: method(jx.in_some(jx.binding(eqn), inputs, moving), argnums=every)(
            *[inputs[j] for j in moving]
        )
        if not (refused := hindrance(of, [v.aval for v in eqn.invars])):
            return method
    raise ValueError(
        f"jacobian.eliminate: JAX has no Jacobian of {eqn.primitive.name}, at {jx.where(eqn) or 'an unknown line'}: "
        f"{refused}"
    )


def _is_elementwise_call(eqn, moving):
    """Whether an equation with a derivative of its own treats each entry alone: its derivative, traced, tells."""
    if eqn.primitive.name not in ("custom_jvp_call", "jaxdl_op", *_REVERSE_ONLY):
        return False
    shape = eqn.outvars[0].aval.shape
    reverse = eqn.primitive.name in _REVERSE_ONLY
    fitting = {shape} if reverse else {shape, ()}
    if {v.aval.shape for v in eqn.outvars} != {shape} or not {eqn.invars[j].aval.shape for j in moving} <= fitting:
        return False

    def derivative(*inputs):
        f, x = jx.in_some(jx.binding(eqn), inputs, moving), [inputs[j] for j in moving]
        if reverse:
            y, pullback = jax.vjp(f, *x)
            return pullback(y)
        return jax.jvp(f, x, x)

    return jx.is_elementwise(_trace(derivative, eqn), shape, refused=_REVERSE_ONLY)


# --- places ------------------------------------------------------------------------------------------------


def _is_smooth(value):
    return jnp.issubdtype(value.dtype, jnp.inexact)


def _trace(f, eqn):
    return jax.make_jaxpr(f)(*[jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in eqn.invars])


def _count(v):
    return math.prod(v.aval.shape)


def _places(shape):
    return np.arange(math.prod(shape)).reshape(shape)


def _flat(value):
    return np.asarray(value).reshape(-1).astype(float)


def _at(eqn, j, output=0, **weights):
    """A diagonal partial; an operand that is a scalar meets every entry."""
    shape = eqn.outvars[output].aval.shape
    cols = np.broadcast_to(_places(eqn.invars[j].aval.shape), shape).reshape(-1)
    return Partial(output, j, np.arange(cols.size), cols, **weights)


def _factor(eqn, j, other, value):
    """A diagonal partial whose weights are the other operand, or the constant `value`."""
    shape = eqn.outvars[0].aval.shape
    places = np.broadcast_to(_places(eqn.invars[other].aval.shape), shape).reshape(-1)
    if value is None:
        return _at(eqn, j, index=places)
    return _at(eqn, j, constant=_flat(np.broadcast_to(np.asarray(value), eqn.invars[other].aval.shape))[places])
