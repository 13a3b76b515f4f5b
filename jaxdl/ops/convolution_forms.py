"""The forms of convolutions: those of the compiler, and those that are fastest on a CPU.

XLA on a CPU behaves as follows (measured with JAX 0.10 on two cores; `benchmarks/convolution.md`):
- A convolution whose output is nowhere larger than its input goes to a library that uses one core, and without padding
  runs at a quarter of that speed. Other convolutions go to Eigen, on all cores. So one more row than necessary is
  computed, and cut off.
- For few channels Eigen is always used, which is slow for images with one channel. So more channels are computed.
- A 1×1 convolution is faster as a matrix product.
- The kernel's gradient as a convolution transposes both images and uses one core. Here it is a sum of matrix products
  over blocks of images that fit in the cache.
- A transposed convolution with a stride convolves an image that is mostly zeros. Here a convolution without stride
  computes the pixels of each s × s cell as channels.
- With one channel in a group (depthwise), a convolution runs on one pixel at a time. Shifted images times weights, all
  in one loop over memory, are up to 90 times as fast.

`g` is the geometry: stride, padding, dilation, groups.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from jaxdl.ops.precision import like, upcast

Form = Callable[..., Array]

CACHE = 2_000_000  # bytes of a block, with its patches
FEW = 17  # channels, from which on XLA uses the library for one core
WORTH_CORES = 10_000_000  # multiplications; with fewer, one core is as fast as all
MOST_GROUPS = 8  # more are left to the compiler, except groups of one channel
MOST_SHIFTS = 64  # entries of a depthwise kernel; the program grows with each


def plain_correlate(x: Array, w: Array, g: Any) -> Array:
    return lax.conv_general_dilated(
        x, w, g.stride, g.padding, rhs_dilation=g.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=g.groups,
    )  # fmt: skip


def plain_spread(z: Array, w: Array, g: Any) -> Array:
    """A convolution of z, its pixels `stride` apart among zeros, with the kernel flipped and turned around."""
    (kh, kw, i, o), k = w.shape, g.groups
    turned = jnp.flip(w, (0, 1)).reshape(kh, kw, i, k, o // k).transpose(0, 1, 4, 3, 2).reshape(kh, kw, o // k, k * i)
    reach = [d * (n - 1) for d, n in zip(g.dilation, (kh, kw), strict=True)]
    return lax.conv_general_dilated(
        z, turned, (1, 1), [(r - low, r - high) for r, (low, high) in zip(reach, g.padding, strict=True)],
        lhs_dilation=g.stride, rhs_dilation=g.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=k,
    )  # fmt: skip


def plain_kernel_gradient(x: Array, z: Array, g: Any, window: tuple[int, ...]) -> Array:
    """A convolution of x with z as the kernel: channels are the batch, and the batch the channels."""
    lows = [low for low, _ in g.padding]
    spans = [d * (k - 1) + s * (a - 1) + 1 for d, k, s, a in
             zip(g.dilation, window, g.stride, z.shape[1:3], strict=True)]  # fmt: skip
    return lax.conv_general_dilated(
        x, z, g.dilation, [(low, n - size - low) for low, n, size in zip(lows, spans, x.shape[1:3], strict=True)],
        rhs_dilation=g.stride, dimension_numbers=("CHWN", "IHWO", "HWNC"), batch_group_count=g.groups,
    )  # fmt: skip


def on_cpu(form: Form, depthwise: Form, plain: Form) -> Form:
    """Extends a form for real numbers and one group to all dtypes and groups; many groups need one of the others."""

    def whole(x, y, g, *window):
        if jnp.iscomplexobj(x):
            of = lambda a, b: whole(a, b, g, *window)
            return lax.complex(of(x.real, y.real) - of(x.imag, y.imag), of(x.real, y.imag) + of(x.imag, y.real))
        if _is_depthwise(x, y, g, *window):
            return like(x, depthwise(*upcast((x, y)), g, *window))
        if g.groups > MOST_GROUPS:
            return plain(x, y, g, *window)
        alone = dataclasses.replace(g, groups=1)
        groups = zip(*(jnp.split(upcast(a), g.groups, 3) for a in (x, y)), strict=True)
        parts = [form(*group, alone, *window) for group in groups]
        return like(x, jnp.concatenate(parts, 3) if len(parts) > 1 else parts[0])

    return whole


def _correlate(x, w, g):
    """Σ x[s p + d i, s q + d j] w[i, j]"""
    if _is_pointwise(w.shape[:2], g):
        return x[:, :: g.stride[0], :: g.stride[1]] @ w[0, 0]
    if x.shape[3] == 1 and w.shape[3] < FEW:
        return plain_correlate(x, jnp.pad(w, ((0, 0), (0, 0), (0, 0), (0, FEW - w.shape[3]))), g)[..., : w.shape[3]]
    (top, bottom), sides = g.padding
    rows, columns = g.size(x.shape[1:3], w.shape[:2])
    extra = g.dilation[0] * (w.shape[0] - 1) + 1 - top - bottom
    runs_on_one_core = g.stride == (1, 1) and x.shape[3] > 1 and max(w.shape[2:]) >= FEW and extra > 0
    is_small = x.shape[0] * rows * columns * w.size < WORTH_CORES
    if is_small or not runs_on_one_core or extra > rows / 4 or min(top, bottom, *sides) < 0:
        return plain_correlate(x, w, g)
    return plain_correlate(x, w, dataclasses.replace(g, padding=((top + extra, bottom), sides)))[:, extra:]


def _spread(z, w, g):
    """x[s p + d i, s q + d j] += z[p, q] w[i, j]ᵀ"""
    window = w.shape[:2]
    size = g.transposed_size(z.shape[1:3], window)
    if _is_pointwise(window, g):
        gaps = [(0, n - (a - 1) * s - 1, s - 1) for n, a, s in zip(size, z.shape[1:3], g.stride, strict=True)]
        return _padded(z @ w[0, 0].T, *gaps)
    if g.stride == (1, 1) and w.shape[2] <= 8:
        block = _block(z.shape[0], z[0, :, :, 0].size * w[..., 0].size * z.dtype.itemsize)
        return lax.map(lambda z: _spread_products(z[None], w, g)[0], z, batch_size=block)
    if g.stride == (1, 1):
        pads = [(d * (k - 1) - low, d * (k - 1) - high)
                for d, k, (low, high) in zip(g.dilation, window, g.padding, strict=True)]  # fmt: skip
        return _correlate(z, jnp.flip(w, (0, 1)).swapaxes(2, 3), dataclasses.replace(g, padding=tuple(pads)))
    if g.dilation != (1, 1) or z.shape[1] * z.shape[2] <= 16:  # too small for the cells to pay
        return plain_spread(z, w, g)
    return _spread_cells(z, w, g, size)


def _spread_products(z, w, g):
    """For few channels in x: one matrix product of z with all entries of the kernel, whose parts are then shifted."""
    (n, a, b, _), (kh, kw, i, o) = z.shape, w.shape
    products = (z.reshape(-1, o) @ w.reshape(-1, o).T).reshape(n, a, b, kh, kw, i)
    (d, e), ((top, bottom), (left, right)) = g.dilation, g.padding
    total = 0.0
    for row in range(kh):
        line = 0.0
        for column in range(kw):
            line += _padded(products[:, :, :, row, column], (0, 0, 0), (column * e, (kw - 1 - column) * e, 0))
        total += _padded(line, (row * d, (kh - 1 - row) * d, 0), (0, 0, 0))
    return _padded(total, (-top, -bottom, 0), (-left, -right, 0))


def _spread_cells(z, w, g, size):
    """With stride s, x[s m + r] = Σ z[m − q] w[s q + r]ᵀ: all r in 0 … s − 1 as channels of cell m."""
    (kh, kw, i, o), (s, t) = w.shape, g.stride
    a, b = -(-kh // s), -(-kw // t)
    cells = jnp.pad(w, ((0, a * s - kh), (0, b * t - kw), (0, 0), (0, 0))).reshape(a, s, b, t, i, o)
    cells = jnp.flip(cells, (0, 2)).transpose(0, 2, 5, 1, 3, 4).reshape(a, b, o, s * t * i)
    first = [low // stride for (low, _), stride in zip(g.padding, g.stride, strict=True)]
    last = [-(-(low + n) // stride) for (low, _), n, stride in zip(g.padding, size, g.stride, strict=True)]
    pads = [(k - 1 - f, end - n) for k, f, end, n in zip((a, b), first, last, z.shape[1:3], strict=True)]
    x = _correlate(z, cells, dataclasses.replace(g, stride=(1, 1), padding=tuple(pads)))
    n, rows, columns, _ = x.shape
    x = x.reshape(n, rows, columns, s, t, i).swapaxes(2, 3).reshape(n, rows * s, columns * t, i)
    top, left = (low - f * stride for (low, _), f, stride in zip(g.padding, first, g.stride, strict=True))
    return x[:, top : top + size[0], left : left + size[1]]


def _kernel_gradient(x, z, g, window):
    """w[i, j] = Σ x[s p + d i, s q + d j]ᵀ z[p, q]

    The pixels of x that meet a row of the kernel are concatenated, so that each row is one matrix product.
    """
    (n, a, b, o), c, (kh, kw), (s, t), (d, e) = z.shape, x.shape[3], window, g.stride, g.dilation
    if _is_pointwise(window, g):
        return (x[:, ::s, ::t].reshape(-1, c).T @ z.reshape(-1, o))[None, None]
    x = _bordered(x, g)
    narrow_first = o <= 64 and o < kw * c  # a product of two tall matrices is faster this way

    def rows(x, z):
        columns = [lax.slice_in_dim(x, j * e, j * e + (b - 1) * t + 1, t, 2) for j in range(kw)]
        x, z = jnp.concatenate(columns, 3), z.reshape(-1, o)

        def row(i):  # one after the other, so that only one is stored
            met = lax.dynamic_slice_in_dim(x, i * d, (a - 1) * s + 1, 1)[:, ::s].reshape(-1, kw * c)
            return z.T @ met if narrow_first else met.T @ z

        return lax.map(row, jnp.arange(kh))

    bytes_of_one, least = x.shape[1] * b * kw * c * x.dtype.itemsize, 2 * kh * kw * c * o * x.dtype.itemsize
    total = _sum_over_blocks(rows, (x, z), _block(n, bytes_of_one, least))
    return (total.mT if narrow_first else total).reshape(kh, kw, c, o)


# Depthwise: output c m + l depends on channel c alone. There are m convolutions, each with a kernel for each channel.


def _correlate_depthwise(x, w, g):
    size = g.size(x.shape[1:3], w.shape[:2])
    x = _bordered(x, g)
    return _together(lax.map(lambda w: _shifts(x, w, g, size), _apart(w, g)))


def _spread_depthwise(z, w, g):
    """Correlations of z, its pixels `stride` apart, with the kernels flipped."""
    size = g.transposed_size(z.shape[1:3], w.shape[:2])
    reach = [d * (k - 1) for d, k in zip(g.dilation, w.shape[:2], strict=True)]
    edges = [(r - low, r - high, s - 1) for r, (low, high), s in zip(reach, g.padding, g.stride, strict=True)]
    each = dataclasses.replace(g, stride=(1, 1))
    of_one = lambda zw: _shifts(_padded(zw[0], *edges), jnp.flip(zw[1], (0, 1)), each, size)
    return lax.map(of_one, (_apart(z, g), _apart(w, g))).sum(0)


def _kernel_gradient_depthwise(x, z, g, window):
    """One entry of the kernel after the other."""
    (a, b), (kh, kw) = z.shape[1:3], window
    x = _bordered(x, g)
    place = lambda at, z: (_seen(x, at // kw, at % kw, g, (a, b)) * z).sum((1, 2)).sum(0)
    of_one = lambda z: lax.map(lambda at: place(at, z), jnp.arange(kh * kw)).reshape(kh, kw, 1, -1)
    return _together(lax.map(of_one, _apart(z, g)))


def _shifts(x, w, g, size):
    """Σ x[s p + d i, s q + d j] w[i, j], channel by channel"""
    places = itertools.product(*map(range, w.shape[:2]))
    return sum(_seen(x, i, j, g, size) * w[i : i + 1, j : j + 1] for i, j in places)


def _apart(x, g):
    """(..., c m) → (m, ..., c)"""
    return jnp.moveaxis(x.reshape(*x.shape[:-1], g.groups, -1), -1, 0)


def _together(x):
    """(m, ..., c) → (..., c m)"""
    return jnp.moveaxis(x, 0, -1).reshape(*x.shape[1:-1], -1)


def _seen(x, i, j, g, size):
    """The pixels of the padded images that entry (i, j) of the kernel meets, at all positions of the kernel."""
    (a, b), (s, t), (d, e) = size, g.stride, g.dilation
    reach = (x.shape[0], (a - 1) * s + 1, (b - 1) * t + 1, x.shape[3])
    return lax.dynamic_slice(x, (0, i * d, j * e, 0), reach)[:, ::s, ::t]


def _is_depthwise(x, y, g, window=None):
    """Whether there is one channel in a group of the larger image; `window` is given where y is not a kernel."""
    one_channel = y.shape[2] == 1 if window is None else x.shape[3] == g.groups
    return g.groups > 1 and one_channel and math.prod(window or y.shape[:2]) <= MOST_SHIFTS


def _sum_over_blocks(f, images, block):
    """Σ f(images of a block), the last of which may be smaller."""
    count, rest = divmod(images[0].shape[0], block)
    if count == 1 and not rest:
        return f(*images)
    last = f(*(a[block * count :] for a in images)) if rest else 0.0
    blocks = [a[: block * count].reshape(count, block, *a.shape[1:]) for a in images]
    total = lax.fori_loop(1, count, lambda i, total: total + f(*(b[i] for b in blocks)), f(*(b[0] for b in blocks)))
    return total + last


def _block(n, bytes_of_one, least=0):
    """The number of images in a block that fits in the cache or has `least` bytes; a divisor of n, if one is near."""
    most = min(n, max(1, max(CACHE, least) // bytes_of_one))
    return next((b for b in range(most, most // 2, -1) if n % b == 0), most)


def _is_pointwise(window, g):
    return window == (1, 1) and g.padding == ((0, 0), (0, 0))


def _bordered(x, g):
    """Images with their padding."""
    return _padded(x, *((low, high, 0) for low, high in g.padding))


def _padded(x, rows, columns):
    """Zeros (before, after, between) the rows and the columns of images; negative numbers cut off."""
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), rows, columns, (0, 0, 0)))


correlate: Form = on_cpu(_correlate, _correlate_depthwise, plain_correlate)
spread: Form = on_cpu(_spread, _spread_depthwise, plain_spread)
kernel_gradient: Form = on_cpu(_kernel_gradient, _kernel_gradient_depthwise, plain_kernel_gradient)
