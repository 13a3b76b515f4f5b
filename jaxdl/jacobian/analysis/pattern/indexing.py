"""Dependence of equations that move entries: each equation is applied to the positions of its operands' entries.

An index whose value is not known makes entries depend on all entries along the axes on which it acts, but on no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.entry_positions import IN_NUMPY, pad, positions, rearranged
from jaxdl.jacobian.analysis.pattern.dependence import (
    Dependence,
    csr,
    groups,
    same,
    stack,
    take,
    through,
    union,
    union_of,
)
from jaxdl.jacobian.analysis.pattern.values import DependenceRule, Value


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


def numbered_lines(shape: Sequence[int], kept: Iterable[Any]) -> np.ndarray:
    """The line of each entry: entries that have the same coordinates along the kept axes are on one line."""
    return np.broadcast_to(positions([size if keep else 1 for size, keep in zip(shape, kept, strict=True)]), shape)


def of_lines(dependence: Dependence | None, lines: np.ndarray, count: int | None = None) -> Dependence | None:
    """The dependence of each line: that of all its entries."""
    return dependence and through(members(lines, lines.max(initial=-1) + 1 if count is None else count), dependence)


def members(lines: np.ndarray, count: int) -> Any:
    """The incidence of entries on lines."""
    order = np.argsort(lines.ravel(), kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(lines.ravel(), minlength=count))])
    return csr(order, starts, lines.size)


# --- positions that may be unknown -----------------------------------------------------------------------------


UNKNOWN = "indices not known"


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
    propagate.report(eqn, UNKNOWN)
    lines = numbered_lines(operand.shape, [s is not None for s in starts])
    return [take(of_lines(operand.dependence, lines), lines[window])]


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
    propagate.report(eqn, UNKNOWN)
    lines = numbered_lines(update.shape, [s is not None for s in starts])
    reached = tuple(slice(None) if s is None else w for s, w in zip(starts, window, strict=True))
    first = tuple(slice(0, 1) if s is None else slice(None) for s in starts)
    index = np.full(operand.shape, -1)
    index[reached] = lines[first]
    return [union(operand.dependence, take(of_lines(update.dependence, lines), index))]


def _gather(propagate, eqn, values):
    operand, indices = values
    numbers, slice_sizes, mode = jx.gather(eqn)
    places, kinds = _kinds_of_place(indices, operand.shape, slice_sizes, numbers.start_index_map)
    parts = []
    for free, those in kinds:
        lines = numbered_lines(operand.shape, ~free)
        index = _gathered(lines, places, dimension_numbers=numbers, slice_sizes=slice_sizes, mode=mode)
        here = np.broadcast_to(np.expand_dims(those, numbers.offset_dims), index.shape)
        source = operand.dependence
        if free.any():
            source = of_lines(operand.dependence, lines)
            if not same(take(source, lines), operand.dependence):
                propagate.report(eqn, UNKNOWN)
        parts.append(take(source, np.where(here, index, -1)))
    return [union_of(parts)]


def _gathered(index: np.ndarray, indices: Any, **settings) -> np.ndarray:
    """JAX's gather on positions; −1 where it fills."""
    with jax.ensure_compile_time_eval():
        return np.asarray(jax.lax.gather(index.astype(np.int32), indices, fill_value=-1, **settings))


def _scatter(propagate, eqn, values):
    operand, indices, updates = values
    numbers = jx.scatter(eqn).dimension_numbers
    axes = numbers.scatter_dims_to_operand_dims
    places, kinds = _kinds_of_place(indices, operand.shape, jx.update_window(eqn), axes)
    targets = jx.scatter_targets(eqn, places).ravel()
    of_updates = lambda mask: np.broadcast_to(np.expand_dims(mask, numbers.update_window_dims), updates.shape).ravel()
    parts = []
    for free, those in kinds:
        lines = numbered_lines(operand.shape, ~free).ravel()
        count = lines.max(initial=-1) + 1
        line = np.where(of_updates(those), np.append(lines, count)[targets], count)
        parts.append(take(through(members(line, count + 1)[:count], updates.dependence), lines))
        if free.any() and updates.dependence is not None:
            propagate.report(eqn, UNKNOWN)
    certain = of_updates(~indices.in_parts()[1].any(-1)) & (targets >= 0)
    return [union_of([_not_replaced(eqn, operand, targets[certain]), *parts])]


def _kinds_of_place(
    indices: Value, shape: Sequence[int], slice_sizes: Sequence[int], axes: Sequence[int]
) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
    """Where the slices of a gather or scatter start, with zeros for what is not known, and of which kinds these are.

    A kind of place is given by the axes of the operand along which a slice may start anywhere, a mask; and by a mask of
    the places that are of this kind. The last axis of the indices goes over `axes` of the operand.
    """
    places, unknown = indices.in_parts()
    free = np.zeros((*indices.shape[:-1], len(shape)), bool)
    free[..., list(axes)] = unknown
    free &= np.not_equal(slice_sizes, shape)
    kinds = np.unique(free.reshape(-1, len(shape)), axis=0) if free.any() else free.reshape(-1, len(shape))[:1]
    return places, [(kind, (free == kind).all(-1)) for kind in kinds]


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
            lines = numbered_lines(value.shape, kept)
            outputs.append(take(of_lines(value.dependence, lines), numbered_lines(out.aval.shape, kept)))
        return outputs + [None] * (len(eqn.outvars) - len(outputs))

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
}
