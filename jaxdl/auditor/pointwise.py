"""Pointwise functions: evaluation at any number of points, and the points at which something changes in them."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl import jaxpr as jx
from jaxdl.auditor.programs import ready, user_code
from jaxdl.double_precision import as_double, in_double_precision

MOST_CHANGES = 48
AT_A_TIME = 256  # points
MOST_ROWS = 160  # of points for functions of several inputs


def is_pointwise(jaxpr: Any) -> bool:
    """Whether a jaxpr has only elementwise equations, on real arrays of one shape and scalars."""
    plain = jx.opened(jaxpr)
    shapes = {v.aval.shape for v in plain.invars}
    if len(shapes) != 1 or not all(jnp.issubdtype(v.aval.dtype, jnp.floating) for v in plain.invars):
        return False
    return jx.is_elementwise(jaxpr, *shapes, scalar_constants=True)


def at_points(jaxpr: Any, *points: Any, seen: Callable[..., Any] = lambda eqn, inputs, outputs: None) -> list[Any]:
    """The outputs of a pointwise jaxpr for inputs of shape (p,) each. `seen` is called with every equation."""
    plain = jx.opened(jaxpr)
    values = dict(zip(plain.constvars, getattr(jaxpr, "consts", ()), strict=True))
    values |= dict(zip(plain.invars, points, strict=True))
    for eqn in plain.eqns:
        inputs = [jx.value_of(atom, values) for atom in eqn.invars]
        if inner := jx.called(eqn):
            y = at_points(inner, *inputs, seen=seen)
        elif eqn.primitive.name == "broadcast_in_dim":
            y = inputs
        else:
            y = user_code(jx.binding(eqn))(*_alike(inputs, eqn))
            seen(eqn, inputs, y)
        values.update(zip(eqn.outvars, y, strict=True))
    return [jx.value_of(atom, values) for atom in plain.outvars]


def natively(jaxpr: Any, *points: Any, optimized: bool = False) -> list[np.ndarray]:
    """The outputs of a pointwise jaxpr in its own types, for inputs of shape (p,) each."""
    return _at_many(jaxpr, False, points, optimized)


def in_wide_types(jaxpr: Any, *points: Any) -> list[np.ndarray]:
    """The same in float64."""
    with jax.enable_x64(True):
        return _at_many(jaxpr, True, tuple(map(as_double, points)))


def _at_many(jaxpr, in_double, points, optimized=False):
    """One program serves for any number of points: it takes so many at a time."""
    (count,) = points[0].shape
    program = _program(jaxpr, in_double, tuple(p.dtype for p in points), optimized)
    padded = [np.resize(p, -(-count // AT_A_TIME) * AT_A_TIME) for p in points]
    parts = [program(*[p[i : i + AT_A_TIME] for p in padded]) for i in range(0, count, AT_A_TIME)]
    joined = lambda of: np.concatenate([np.broadcast_to(np.asarray(y), (AT_A_TIME,)) for y in of])[:count]
    return [joined(of) for of in zip(*parts, strict=True)]


@functools.lru_cache(maxsize=64)
def _program(jaxpr, in_double, dtypes, optimized):
    if in_double:
        types = [jax.ShapeDtypeStruct((AT_A_TIME,), v.aval.dtype) for v in jx.opened(jaxpr).invars]
        f = in_double_precision(jx.trace(lambda *x: at_points(jaxpr, *x), *types)[0])
    else:
        f = lambda *x: at_points(jaxpr, *x)
    return ready(f, *[jax.ShapeDtypeStruct((AT_A_TIME,), dtype) for dtype in dtypes], optimized=optimized)


def _alike(inputs, eqn):
    shape = max((np.shape(x) for x in inputs), key=len, default=())
    return [
        jnp.broadcast_to(lax.convert_element_type(x, v.aval.dtype), shape)
        for x, v in zip(inputs, eqn.invars, strict=True)
    ]


# --- where something changes ---------------------------------------------------------------------------


def conditions(jaxprs: Sequence[Any], dtype: Any) -> Callable[..., np.ndarray]:
    """The conditions that `changes` examines, compiled once: a function from all inputs (g,) to booleans (a, g)."""

    def questions(*inputs):
        found = [x > 0 for x in inputs]
        for jaxpr in jaxprs:
            at_points(jaxpr, *inputs[: len(jx.opened(jaxpr).invars)], seen=functools.partial(_note, found))
        return jnp.stack([jnp.broadcast_to(a, inputs[0].shape) for a in found])

    grid = _grid(dtype)
    program = ready(questions, *[grid] * max(len(jx.opened(jaxpr).invars) for jaxpr in jaxprs))
    return lambda place, others, x: np.asarray(program(*[np.full_like(x, o) for o in others[:place]], x,
                                                       *[np.full_like(x, o) for o in others[place:]]))  # fmt: skip


def changes(ask: Callable[..., Any], place: int, others: Sequence[Any], dtype: Any) -> list[Any]:
    """The numbers of a dtype at which something changes in pointwise jaxprs: the last before and the first after.

    What changes is the result of a comparison (also of those in max, min, abs, sign and clamp), or whether an
    intermediate value is zero, infinite or NaN. Found on a grid over all numbers of the dtype, then by bisection.

    Args:
        ask: A function that `conditions` returned.
        place: The position of the input that varies.
        others: Numbers for the other inputs.
        dtype: The floating-point type.
    """
    grid = _grid(dtype)
    before = ask(place, others, grid)
    rows, left = np.nonzero(before[:, 1:] != before[:, :-1])
    chosen = _nearest_zero(rows, np.abs(grid[left]))[: grid.size]
    rows, low, high = rows[chosen], _ordinal(grid[left[chosen]]), _ordinal(grid[left[chosen] + 1])
    first = before[rows, left[chosen]]
    while (high - low > 1).any():
        middle = low + (high - low) // 2
        padded = np.resize(_number(middle, dtype), grid.shape)
        same = ask(place, others, padded)[rows, np.arange(len(rows))] == first
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    found = np.unique(_number(np.concatenate([low, high]), dtype))
    size, info = np.abs(found.astype(np.float64)), jnp.finfo(dtype)
    found = found[
        (size >= 1e6 * float(info.tiny)) & (size <= float(info.max) / 4)
    ]  # beyond, all products under- or overflow
    return sorted(map(float, found), key=abs)[:MOST_CHANGES]


def _nearest_zero(rows, sizes):
    """For each row, the positions of its smallest sizes."""
    return [i for row in np.unique(rows) for i in sorted(np.flatnonzero(rows == row), key=lambda i: sizes[i])[:6]]


def _note(found, eqn, inputs, outputs):
    name = eqn.primitive.name
    if name in ("max", "min"):
        found += [inputs[0] > inputs[1], inputs[0] < inputs[1]]
    if name == "clamp":
        low, x, high = inputs
        found += [x < low, x > high]
    for y in outputs:
        if y.dtype == bool:
            found.append(y)
        elif jnp.issubdtype(y.dtype, jnp.inexact):
            found += [y == 0, jnp.isnan(y), jnp.isinf(y), y > 0]


def _grid(dtype):
    """Numbers of all sizes, and closely spaced ones up to 12."""
    info = jnp.finfo(dtype)
    sizes = np.geomspace(float(info.tiny), float(info.max) / 4, 241)
    close = np.linspace(0, 12, 121)
    positive = np.unique(np.concatenate([sizes, close[1:]]).astype(dtype).astype(np.float64))
    return np.concatenate([-positive[::-1], [0.0], positive]).astype(dtype)


def _ordinal(x):
    """The ranks of floating-point numbers in their order."""
    bits = np.ascontiguousarray(x).view(f"i{x.dtype.itemsize}").astype(np.int64)
    return np.where(bits < 0, np.iinfo(f"i{x.dtype.itemsize}").min - bits, bits)


def _number(ordinals, dtype):
    width = f"i{np.dtype(dtype).itemsize}"
    bits = np.where(ordinals < 0, np.iinfo(width).min - ordinals, ordinals)
    return bits.astype(width).view(dtype)


# --- points --------------------------------------------------------------------------------------------


def edge_points(jaxprs: Sequence[Any], inputs: Sequence[Any], dtype: Any) -> list[np.ndarray]:
    """For each input (p,) numbers to audit at: ordinary ones, extreme ones, ties, and where something changes.

    The jaxprs are functions of the inputs, and perhaps of more, which are set to 1.
    """
    given = [np.asarray(x).reshape(-1)[:8] for x in inputs]
    usual = [_usual(x, dtype) for x in given]
    ask, ones = conditions(jaxprs, dtype), _ones(jaxprs, len(inputs))
    if len(inputs) == 1:
        found = changes(ask, 0, ones, dtype)
        return [np.concatenate([usual[0], _beside(np.asarray(found, dtype))])]
    most = max(map(len, usual))  # fewer where those given are among the usual ones
    alike = zip(*[np.resize(x, most) for x in usual], strict=True)
    rows = list(itertools.product(*usual) if len(inputs) == 2 else alike)
    rows += [(x,) * len(inputs) for x in usual[0]]
    anchors = {tuple(float(x[k % len(x)]) for x in given) for k in (0, 1)} | {(1.0,) * len(inputs)}
    for anchor in sorted(anchors):
        for place in range(len(inputs)):
            others = [x for i, x in enumerate(anchor) if i != place]
            for x in changes(ask, place, [*others, *ones], dtype):
                rows.append((*anchor[:place], x, *anchor[place + 1 :]))
    random = np.random.default_rng(0)
    if len(rows) > MOST_ROWS:
        rows = [rows[i] for i in sorted(random.choice(len(rows), MOST_ROWS, replace=False))]
    return [np.asarray(column, dtype) for column in zip(*rows, strict=True)]


def _ones(jaxprs, count):
    return [1.0] * (max(len(jx.opened(j).invars) for j in jaxprs) - count)


def _usual(given, dtype):
    info = jnp.finfo(dtype)
    tiny, top = float(info.tiny), float(info.max)
    sizes = [0.0, tiny, tiny**0.5, float(info.eps), 0.1, 0.5, 1.0, 2.0, 3.0, 6.0, 10.0, 20.0, 50.0, 90.0, 1e3, 1e4]
    sizes += [top**0.5, top / 4]
    sizes = np.asarray([s for s in sizes if s <= top], dtype)
    return np.concatenate([np.unique(np.concatenate([sizes, -sizes, given.astype(dtype)])), -np.zeros(1, dtype)])


def _beside(x):
    """Each number, and numbers slightly larger and smaller; without subnormal numbers."""
    with np.errstate(over="ignore"):
        near = np.concatenate([x, x * x.dtype.type(1.05), x * x.dtype.type(0.95)])
    return near[np.isfinite(near) & (np.abs(near) >= jnp.finfo(x.dtype).tiny)]
