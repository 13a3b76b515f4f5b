"""Convolutions with one channel in a group, as shifted images times weights.

XLA on a CPU runs such a convolution on one pixel at a time. These forms are one loop over memory.

Output c m + l depends on channel c alone. There are m convolutions, each with a kernel for each channel.
"""

import dataclasses
import itertools
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from jaxdl.ops.convolution_forms import bordered, padded


def correlate(x: Array, w: Array, g: Any) -> Array:
    """Σ x[s p + d i, s q + d j] w[i, j]"""
    size = g.size(x.shape[1:3], w.shape[:2])
    x = bordered(x, g)
    return _together(lax.map(lambda w: _shifts(x, w, g, size), _apart(w, g)))


def spread(z: Array, w: Array, g: Any) -> Array:
    """Correlations of z, its pixels `stride` apart, with the kernels flipped."""
    size = g.transposed_size(z.shape[1:3], w.shape[:2])
    reach = [d * (k - 1) for d, k in zip(g.dilation, w.shape[:2], strict=True)]
    edges = [(r - low, r - high, s - 1) for r, (low, high), s in zip(reach, g.padding, g.stride, strict=True)]
    each = dataclasses.replace(g, stride=(1, 1))
    of_one = lambda zw: _shifts(padded(zw[0], *edges), jnp.flip(zw[1], (0, 1)), each, size)
    return lax.map(of_one, (_apart(z, g), _apart(w, g))).sum(0)


def kernel_gradient(x: Array, z: Array, g: Any, window: tuple[int, ...]) -> Array:
    """One entry of the kernel after the other."""
    (a, b), (kh, kw) = z.shape[1:3], window
    x = bordered(x, g)
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


FACES = {"correlate": correlate, "spread": spread, "kernel gradient": kernel_gradient}
