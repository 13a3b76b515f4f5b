"""Dependence of equations that move entries: each equation is applied to the positions of its operands' entries.

An index whose value is not known makes entries depend on all entries along the axes on which it acts, but on no other.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.entry_positions import IN_NUMPY, pad, positions, rearranged
from jaxdl.jacobian.analysis.pattern.dependence import Dependence, csr, groups, stack, take, through, union, union_of
from jaxdl.jacobian.analysis.pattern.values import DependenceRule, Value

CLIP = jax.lax.GatherScatterMode.CLIP


def _together(values: Sequence[Value]) -> tuple[Dependence | None, list[np.ndarray]]:
    """The dependence of several operands, one below the other, and the positions of their entries in it."""
    sizes = [v.size for v in values]
    starts = np.cumsum([0, *sizes]).tolist()
    return stack([v.dependence for v in values], sizes), [
        v.positions(start) for v, start in zip(values, starts, strict=False)
    ]


def _rearrangement(propagate, eqn, values):
    dependence, indices = _together(values)
    return [take(dependence, index) for index in rearranged(eqn, indices)]


def _select(propagate, eqn, values):
    which, *cases = values
    shape = eqn.outvars[0].aval.shape
    chosen = which.array()
    if chosen is None:
        return [union_of(v.broadcast_to(shape) for v in cases)]
    dependence, indices = _together(cases)
    index = np.stack([np.broadcast_to(i, shape).ravel() for i in indices])
    return [take(dependence, index[np.broadcast_to(chosen, shape).ravel().astype(int), np.arange(index.shape[1])])]


# --- lines: entries that share their coordinates along some axes --------------------------------------------


def _lines(shape: Sequence[int], kept: Iterable[bool]) -> np.ndarray:
    """The line of each entry: entries that have the same coordinates along the kept axes are on one line."""
    return np.broadcast_to(positions([size if keep else 1 for size, keep in zip(shape, kept, strict=True)]), shape)


def _of_lines(dependence: Dependence | None, lines: np.ndarray, count: int | None = None) -> Dependence | None:
    """The dependence of each line: that of all its entries."""
    return dependence and through(_members(lines, lines.max(initial=-1) + 1 if count is None else count), dependence)


def _members(lines: np.ndarray, count: int) -> Any:
    """The incidence of entries on lines."""
    order = np.argsort(lines.ravel(), kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(lines.ravel(), minlength=count))])
    return csr(order, starts, lines.size)


# --- positions that may be unknown -----------------------------------------------------------------------------


def _starts(values: Sequence[Value], shape: Sequence[int], window: Sequence[int]) -> list[int | None]:
    """The start of a window along each axis, clamped as JAX does; None where it is not known."""
    starts = []
    for value, size, length in zip(values, shape, window, strict=True):
        known = value.array()
        starts.append(0 if size == length else None if known is None else int(np.clip(known, 0, size - length)))
    return starts


def _window(starts: Sequence[int | None], sizes: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(s or 0, (s or 0) + size) for s, size in zip(starts, sizes, strict=True))


def _dynamic_slice(propagate, eqn, values):
    operand, *starts = values
    sizes = jx.parameters(eqn)["slice_sizes"]
    starts = _starts(starts, operand.shape, sizes)
    window = _window(starts, sizes)
    if None not in starts:
        return [take(operand.dependence, operand.positions()[window])]
    lines = _lines(operand.shape, [s is not None for s in starts])
    return [take(_of_lines(operand.dependence, lines), lines[window])]


def _dynamic_update_slice(propagate, eqn, values):
    operand, update, *starts = values
    if 0 in update.shape:
        return [operand.dependence]
    starts = _starts(starts, operand.shape, update.shape)
    window = _window(starts, update.shape)
    if None not in starts:
        dependence, (index, new) = _together([operand, update])
        index[window] = new
        return [take(dependence, index)]
    lines = _lines(update.shape, [s is not None for s in starts])
    reached = tuple(slice(None) if s is None else w for s, w in zip(starts, window, strict=True))
    first = tuple(slice(0, 1) if s is None else slice(None) for s in starts)
    index = np.full(operand.shape, -1)
    index[reached] = lines[first]
    return [union(operand.dependence, take(_of_lines(update.dependence, lines), index))]


def _gather(propagate, eqn, values):
    operand, indices = values
    numbers, slice_sizes, mode = jx.gather(eqn)
    gathered = functools.partial(_gathered, dimension_numbers=numbers, slice_sizes=slice_sizes)
    known = indices.array()
    if known is not None:
        return [take(operand.dependence, gathered(operand.positions(), known, mode=mode))]
    lines = _lines(operand.shape, _whole_axes(operand.shape, slice_sizes, numbers))
    anywhere = np.zeros(indices.shape, np.int32)
    return [take(_of_lines(operand.dependence, lines), gathered(lines, anywhere, mode=CLIP))]


def _gathered(index: np.ndarray, indices: Any, **settings) -> np.ndarray:
    """JAX's gather on positions; −1 where it fills."""
    with jax.ensure_compile_time_eval():
        return np.asarray(jax.lax.gather(index.astype(np.int32), indices, fill_value=-1, **settings))


def _scatter(propagate, eqn, values):
    operand, indices, updates = values
    known = indices.array()
    if known is None:
        targets = jx.scatter_targets(eqn, np.zeros(indices.shape, np.int32), clip=True)
        numbers = jx.scatter(eqn).dimension_numbers
        lines = _lines(operand.shape, _whole_axes(operand.shape, jx.update_window(eqn), numbers))
        reached = _of_lines(updates.dependence, lines.ravel()[targets], lines.max(initial=-1) + 1)
        return [union(operand.dependence, take(reached, lines))]
    targets = jx.scatter_targets(eqn, known).ravel()
    hit = targets >= 0
    incidence = _members(np.where(hit, targets, operand.size), operand.size + 1)[: operand.size]
    reached = through(incidence, updates.dependence)
    return [union(_not_replaced(eqn, operand, targets[hit]), reached)]


def _whole_axes(shape: Sequence[int], slice_sizes: Sequence[int], numbers: Any) -> list[bool]:
    """Along which axes the slices of a gather or scatter have the same coordinates, whatever the indices."""
    return [
        size == full or axis in numbers.operand_batching_dims
        for axis, (size, full) in enumerate(zip(slice_sizes, shape, strict=True))
    ]


def _not_replaced(eqn: Any, operand: Value, targets: np.ndarray) -> Dependence | None:
    """The operand's dependence, without the entries that are replaced."""
    if not jx.is_replacement(eqn):
        return operand.dependence
    index = operand.positions().ravel()
    index[targets] = -1
    return take(operand.dependence, index)


# --- along axes --------------------------------------------------------------------------------------------


def _reduce(propagate, eqn, values):
    """Each output depends on all entries along the axes; `reduce` also has an initial value for each operand."""
    axes = jx.reduced_axes(eqn) or ()
    half = len(values) // 2 if eqn.primitive.name == "reduce" else len(values)
    whole = union_of(v.dependence for v in values[:half])
    initial = union_of(take(v.dependence, np.zeros(eqn.outvars[0].aval.size, int)) for v in values[half:])
    kept = [axis for axis in range(len(values[0].shape)) if axis not in axes]
    index = values[0].positions().transpose(*kept, *axes)
    reduced = through(groups(index, eqn.outvars[0].aval.size, values[0].size), whole)
    return [union(reduced, initial)] * len(eqn.outvars)


def _cumulative(propagate, eqn, values):
    """Entry i depends on entries 0 to i, found by doubling: after k rounds on the last 2ᵏ."""
    dependence, axis, reverse = values[0].dependence, *(jx.parameters(eqn)[name] for name in ("axis", "reverse"))
    reach = 1
    while reach < values[0].shape[axis]:
        config = [(0, 0, 0)] * len(values[0].shape)
        config[axis] = (-reach, reach, 0) if reverse else (reach, -reach, 0)
        dependence = union(dependence, take(dependence, pad(values[0].positions(), -1, config)))
        reach *= 2
    return [dependence]


def _along(axes_of: Callable[[Any], Iterable[int]]) -> DependenceRule:
    """The rule of an equation whose outputs depend on the same operand, on all entries along some axes."""

    def rule(propagate, eqn, values):
        outputs = []
        for value, out in zip(values, eqn.outvars, strict=False):
            axes = [axis % len(value.shape) for axis in axes_of(eqn)]
            kept = [axis not in axes for axis in range(len(value.shape))]
            lines = _lines(value.shape, kept)
            outputs.append(take(_of_lines(value.dependence, lines), _lines(out.aval.shape, kept)))
        return outputs + [None] * (len(eqn.outvars) - len(outputs))

    return rule


def _batched_matrices(propagate, eqn, values):
    """Linear algebra on the last two axes: all of a matrix depends on all of the matrix at the same batch index."""
    batch = values[0].shape[:-2]
    matrix_of = lambda shape: _lines(shape, [axis < len(batch) for axis in range(len(shape))])
    whole = union_of(_of_lines(v.dependence, matrix_of(v.shape), math.prod(batch)) for v in values)
    return [take(whole, matrix_of(v.aval.shape)) for v in eqn.outvars]


def _solve(by_columns: Callable[[Any], bool]) -> DependenceRule:
    """The rule of A X = B, where all operands but the last give A: a column of X depends on that of B and all of A."""

    def rule(propagate, eqn, values):
        *matrix, b = values
        batch, rank = range(len(b.shape) - 2), len(b.shape)
        matrix_of = lambda shape: _lines(shape, [axis in batch for axis in range(len(shape))])
        column = _lines(b.shape, [axis in (*batch, rank - 1 if by_columns(eqn) else rank - 2) for axis in range(rank)])
        parts = [take(_of_lines(a.dependence, matrix_of(a.shape)), matrix_of(b.shape)) for a in matrix]
        return [union_of([*parts, take(_of_lines(b.dependence, column), column)])]

    return rule


INDEXING_DEPENDENCE: dict[str, DependenceRule] = {
    **dict.fromkeys(IN_NUMPY, _rearrangement),
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
    "triangular_solve": _solve(lambda eqn: jx.parameters(eqn)["left_side"]),
    "tridiagonal_solve": _solve(lambda eqn: True),
}
