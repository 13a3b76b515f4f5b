"""Values that move along directions, with their derivatives in compressed rows.

An entry often depends on few inputs. Its derivatives along all directions are mostly 0, and only the others are kept: a
row of derivatives stands for another direction at each entry. Which one is known before the program runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.entry_positions import as_matrices, rearranged

MOST_ROWS = 8  # with more rows, the selections that bring them together cost more than the rows that are left out
MOST_ENTRIES = 4_000_000  # of an array of directions: a second of NumPy
NONE = -1


@dataclass(frozen=True, eq=False)
class Directions:
    """The direction of each row at each entry.

    Attributes:
        of_rows: (k, *shape of the value), with axes of size 1 along which the directions do not change. NONE where the
            row is 0. No direction occurs twice at an entry.
        count: The number of all directions.
    """

    of_rows: np.ndarray
    count: int


class Moving(NamedTuple):
    """A value that depends on the input.

    Attributes:
        value: The value.
        along: (k, *value.shape): its derivatives, one row for each direction or as `directions` says.
        laplacian: Its Laplacian, like the value; None if it is 0.
        directions: The directions of the rows; None if row i has direction i.
    """

    value: jax.Array
    along: jax.Array
    laplacian: jax.Array | None
    directions: Directions | None = None


def start(x: jax.Array, directions: np.ndarray, count: int) -> Moving:
    """The input, whose entry i moves along directions[i] only."""
    return _named(Moving(x, jnp.ones((1, x.size), x.dtype), None), directions[None], count)


def dense(x: Moving) -> Moving:
    """The same value with one row for each direction."""
    if x.directions is None:
        return x
    every = np.arange(x.directions.count, dtype=np.int32).reshape(-1, *[1] * x.value.ndim)
    return Moving(x.value, _arranged(x, every), x.laplacian)


def with_zeros(x: Moving) -> Moving:
    """The same value with one row for each direction, and zeros for a Laplacian that is 0."""
    x = dense(x)
    return x._replace(laplacian=jnp.zeros_like(x.value)) if x.laplacian is None else x


def named(x: Moving, directions: Directions | None) -> Moving:
    """The value with these directions for its rows."""
    return x if directions is None else _named(x, directions.of_rows, directions.count)


def _named(x: Moving, of_rows: np.ndarray, count: int) -> Moving:
    of_rows = _compact(of_rows)
    if len(of_rows) == count and of_rows.size == count and (of_rows.ravel() == np.arange(count)).all():
        return x
    x = x._replace(directions=Directions(of_rows, count))
    return x if _pays(len(of_rows), count) else dense(x)


def _pays(rows: int, count: int) -> bool:
    return rows <= MOST_ROWS and 2 * rows <= count


def _compact(of_rows: np.ndarray) -> np.ndarray:
    """With size 1 along the axes of the entries along which nothing changes."""
    for axis in range(1, of_rows.ndim):
        first = of_rows[(slice(None),) * axis + (slice(0, 1),)]
        if of_rows.shape[axis] > 1 and (of_rows == first).all():
            of_rows = first
    return of_rows


def _arranged(x: Moving, of_rows: np.ndarray) -> jax.Array:
    """The derivatives in rows of other directions, which must hold all of x's."""
    assert x.directions is not None
    own, shape = x.directions.of_rows, (len(of_rows), *x.value.shape)
    if own.size == len(own) and of_rows.size == len(of_rows):  # each row has one direction
        row_of = {direction: row for row, direction in enumerate(own.ravel().tolist())}
        rows = [row_of.get(direction, NONE) for direction in of_rows.ravel().tolist()]
        with_zero = jnp.concatenate([x.along, jnp.zeros_like(x.along[:1])]) if NONE in rows else x.along
        return with_zero if rows == [*range(len(own))] else with_zero[np.array(rows)]
    total = None
    for row, along in zip(own, x.along, strict=True):
        here = (row == of_rows) & (of_rows != NONE)
        if here.any():
            part = along[None] if here.all() else jnp.where(here, along[None], 0)
            total = part if total is None else total + part
    return jnp.zeros(shape, x.along.dtype) if total is None else jnp.broadcast_to(total, shape)


def _in_rows(x: Moving, of_rows: np.ndarray, count: int) -> Moving | None:
    """The same value with other rows; None if these would be no fewer than all directions."""
    if not _pays(len(of_rows), count):
        return None
    own = x.directions and x.directions.of_rows
    if own is not None and own.shape == of_rows.shape and (own == of_rows).all():
        return x
    return x._replace(along=_arranged(x, of_rows), directions=Directions(of_rows, count))


def _union(of_rows: np.ndarray) -> np.ndarray:
    """Each direction once at each entry, in order, in as few rows as hold them all."""
    last = np.iinfo(of_rows.dtype).max
    of_rows = np.sort(np.where(of_rows == NONE, last, of_rows), 0)
    of_rows[1:][of_rows[1:] == of_rows[:-1]] = last
    of_rows = np.sort(of_rows, 0)
    rows = max(int((of_rows != last).sum(0).max(initial=0)), 1)
    return np.where(of_rows[:rows] == last, NONE, of_rows[:rows])


# --- what an equation makes of rows --------------------------------------------------------------------------------

Compressed = tuple[list[Moving], list[Directions]]  # moving inputs, and the directions of the outputs' rows


def aligned(xs: Sequence[Moving]) -> Compressed | None:
    """Values of one shape, in the same rows; None if compression does not pay."""
    given = [x.directions for x in xs if x.directions]
    if len(given) < len(xs) or len({x.value.shape for x in xs}) > 1:
        return None
    rows, count = [d.of_rows for d in given], given[0].count
    if all(r is rows[0] or (r.shape == rows[0].shape and (r == rows[0]).all()) for r in rows):
        return list(xs), given[:1]
    shape = np.broadcast_shapes(*[r.shape[1:] for r in rows])
    together = _union(np.concatenate([np.broadcast_to(r, (len(r), *shape)) for r in rows]))
    found = [_in_rows(x, together, count) for x in xs]
    return None if None in found else (found, [Directions(together, count)])  # type: ignore[return-value]


def moved(eqn: Any, inputs: Sequence[Any]) -> Compressed | None:
    """Inputs of an equation that only moves entries, in equally many rows."""
    xs = [x for x in inputs if isinstance(x, Moving)]
    given = [x.directions for x in xs if x.directions]
    rows = max(len(d.of_rows) for d in given)
    if len(given) < len(xs) or rows * max(v.aval.size for v in eqn.outvars) > MOST_ENTRIES:
        return None
    operands = []
    for x in inputs:
        whole = np.full((rows, *np.shape(x.value if isinstance(x, Moving) else x)), NONE, np.int32)
        if isinstance(x, Moving) and x.directions:
            whole[: len(x.along)] = x.directions.of_rows
        operands.append(whole)
    outputs = zip(*[rearranged(eqn, row) for row in zip(*operands, strict=True)], strict=True)
    longer = lambda x: jnp.pad(x.along, [(0, rows - len(x.along)), *[(0, 0)] * x.value.ndim])
    xs = [x if len(x.along) == rows else x._replace(along=longer(x)) for x in xs]
    return xs, [Directions(np.stack(rows), given[0].count) for rows in outputs]


def _along_lines(x: Moving, axes: Sequence[int]) -> Moving | None:
    """The value in rows with one direction for all entries that differ along some axes only."""
    assert x.directions is not None
    of_rows, count = x.directions.of_rows, x.directions.count
    places = [axis + 1 for axis in axes]
    if all(of_rows.shape[place] == 1 for place in places):
        return x
    if of_rows.size > MOST_ENTRIES:
        return None
    lines = np.moveaxis(of_rows, places, range(1, len(places) + 1))
    lines = _union(lines.reshape(-1, *lines.shape[len(places) + 1 :]))
    return _in_rows(x, np.expand_dims(lines, places), count)


def reduced(x: Moving, axes: Sequence[int], keep: bool) -> Compressed | None:
    """The input of an equation that brings the entries along some axes together, and keeps these axes or not."""
    squeezed = lambda of_rows: of_rows.squeeze(tuple(axis + 1 for axis in axes))
    return _lined(x, axes, (lambda of_rows: of_rows) if keep else squeezed)


def multiplied(dot: jx.Dot, place: int, x: Moving, other_axes: int) -> Compressed | None:
    """The input at a place of a product whose other factor does not move."""
    return _lined(x, dot.contracted[place], lambda of_rows: _of_product(dot, place, of_rows, other_axes, ()))


def _lined(x: Moving, axes: Sequence[int], of_output: Callable[[np.ndarray], np.ndarray]) -> Compressed | None:
    lined = _along_lines(x, axes)
    if lined is None or lined.directions is None:
        return None
    return [lined], [Directions(of_output(lined.directions.of_rows), lined.directions.count)]


def _of_product(dot: jx.Dot, place: int, of_rows: np.ndarray, other_axes: int, first: Sequence[int]) -> np.ndarray:
    """The directions of a product's entries, from those of one factor: (k, batch, free of the left, of the right)."""
    batch, free = dot.batch[place], dot.free(place, of_rows.ndim - 1)
    ordered = [0, *[a + 1 for a in (*first, *batch, *free)]]
    rest = [a + 1 for a in dot.contracted[place] if a not in first]
    found = of_rows.transpose(*ordered, *rest).reshape([of_rows.shape[a] for a in ordered])
    others = other_axes - len(dot.batch[1 - place]) - len(dot.contracted[1 - place])
    at = found.ndim if place == 0 else 1 + len(first) + len(batch)
    return np.expand_dims(found, tuple(range(at, at + others)))


def outer_product(
    dot: jx.Dot, place: int, x: Moving, other: jax.Array, dtype: Any
) -> tuple[jax.Array, Directions] | None:
    """The derivatives of a product that contracts entries of different directions: they are products without a sum.

    So is the first product with a matrix in most networks, whose derivative along input i is row i of the matrix.
    """
    assert x.directions is not None
    of_rows, count = x.directions.of_rows, x.directions.count
    if len(of_rows) > 1 or len(dot.contracted[place]) != 1 or of_rows.size > MOST_ENTRIES:
        return None
    (axis,) = dot.contracted[place]
    if of_rows.shape[axis + 1] != x.value.shape[axis] or not _all_differ(of_rows, axis + 1):
        return None
    of_product = _compact(_of_product(dot, place, of_rows, other.ndim, (axis,))[0])
    if not (_pays(len(of_product), count) or of_product.size == len(of_product)):
        return None
    a, b = as_matrices(x.along[0], dot, place), as_matrices(other, dot, 1 - place)
    a, b = (jnp.moveaxis(m, -1, 0) for m in ((a, b) if place == 0 else (b, a)))
    return a.astype(dtype)[..., None] * b.astype(dtype)[..., None, :], Directions(of_product, count)


def _all_differ(of_rows: np.ndarray, axis: int) -> bool:
    ordered = np.sort(of_rows, axis)
    return bool((of_rows != NONE).all() and (np.diff(ordered, axis=axis) != 0).all())


def along_axis_of_matrices(x: Moving) -> tuple[int, Directions] | None:
    """Of matrices in whose last two axes each direction moves one row only, or one column only: the axis along which.

    Returns:
        The axis, −1 or −2, and the directions in the order (rows or columns of the matrix, rows of derivatives); None
        for other matrices.
    """
    if x.directions is None:
        return None
    of_rows, shape = x.directions.of_rows, x.value.shape
    for axis in (-1, -2):
        if of_rows.shape[axis] == 1:
            lines = np.moveaxis(of_rows.squeeze(axis), -1, 0)  # (lines, rows, batch)
            lines = np.broadcast_to(lines, (shape[-3 - axis], *lines.shape[1:])).reshape(-1, *lines.shape[2:])
            if _all_differ(lines, 0):
                return axis, Directions(lines, x.directions.count)
    return None
