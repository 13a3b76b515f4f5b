"""Dependence through matrix products, convolutions and pooling. Products with known zeros are left out."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import sparse as sp

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.entry_positions import as_matrices
from jaxdl.jacobian.analysis.pattern.dependence import Dependence, Matrix, csr, groups, take, through, union
from jaxdl.jacobian.analysis.pattern.values import DependenceRule, Value

# The zeros of a known factor are ignored if more products than this are left.
MOST_PRODUCTS = 50_000_000


def _dot(propagate, eqn, values):
    """out[b, i, k] = Σ_c a[b, i, c] w[b, k, c]"""
    a, w = values
    index_a, index_w = (as_matrices(v.positions(), jx.dot(eqn), place) for place, v in enumerate(values))
    batch, i, _ = index_a.shape
    k = index_w.shape[1]
    ignored = lambda: propagate.report(eqn, f"zeros of a factor ignored, more than {MOST_PRODUCTS:,} products")
    left = _contracted(a, index_a, w, index_w, ignored)
    right = _contracted(w, index_w, a, index_a, ignored)
    if right is not None:
        right = take(right, np.arange(batch * i * k).reshape(batch, k, i).swapaxes(1, 2))
    return [union(left, right)]


def _contracted(
    a: Value, index: np.ndarray, w: Value, index_w: np.ndarray, ignored: Callable[[], None]
) -> Dependence | None:
    """How the product depends on the input through a, as (batch, free axes of a, free axes of w).

    Calls `ignored` if there are too many products to leave out those with zeros of w.
    """
    if a.dependence is None:
        return None
    batch, i, _ = index.shape
    k = index_w.shape[1]
    nonzero = _nonzero(w)
    used = None if nonzero is None else nonzero.ravel()[index_w]
    if used is not None and not used.all() and used.sum(dtype=np.int64) * i > MOST_PRODUCTS:
        used = ignored()
    if used is None or used.all():
        whole = through(groups(index, batch * i, a.size), a.dependence)
        return take(whole, np.repeat(np.arange(batch * i), k))
    at, to, of = np.nonzero(used)
    counts = np.bincount(at * k + to, minlength=batch * k).reshape(batch, 1, k)
    # For each (batch, i, k) in order, the entries (batch, i, c) with w[batch, k, c] ≠ 0.
    if batch < 9:
        entries = np.concatenate([index[b][:, of[at == b]].ravel() for b in range(batch)])
    else:
        order = np.lexsort((np.tile(np.arange(at.size), i), np.repeat(np.arange(i), at.size), np.tile(at, i)))
        entries = index[np.tile(at, i), np.repeat(np.arange(i), at.size), np.tile(of, i)][order]
    counts = np.broadcast_to(counts, (batch, i, k)).ravel()
    return through(csr(entries, np.concatenate([[0], np.cumsum(counts)]), a.size), a.dependence)


def _nonzero(value: Value) -> np.ndarray | None:
    array = value.array()
    return None if array is None else array != 0


# --- windows ------------------------------------------------------------------------------------------------


def _taps(size: int, window: int, stride: int, padding: tuple[int, int], base: int, dilation: int) -> list[Any]:
    """One axis of a sliding window: for each tap the (outputs, size) incidence of that tap alone."""
    low, high = padding
    padded = low + high + max((size - 1) * base + 1, 0)
    count = max((padded - (window - 1) * dilation - 1) // stride + 1, 0)
    incidences = []
    for tap in range(window):
        place = np.arange(count) * stride + tap * dilation - low
        inside = (place >= 0) & (place % base == 0) & (place // base < size)
        starts = np.concatenate([[0], np.cumsum(inside)])
        incidences.append(csr(place[inside] // base, starts, size))
    return incidences


def _any_tap(incidences: Sequence[Any]) -> Matrix:
    return functools.reduce(operator.add, incidences)


def _kron(*factors: Matrix) -> Matrix:
    whole = functools.reduce(lambda a, b: sp.kron(a, b, "csr"), factors)
    return sp.csr_array(whole).astype(bool)


def _ones(rows: int, columns: int) -> Matrix:
    return sp.csr_array(np.ones((rows, columns), bool))


def _eye(size: int) -> Matrix:
    return sp.eye_array(size, dtype=bool, format="csr")


def _window_incidence(shape: Sequence[int], eqn: Any) -> Matrix:
    return _kron(*[_any_tap(_taps(*axis)) for axis in zip(shape, *jx.window(eqn), strict=True)])


def _reduce_window(propagate, eqn, values):
    return [through(_window_incidence(values[0].shape, eqn), values[0].dependence)]


def _select_and_scatter_add(propagate, eqn, values):
    """Each entry of the source reaches one entry of its window."""
    source, operand = values
    return [through(_window_incidence(operand.shape, eqn).T.tocsr(), source.dependence)]


def _convolution(propagate, eqn, values):
    """out[n, o, s] = Σ_(c, tap) x[n, group(o), c, s + tap] w[o, c, tap]"""
    if jx.convolution(eqn).batch_groups != 1:
        return _convolution_in_batches(propagate, eqn, values)
    return [union(_through_image(eqn, *values), _through_kernel(eqn, *values))]


def _through_image(eqn: Any, x: Value, w: Value) -> Dependence | None:
    if x.dependence is None:
        return None
    convolution = jx.convolution(eqn)
    count = convolution.groups
    index, kernel = x.positions().transpose(convolution.lhs), w.positions().transpose(convolution.rhs)
    n, (outputs, c) = index.shape[0], kernel.shape[:2]
    axes = [_taps(*axis) for axis in zip(index.shape[2:], kernel.shape[2:], *convolution.windows, strict=True)]
    p, nonzero = take(x.dependence, index), _nonzero(w)
    used = None if nonzero is None else nonzero.ravel()[kernel]
    if used is None or used.all():
        space = _kron(*[_any_tap(parts) for parts in axes])
        size = space.shape[0]
        of_groups = through(_kron(_eye(n * count), _ones(1, c), space), p)
        place = np.arange(n * count * size).reshape(n, count, 1, size)
        p = take(of_groups, np.broadcast_to(place, (n, count, outputs // count, size)))
    else:
        p = through(_sparse_kernel(used, axes, n, count), p)
    place = np.arange(eqn.outvars[0].aval.size).reshape(_output_shape(eqn))
    return take(p, place.transpose(np.argsort(convolution.out)))


def _through_kernel(eqn: Any, x: Value, w: Value) -> Dependence | None:
    convolution = jx.convolution(eqn)
    kernel, shape = w.positions().transpose(convolution.rhs), _output_shape(eqn)
    outputs = kernel.shape[0]
    place = np.broadcast_to(np.arange(outputs).reshape(1, outputs, *[1] * (len(shape) - 2)), shape)
    return take(through(groups(kernel, outputs, w.size), w.dependence), place.transpose(np.argsort(convolution.out)))


def _output_shape(eqn: Any) -> list[int]:
    """(batch, channel, space…)"""
    return [eqn.outvars[0].aval.shape[axis] for axis in jx.convolution(eqn).out]


def _sparse_kernel(used: np.ndarray, axes: Sequence[Any], n: int, count: int) -> Matrix:
    """The incidence of a convolution whose kernel (outputs, c, taps …) is zero except where `used`, tap by tap."""
    outputs, c = used.shape[:2]
    whole = None
    for tap in np.ndindex(used.shape[2:]):
        here = used[(slice(None), slice(None), *tap)]
        if not here.any():
            continue
        blocks = sp.block_diag([sp.csr_array(part) for part in here.reshape(count, outputs // count, c)], "csr")
        part = _kron(_eye(n), blocks, *[parts[t] for parts, t in zip(axes, tap, strict=True)])
        whole = part if whole is None else whole + part
    if whole is None:
        size = math.prod(parts[0].shape[0] for parts in axes)
        return sp.csr_array((n * outputs * size, n * count * c * math.prod(p[0].shape[1] for p in axes)), dtype=bool)
    return whole


def _convolution_in_batches(propagate, eqn, values):
    """With batch groups, as in the derivative of a grouped convolution: every output depends on both operands whole."""
    size = math.prod(eqn.outvars[0].aval.shape)
    propagate.report(eqn, "batch groups")
    a, b = (take(v.together(), np.zeros(size, int)) for v in values)
    return [union(a, b)]


CONTRACTION_DEPENDENCE: dict[str, DependenceRule] = {
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    **dict.fromkeys(["reduce_window_sum", "reduce_window_max", "reduce_window_min"], _reduce_window),
    "select_and_scatter_add": _select_and_scatter_add,
}
