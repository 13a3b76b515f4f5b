"""Patterns of products and windows: contractions, convolutions, pooling. Zeros of a known factor are left out."""

import math

import numpy as np
from scipy import sparse as sp

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.pattern.dependence import csr, groups, spread, take, union

# A known factor with so many entries is taken to be full where its zeros would need more than this many products.
MOST_PRODUCTS = 50_000_000


def _dot(walk, eqn, values):
    """out[b, i, k] = Σ_c a[b, i, c] w[b, k, c]"""
    (contract_a, contract_b), (batch_a, batch_b) = jx.dot(eqn)
    a, b = values
    index_a, index_b = _matrix(a, contract_a, batch_a), _matrix(b, contract_b, batch_b)
    batch, i, _ = index_a.shape
    k = index_b.shape[1]
    left = _contracted(a, index_a, b, index_b)
    right = _contracted(b, index_b, a, index_a)
    if right is not None:
        right = take(right, np.arange(batch * i * k).reshape(batch, k, i).swapaxes(1, 2))
    return [union(left, right)]


def _matrix(value, contracted, batch):
    """The numbers of the entries as (batch, free, contracted)."""
    free = [axis for axis in range(len(value.shape)) if axis not in (*contracted, *batch)]
    index = value.index().transpose(*batch, *free, *contracted)
    size = lambda axes: math.prod(value.shape[axis] for axis in axes)
    return index.reshape(size(batch), size(free), size(contracted))


def _contracted(a, index, w, index_w):
    """What the product takes from a, as (batch, free of a, free of w)."""
    if a.dependence is None:
        return None
    batch, i, _ = index.shape
    k = index_w.shape[1]
    nonzero = _nonzero(w)
    used = None if nonzero is None else nonzero.ravel()[index_w]
    if used is None or used.all() or used.sum(dtype=np.int64) * i > MOST_PRODUCTS:
        whole = spread(groups(index, batch * i, a.size), a.dependence)
        return take(whole, np.repeat(np.arange(batch * i), k))
    at, to, of = np.nonzero(used)
    counts = np.bincount(at * k + to, minlength=batch * k).reshape(batch, 1, k)
    # For each (batch, i, k) in order, the entries (batch, i, c) with w[batch, k, c] ≠ 0.
    entries = [index[b][:, of[at == b]].ravel() for b in range(batch)] if batch < 9 else None
    if entries is None:
        order = np.lexsort((np.tile(np.arange(at.size), i), np.repeat(np.arange(i), at.size), np.tile(at, i)))
        entries = [index[np.tile(at, i), np.repeat(np.arange(i), at.size), np.tile(of, i)][order]]
    counts = np.broadcast_to(counts, (batch, i, k)).ravel()
    incidence = csr(np.concatenate(entries), np.concatenate([[0], np.cumsum(counts)]), a.size)
    return spread(incidence, a.dependence)


def _nonzero(value):
    array = value.array()
    return None if array is None else array != 0


# --- windows ------------------------------------------------------------------------------------------------


def taps(size, window, stride=1, padding=(0, 0), base=1, dilation=1):
    """One axis of a sliding window: for each tap the (outputs, size) incidence of that tap alone."""
    low, high = padding
    wide = low + high + max((size - 1) * base + 1, 0)
    count = max((wide - (window - 1) * dilation - 1) // stride + 1, 0)
    incidences = []
    for tap in range(window):
        place = np.arange(count) * stride + tap * dilation - low
        inside = (place >= 0) & (place % base == 0) & (place // base < size)
        starts = np.concatenate([[0], np.cumsum(inside)])
        incidences.append(csr(place[inside] // base, starts, size))
    return incidences


def _all(parts):
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    return whole


def kron(*factors):
    whole = factors[0]
    for factor in factors[1:]:
        whole = sp.kron(whole, factor, "csr")
    return sp.csr_array(whole).astype(bool)


def ones(rows, columns):
    return sp.csr_array(np.ones((rows, columns), bool))


def eye(size):
    return sp.eye_array(size, dtype=bool, format="csr")


def _window_incidence(shape, eqn):
    return kron(*[_all(taps(*axis)) for axis in zip(shape, *jx.window(eqn), strict=True)])


def _reduce_window(walk, eqn, values):
    return [spread(_window_incidence(values[0].shape, eqn), values[0].dependence)]


def _select_and_scatter_add(walk, eqn, values):
    """Each source entry goes to one entry of its window."""
    source, operand = values
    return [spread(_window_incidence(operand.shape, eqn).T.tocsr(), source.dependence)]


def _convolution(walk, eqn, values):
    """out[n, o, s] = Σ_(c, tap) x[n, group(o), c, s + tap] w[o, c, tap]"""
    x, w = values
    convolution = jx.convolution(eqn)
    if convolution.batch_groups != 1:
        return _convolution_in_batches(walk, eqn, values)
    groups_, out_shape = convolution.groups, eqn.outvars[0].aval.shape
    index = x.index().transpose(convolution.lhs)
    n = index.shape[0]
    kernel = w.index().transpose(convolution.rhs)
    outputs, c = kernel.shape[:2]
    back = np.argsort(convolution.out)
    axes = [taps(*axis) for axis in zip(index.shape[2:], kernel.shape[2:], *convolution.windows, strict=True)]
    result = None
    if x.dependence is not None:
        p, nonzero = take(x.dependence, index), _nonzero(w)
        used = None if nonzero is None else nonzero.ravel()[kernel]
        if used is None or used.all():
            space = kron(*[_all(parts) for parts in axes])
            per_group = spread(kron(eye(n * groups_), ones(1, c), space), p)
            size = space.shape[0]
            place = np.arange(n * groups_ * size).reshape(n, groups_, 1, size)
            p = take(per_group, np.broadcast_to(place, (n, groups_, outputs // groups_, size)))
        else:
            p = spread(_sparse_kernel(used, axes, n, groups_), p)
        result = take(
            p, np.arange(math.prod(out_shape)).reshape([out_shape[a] for a in convolution.out]).transpose(back)
        )
    if w.dependence is not None:
        per_output = spread(groups(kernel, outputs, w.size), w.dependence)
        shape = [out_shape[a] for a in convolution.out]
        place = np.broadcast_to(np.arange(outputs).reshape(1, outputs, *[1] * (len(shape) - 2)), shape)
        result = union(result, take(per_output, place.transpose(back)))
    return [result]


def _sparse_kernel(used, axes, n, count):
    """The incidence of a convolution whose kernel (outputs, c, taps …) is zero but where used, tap by tap."""
    outputs, c = used.shape[:2]
    whole = None
    for tap in np.ndindex(used.shape[2:]):
        here = used[(slice(None), slice(None), *tap)]
        if not here.any():
            continue
        blocks = sp.block_diag([sp.csr_array(part) for part in here.reshape(count, outputs // count, c)], "csr")
        part = kron(eye(n), blocks, *[parts[t] for parts, t in zip(axes, tap, strict=True)])
        whole = part if whole is None else whole + part
    if whole is None:
        size = math.prod(parts[0].shape[0] for parts in axes)
        return sp.csr_array((n * outputs * size, n * count * c * math.prod(p[0].shape[1] for p in axes)), dtype=bool)
    return whole


def _convolution_in_batches(walk, eqn, values):
    """With batch groups, as in the derivative of a grouped convolution: every output on all of both operands' entries
    that may meet it, taken to be all."""
    size = math.prod(eqn.outvars[0].aval.shape)
    walk.report(eqn, "batch groups")
    parts = [take(v.dependence and spread(groups(v.index(), 1), v.dependence), np.zeros(size, int)) for v in values]
    return [union(*parts)]


PRODUCTS = {
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    **dict.fromkeys(["reduce_window_sum", "reduce_window_max", "reduce_window_min"], _reduce_window),
    "select_and_scatter_add": _select_and_scatter_add,
}
