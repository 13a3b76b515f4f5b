"""Patterns of equations that move entries: each is followed by doing the same to the numbers of the entries.

An index that is not known spreads along the axes where it is free, and along no other.
"""

import functools
import math

import jax
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.pattern.dependence import csr, groups, spread, stack, take, union, union_of
from jaxdl.jacobian.analysis.pattern.values import broadcast, reshaped

CLIP = jax.lax.GatherScatterMode.CLIP


def _moved(to):
    """The rule of an equation with one operand, from `to(index, **params)`: which entry goes where."""
    return lambda walk, eqn, values: [take(values[0].dependence, to(values[0].index(), **jx.parameters(eqn)))]


def _together(values):
    """Several operands one below the other, and the numbers that their entries have there."""
    sizes = [v.size for v in values]
    starts = np.cumsum([0, *sizes])
    return stack([v.dependence for v in values], sizes), [v.index(b) for v, b in zip(values, starts, strict=False)]


def _joined(by):
    """The rule of an equation with many operands, from `by(indices, **params)`."""

    def rule(walk, eqn, values):
        whole, indices = _together(values)
        return [take(whole, by(indices, **jx.parameters(eqn)))]

    return rule


def _slice(index, start_indices, limit_indices, strides):
    strides = strides or [1] * index.ndim
    return index[tuple(map(slice, start_indices, limit_indices, strides))]


def _pad(walk, eqn, values):
    whole, (index, fill) = _together(values)
    return [take(whole, padded(index, jx.parameters(eqn)["padding_config"], fill))]


def padded(index, config, fill=-1):
    """`jax.lax.pad`, with negative and interior padding."""
    for axis, (low, high, interior) in enumerate(config):
        index = np.moveaxis(index, axis, 0)
        place = low + np.arange(index.shape[0]) * (interior + 1)
        size = low + high + index.shape[0] + max(index.shape[0] - 1, 0) * interior
        inside = (place >= 0) & (place < size)
        wide = np.full((size, *index.shape[1:]), fill, index.dtype)
        wide[place[inside]] = index[inside]
        index = np.moveaxis(wide, 0, axis)
    return index


def _split(walk, eqn, values):
    index, p = values[0].index(), jx.parameters(eqn)
    parts = np.split(index, np.cumsum(p["sizes"])[:-1], p["axis"])
    return [take(values[0].dependence, part) for part in parts]


def _unstack(walk, eqn, values):
    index = np.moveaxis(values[0].index(), jx.parameters(eqn)["axis"], 0)
    return [take(values[0].dependence, part) for part in index]


def _select(walk, eqn, values):
    which, *cases = values
    shape = eqn.outvars[0].aval.shape
    chosen = which.array()
    if chosen is None:
        return [union_of(v.widened(shape) for v in cases)]
    whole, indices = _together(cases)
    indices = np.stack([np.broadcast_to(i, shape).ravel() for i in indices])
    return [take(whole, indices[np.broadcast_to(chosen, shape).ravel().astype(int), np.arange(indices.shape[1])])]


# --- positions that may not be known -------------------------------------------------------------------------


def _lines(shape, kept):
    """Numbers entries by their coordinates along the kept axes: entries with one number lie on one line."""
    sizes = [size if keep else 1 for size, keep in zip(shape, kept, strict=True)]
    return np.broadcast_to(np.arange(math.prod(sizes), dtype=np.int32).reshape(sizes), shape)


def _by_line(p, lines, count):
    """The dependence of each line on all of its entries."""
    return p and spread(members(lines, count), p)


def members(lines, count):
    """The incidence of entries on lines."""
    order = np.argsort(lines.ravel(), kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(lines.ravel(), minlength=count))])
    return csr(order, starts, lines.size)


def _starts(values, limits):
    """The known start along each axis, clamped as JAX does, else None."""
    known = [v.array() for v in values]
    return [None if s is None else int(np.clip(s, 0, limit)) for s, limit in zip(known, limits, strict=True)]


def _dynamic_slice(walk, eqn, values):
    operand, *starts = values
    sizes = jx.parameters(eqn)["slice_sizes"]
    limits = [full - size for full, size in zip(operand.shape, sizes, strict=True)]
    starts = [0 if limit == 0 else s for s, limit in zip(_starts(starts, limits), limits, strict=True)]
    window = tuple(slice(s or 0, (s or 0) + size) for s, size in zip(starts, sizes, strict=True))
    if None not in starts:
        return [take(operand.dependence, operand.index()[window])]
    lines = _lines(operand.shape, [s is not None for s in starts])
    return [take(_by_line(operand.dependence, lines, lines.max(initial=-1) + 1), lines[window])]


def _dynamic_update_slice(walk, eqn, values):
    operand, update, *starts = values
    if 0 in update.shape:
        return [operand.dependence]
    limits = [full - size for full, size in zip(operand.shape, update.shape, strict=True)]
    starts = [0 if limit == 0 else s for s, limit in zip(_starts(starts, limits), limits, strict=True)]
    window = tuple(slice(s or 0, (s or 0) + size) for s, size in zip(starts, update.shape, strict=True))
    if None not in starts:
        whole, (index, new) = _together([operand, update])
        index[window] = new
        return [take(whole, index)]
    free = tuple(slice(None) if s is None else w for s, w in zip(starts, window, strict=True))
    lines = _lines(update.shape, [s is not None for s in starts])
    place = np.full(operand.shape, -1)
    first = tuple(slice(0, 1) if s is None else slice(None) for s in starts)
    place[free] = lines[first]
    return [union(operand.dependence, take(_by_line(update.dependence, lines, lines.max(initial=-1) + 1), place))]


def _gather(walk, eqn, values):
    operand, indices = values
    numbers, slice_sizes, mode = jx.gather(eqn)
    gathered = functools.partial(_gathered, dimension_numbers=numbers, slice_sizes=slice_sizes)
    found = indices.array()
    if found is not None:
        index = operand.index() + 1
        return [take(operand.dependence, gathered(index, found, mode=mode) - 1)]
    kept = [
        size == full or axis in numbers.operand_batching_dims
        for axis, (size, full) in enumerate(zip(slice_sizes, operand.shape, strict=True))
    ]
    lines = _lines(operand.shape, kept)
    anywhere = np.zeros(indices.shape, np.int32)
    place = gathered(lines + 1, anywhere, mode=CLIP) - 1
    return [take(_by_line(operand.dependence, lines, lines.max(initial=-1) + 1), place)]


def _gathered(index, indices, **settings):
    """The gather of a JAX equation on the numbers of entries; 0 where it fills."""
    with jax.ensure_compile_time_eval():
        return np.asarray(jax.lax.gather(index.astype(np.int32), indices, fill_value=0, **settings))


def _scatter(walk, eqn, values):
    operand, indices, updates = values
    found = indices.array()
    known = np.zeros(indices.shape, np.int32) if found is None else found
    place = jx.scatter_targets(eqn, known, clip=found is None)
    if found is None:
        kept = _kept_by_scatter(eqn, operand)
        lines = _lines(operand.shape, kept)
        count = lines.max(initial=-1) + 1
        reached = spread(members(lines.ravel()[place], count), updates.dependence)
        return [union(operand.dependence, take(reached, lines))]
    hit = place.ravel() >= 0
    incidence = members(np.where(hit, place.ravel(), operand.size), operand.size + 1)[: operand.size]
    reached = spread(incidence, updates.dependence)
    return [union(_untouched(eqn, operand, place.ravel()[hit]), reached)]


def _untouched(eqn, operand, place):
    """The operand's dependence, without the entries that are replaced."""
    if not jx.is_replacement(eqn):
        return operand.dependence
    index = operand.index().ravel()
    index[place] = -1
    return take(operand.dependence, index)


def _kept_by_scatter(eqn, operand):
    numbers = jx.scatter(eqn).dimension_numbers
    return [
        size == full or axis in numbers.operand_batching_dims
        for axis, (size, full) in enumerate(zip(jx.update_window(eqn), operand.shape, strict=True))
    ]


# --- along axes --------------------------------------------------------------------------------------------


def _reduce(walk, eqn, values):
    """Each output on all entries along the axes; `reduce` itself has an initial value for each operand."""
    axes = jx.reduced_axes(eqn)
    half = len(values) // 2 if eqn.primitive.name == "reduce" else len(values)
    whole = union_of(v.dependence for v in values[:half])
    starts = union_of(take(v.dependence, np.zeros(eqn.outvars[0].aval.size, int)) for v in values[half:])
    kept = [axis for axis in range(len(values[0].shape)) if axis not in axes]
    index = values[0].index().transpose(*kept, *axes)
    reduced = spread(groups(index, eqn.outvars[0].aval.size, values[0].size), whole)
    return [union(reduced, starts)] * len(eqn.outvars)


def _cumulative(walk, eqn, values):
    """Entry i on entries 0 to i, by doubling: after k rounds on the last 2ᵏ."""
    p, axis, reverse = values[0].dependence, *(jx.parameters(eqn)[name] for name in ("axis", "reverse"))
    reach = 1
    while reach < values[0].shape[axis]:
        config = [(0, 0, 0)] * len(values[0].shape)
        config[axis] = (-reach, reach, 0) if reverse else (reach, -reach, 0)
        p = union(p, take(p, padded(values[0].index(), config)))
        reach *= 2
    return [p]


def _along(axes_of):
    """The rule of an equation whose outputs depend on the same operand all along some axes, and keep the others."""

    def rule(walk, eqn, values):
        outputs = []
        for value, out in zip(values, eqn.outvars, strict=False):
            axes = [axis % len(value.shape) for axis in axes_of(eqn)]
            kept = [axis not in axes for axis in range(len(value.shape))]
            lines = _lines(value.shape, kept)
            whole = _by_line(value.dependence, lines, lines.max(initial=-1) + 1)
            outputs.append(take(whole, _lines(out.aval.shape, kept)))
        return outputs + [None] * (len(eqn.outvars) - len(outputs))

    return rule


def _batched_matrices(walk, eqn, values):
    """Linear algebra on the last two axes: each matrix of a batch by itself, all of its entries."""
    batch = values[0].shape[:-2]
    lines = [_lines(v.shape, [axis < len(batch) for axis in range(len(v.shape))]) for v in values]
    count = math.prod(batch)
    whole = union_of(_by_line(v.dependence, line, count) for v, line in zip(values, lines, strict=True))
    keeps = lambda shape: [axis < len(batch) for axis in range(len(shape))]
    return [take(whole, _lines(v.aval.shape, keeps(v.aval.shape))) for v in eqn.outvars]


def _solved(by_columns):
    """The rule of A X = B, A given by all operands but the last: each column of X by that of B and by all of A."""

    def rule(walk, eqn, values):
        *matrix, b = values
        batch, rank = range(len(b.shape) - 2), len(b.shape)
        only_batch = lambda shape: _lines(shape, [axis in batch for axis in range(len(shape))])
        column = _lines(b.shape, [axis in (*batch, rank - 1 if by_columns(eqn) else rank - 2) for axis in range(rank)])
        parts = [(a.dependence, only_batch(a.shape), only_batch(b.shape)) for a in matrix]
        parts.append((b.dependence, column, column))
        return [union_of(take(_by_line(p, of, of.max(initial=-1) + 1), to) for p, of, to in parts)]

    return rule


MOVES = {
    "reshape": _moved(reshaped),
    "squeeze": lambda walk, eqn, values: [values[0].dependence],
    "expand_dims": lambda walk, eqn, values: [values[0].dependence],
    "transpose": _moved(lambda index, permutation: index.transpose(permutation)),
    "rev": _moved(lambda index, dimensions: np.flip(index, dimensions)),
    "slice": _moved(_slice),
    "broadcast_in_dim": _moved(
        lambda index, shape, broadcast_dimensions, **_: broadcast(index, shape, broadcast_dimensions)
    ),
    "tile": _moved(lambda index, reps: np.tile(index, reps)),
    "concatenate": _joined(lambda indices, dimension: np.concatenate(indices, dimension)),
    "stack": _joined(lambda indices, axis: np.stack(indices, axis)),
    "pad": _pad,
    "split": _split,
    "unstack": _unstack,
    "select_n": _select,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "gather": _gather,
    **dict.fromkeys(["scatter", "scatter-add", "scatter-sub", "scatter-mul", "scatter-min", "scatter-max"], _scatter),
    **dict.fromkeys(["reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce"], _reduce),
    **dict.fromkeys(["cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp"], _cumulative),
    "sort": _along(lambda eqn: [jx.parameters(eqn)["dimension"]]),
    "top_k": _along(lambda eqn: [jx.parameters(eqn).get("axis", -1)]),
    "fft": _along(lambda eqn: range(-len(jx.parameters(eqn)["fft_lengths"]), 0)),
    **dict.fromkeys(["cholesky", "lu", "qr", "svd", "eigh", "eig", "householder_product"], _batched_matrices),
    "triangular_solve": _solved(lambda eqn: jx.parameters(eqn)["left_side"]),
    "tridiagonal_solve": _solved(lambda eqn: True),
}
