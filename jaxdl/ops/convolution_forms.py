"""The forms of convolutions of real numbers in one group: those of the compiler, and others for a CPU.

`correlate`, `spread` and `kernel_gradient` below are the three faces of one convolution: its value, its transpose and
its kernel's gradient. Each has several forms with one value. None is the fastest everywhere, so
`jaxdl/ops/convolution_choice.py` chooses by measurements.

XLA on a CPU behaves as follows (`benchmarks/convolution.md` has figures):
- It gives a convolution to one of two libraries, YNNPACK or Eigen. YNNPACK takes those without zeros between the pixels
  of the image, with more than 16 channels, and with an output and a kernel no larger than the image. In jaxlib 0.10 it
  runs on one core, and without padding at a quarter of its speed.
- So the form "eigen" writes the same convolution with its rows two apart: rows of zeros lie between those of the image,
  the kernel has rows of zeros too, and the stride skips the zeros again. Eigen reads no zero of them.
- With few outputs both are slow. The form "neighbours" computes neighbouring pixels of a row as channels, with a kernel
  that is a little wider.
- A 1×1 convolution is a matrix product. The kernel's gradient is a sum of them over blocks of images that fit in the
  cache, and so is the transpose for few channels: form "products".
- A transposed convolution with a stride convolves an image that is mostly zeros. In the form "cells" a convolution
  without stride computes the pixels of each s × s cell as channels.

`g` is the geometry: stride, padding, dilation, groups.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

CACHE = 2_000_000  # bytes of a block, with its patches
FEW = 17  # channels, from which on XLA may use YNNPACK
MOST_SHIFTS = 64  # entries of a depthwise kernel
NARROW = 16  # channels, up to which a product or a convolution has too few columns


class Sizes(NamedTuple):
    """What a form is chosen by: the sizes of a convolution, whichever of its faces is computed.

    Attributes:
        inputs: The channels of the image in one group.
        outputs: The channels of the output.
    """

    images: int
    image: tuple[int, ...]
    out: tuple[int, ...]
    window: tuple[int, ...]
    inputs: int
    outputs: int
    g: Any

    @property
    def is_pointwise(self) -> bool:
        return self.window == (1, 1) and self.g.padding == ((0, 0), (0, 0))

    @property
    def is_depthwise(self) -> bool:
        """Whether there is one channel in a group, and a program of one step for each entry of the kernel is small."""
        return self.g.groups > 1 and self.inputs == 1 and math.prod(self.window) <= MOST_SHIFTS


class Form(NamedTuple):
    """One way to compute a face, and for which sizes it differs from the compiler's."""

    run: Callable[..., Array]
    fits: Callable[[Sizes], bool]


# Those of the compiler.


def plain_correlate(x: Array, w: Array, g: Any, apart: int = 1) -> Array:
    return lax.conv_general_dilated(
        x, w, *_rows_apart(apart, g.stride, g.padding, (1, 1), g.dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=g.groups,
    )  # fmt: skip


def plain_spread(z: Array, w: Array, g: Any, apart: int = 1) -> Array:
    """A convolution of z, its pixels `stride` apart among zeros, with the kernel flipped and turned around."""
    (kh, kw, i, o), k = w.shape, g.groups
    turned = jnp.flip(w, (0, 1)).reshape(kh, kw, i, k, o // k).transpose(0, 1, 4, 3, 2).reshape(kh, kw, o // k, k * i)
    reach = [d * (n - 1) for d, n in zip(g.dilation, (kh, kw), strict=True)]
    pads = [(r - low, r - high) for r, (low, high) in zip(reach, g.padding, strict=True)]
    return lax.conv_general_dilated(
        z, turned, *_rows_apart(apart, (1, 1), pads, g.stride, g.dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=k,
    )  # fmt: skip


def plain_kernel_gradient(x: Array, z: Array, g: Any, window: tuple[int, ...], apart: int = 1) -> Array:
    """A convolution of x with z as the kernel: channels are the batch, and the batch the channels.

    The axes are moved here: inside loops XLA for CPUs does not do it, and has no library for other orders of axes.
    """
    lows = [low for low, _ in g.padding]
    spans = [d * (k - 1) + s * (a - 1) + 1 for d, k, s, a in
             zip(g.dilation, window, g.stride, z.shape[1:3], strict=True)]  # fmt: skip
    pads = [(low, n - size - low) for low, n, size in zip(lows, spans, x.shape[1:3], strict=True)]
    return lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0), z.transpose(1, 2, 0, 3), *_rows_apart(apart, g.dilation, pads, (1, 1), g.stride),
        dimension_numbers=("NHWC", "HWIO", "NHWC"), batch_group_count=g.groups,
    ).transpose(1, 2, 0, 3)  # fmt: skip


def _rows_apart(apart, stride, pads, gaps, dilation):
    """Window strides, padding, distances of the image's and of the kernel's pixels, with all rows further apart."""
    by = lambda sizes: (apart * sizes[0], sizes[1])
    (top, bottom), sides = pads
    return by(stride), ((apart * top, apart * bottom), sides), by(gaps), by(dilation)


def _with_rows_apart(plain):
    return lambda x, y, *settings: plain(x, y, *settings, apart=2)


def _library_may_take(image, kernel, out, channels):
    fit = all(k <= n and m <= n for n, k, m in zip(image, kernel, out, strict=True))
    return fit and max(channels) >= FEW


# Value


def _correlate_neighbours(x, w, g):
    """t neighbouring pixels of a row as channels: the kernel is t times beside itself, shifted by the stride.

    Of n × a × b/t × (t o) numbers to n × a × b × o is no step in memory.
    """
    (a, b), (s, t) = g.size(x.shape[1:3], w.shape[:2]), (g.stride[0], g.stride[1])
    side = _neighbours(b, w.shape[3])
    shifted = [jnp.pad(w, ((0, 0), (r * t, (side - 1 - r) * t), (0, 0), (0, 0))) for r in range(side)]
    beside = jnp.concatenate(shifted, 3)
    y = plain_correlate(x, beside, dataclasses.replace(g, stride=(s, side * t)))
    return y.reshape(len(x), a, b, -1)


def _neighbours(width, channels):
    """How many neighbouring pixels are computed as channels: up to 4 for up to 32 channels, a divisor of width."""
    return next((t for t in (4, 3, 2) if width % t == 0 and t * channels <= 2 * NARROW), 1)


def _correlate_product(x, w, g):
    return x[:, :: g.stride[0], :: g.stride[1]] @ w[0, 0]


# Transpose


def _spread_products(z, w, g):
    """For few channels in x: one matrix product of z with all entries of the kernel, whose parts are then shifted."""
    window = w.shape[:2]
    if window == (1, 1) and g.padding == ((0, 0), (0, 0)):
        size = g.transposed_size(z.shape[1:3], window)
        gaps = [(0, n - (a - 1) * s - 1, s - 1) for n, a, s in zip(size, z.shape[1:3], g.stride, strict=True)]
        return padded(z @ w[0, 0].T, *gaps)
    block = _block(z.shape[0], z[0, :, :, 0].size * w[..., 0].size * z.dtype.itemsize, cache=CACHE // 8)
    return lax.map(lambda z: _shifted_products(z[None], w, g)[0], z, batch_size=block)


def _shifted_products(z, w, g):
    (n, a, b, _), (kh, kw, i, o) = z.shape, w.shape
    products = (z.reshape(-1, o) @ w.reshape(-1, o).T).reshape(n, a, b, kh, kw, i)
    (d, e), ((top, bottom), (left, right)) = g.dilation, g.padding
    across = lambda row, j: padded(products[:, :, :, row, j], (0, 0, 0), (j * e, (kw - 1 - j) * e, 0))
    line = lambda row: functools.reduce(jnp.add, (across(row, j) for j in range(kw)))
    down = lambda row: padded(line(row), (row * d, (kh - 1 - row) * d, 0), (0, 0, 0))
    return padded(functools.reduce(jnp.add, map(down, range(kh))), (-top, -bottom, 0), (-left, -right, 0))


def _spread_neighbours(z, w, g):
    pads = [(k - 1 - low, k - 1 - high) for k, (low, high) in zip(w.shape[:2], g.padding, strict=True)]
    return _correlate_neighbours(z, jnp.flip(w, (0, 1)).swapaxes(2, 3), dataclasses.replace(g, padding=tuple(pads)))


def _spread_cells(z, w, g):
    """With stride s, x[s m + r] = Σ z[m − q] w[s q + r]ᵀ: all r in 0 … s − 1 as channels of cell m."""
    (kh, kw, i, o), (s, t) = w.shape, g.stride
    size = g.transposed_size(z.shape[1:3], (kh, kw))
    a, b = -(-kh // s), -(-kw // t)
    cells = jnp.pad(w, ((0, a * s - kh), (0, b * t - kw), (0, 0), (0, 0))).reshape(a, s, b, t, i, o)
    cells = jnp.flip(cells, (0, 2)).transpose(0, 2, 5, 1, 3, 4).reshape(a, b, o, s * t * i)
    first = [low // stride for (low, _), stride in zip(g.padding, g.stride, strict=True)]
    last = [-(-(low + n) // stride) for (low, _), n, stride in zip(g.padding, size, g.stride, strict=True)]
    pads = [(k - 1 - f, end - n) for k, f, end, n in zip((a, b), first, last, z.shape[1:3], strict=True)]
    x = plain_correlate(z, cells, dataclasses.replace(g, stride=(1, 1), padding=tuple(pads)))
    n, rows, columns, _ = x.shape
    x = x.reshape(n, rows, columns, s, t, i).swapaxes(2, 3).reshape(n, rows * s, columns * t, i)
    top, left = (low - f * stride for (low, _), f, stride in zip(g.padding, first, g.stride, strict=True))
    return x[:, top : top + size[0], left : left + size[1]]


# Gradient of the kernel


def _kernel_gradient_products(x, z, g, window):
    """w[i, j] = Σ x[s p + d i, s q + d j]ᵀ z[p, q]

    The pixels of x that meet a row of the kernel are concatenated, so that each row is one matrix product.
    """
    (n, a, b, o), c, (kh, kw), (s, t), (d, e) = z.shape, x.shape[3], window, g.stride, g.dilation
    if window == (1, 1) and g.padding == ((0, 0), (0, 0)):
        return (x[:, ::s, ::t].reshape(-1, c).T @ z.reshape(-1, o))[None, None]
    x = bordered(x, g)
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


def _kernel_gradient_neighbours(x, z, g, window):
    """The gradient of the kernel t times beside itself, whose parts are then added."""
    (n, a, b, o), (s, t), (kh, kw) = z.shape, g.stride, window
    side = _neighbours(b, o)
    z, far = z.reshape(n, a, b // side, side * o), dataclasses.replace(g, stride=(s, side * t))
    dw = plain_kernel_gradient(x, z, far, (kh, kw + (side - 1) * t), apart=2)
    return functools.reduce(jnp.add, (part[:, r * t : r * t + kw] for r, part in enumerate(jnp.split(dw, side, 3))))


def _sum_over_blocks(f, images, block):
    """Σ f(images of a block), the last of which may be smaller."""
    count, rest = divmod(images[0].shape[0], block)
    if count == 1 and not rest:
        return f(*images)
    last = f(*(a[block * count :] for a in images)) if rest else 0.0
    blocks = [a[: block * count].reshape(count, block, *a.shape[1:]) for a in images]
    total = lax.fori_loop(1, count, lambda i, total: total + f(*(b[i] for b in blocks)), f(*(b[0] for b in blocks)))
    return total + last


def _block(n, bytes_of_one, least=0, cache=None):
    """The number of images in a block that fits in the cache or has `least` bytes; a divisor of n, if one is near."""
    most = min(n, max(1, max(cache or CACHE, least) // bytes_of_one))
    return next((b for b in range(most, most // 2, -1) if n % b == 0), most)


def bordered(x: Array, g: Any) -> Array:
    """Images with their padding."""
    return padded(x, *((low, high, 0) for low, high in g.padding))


def padded(x: Array, rows: tuple[int, int, int], columns: tuple[int, int, int]) -> Array:
    """Zeros (before, after, between) the rows and the columns of images; negative numbers cut off."""
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), rows, columns, (0, 0, 0)))


def _has_neighbours(width, channels, g):
    return channels <= NARROW and g.dilation == (1, 1) and _neighbours(width, channels) > 1


CORRELATE = {
    "compiler": Form(plain_correlate, lambda s: True),
    "eigen": Form(
        _with_rows_apart(plain_correlate),
        lambda s: _library_may_take(s.image, s.window, s.out, (s.inputs, s.outputs)),
    ),
    "products": Form(_correlate_product, lambda s: s.is_pointwise),
    "neighbours": Form(_correlate_neighbours, lambda s: _has_neighbours(s.out[1], s.outputs, s.g)),
}
SPREAD = {
    "compiler": Form(plain_spread, lambda s: True),
    "eigen": Form(
        _with_rows_apart(plain_spread),
        lambda s: s.g.stride == (1, 1) and _library_may_take(s.out, s.window, s.image, (s.inputs, s.outputs)),
    ),
    "products": Form(_spread_products, lambda s: s.is_pointwise or (s.g.stride == (1, 1) and s.inputs <= NARROW)),
    "neighbours": Form(
        _spread_neighbours, lambda s: s.g.stride == (1, 1) and _has_neighbours(s.image[1], s.inputs, s.g)
    ),
    "cells": Form(_spread_cells, lambda s: s.g.stride != (1, 1) and s.g.dilation == (1, 1) and not s.is_pointwise),
}
KERNEL_GRADIENT = {
    "compiler": Form(plain_kernel_gradient, lambda s: True),
    "eigen": Form(
        _with_rows_apart(plain_kernel_gradient),
        lambda s: _library_may_take(s.image, s.out, s.window, (s.images, s.outputs)),
    ),
    "products": Form(_kernel_gradient_products, lambda s: True),
    "neighbours": Form(_kernel_gradient_neighbours, lambda s: _has_neighbours(s.out[1], s.outputs, s.g)),
}
FACES = {"correlate": CORRELATE, "spread": SPREAD, "kernel gradient": KERNEL_GRADIENT}
