"""Reductions, cumulative operations, matrix products, windows and convolution, by their definitions."""

import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.exact.elementwise import larger, smaller
from jaxdl.exact.indexing import taken
from jaxdl.exact.numbers import filled
from jaxdl.exact.types import Array, Context, Number, Rules


def rows(x: Array, axes: Any) -> Array:
    """x with some axes moved to the end and merged into one."""
    kept = [i for i in range(x.ndim) if i not in axes]
    return np.transpose(x, [*kept, *axes]).reshape(*[x.shape[i] for i in kept], -1)


def by_row(f: Callable[..., Any], x: Array) -> Array:
    """Applies f, from a list to a number, along the last axis."""
    flat = x.reshape(-1, x.shape[-1]) if x.size else np.empty((int(np.prod(x.shape[:-1])), x.shape[-1]), object)
    return filled([f(list(row)) for row in flat], x.shape[:-1])


def reduction(of_list: Callable[..., Any]) -> Callable[..., Any]:
    """The rule of a reduction, given as a function of the context and a list."""
    return lambda mp, eqn, x: by_row(lambda row: of_list(mp, row), rows(x, jx.reduced_axes(eqn)))


def extremum(better: Callable[..., Any], start: int) -> Callable[..., Any]:
    return lambda mp, row: functools.reduce(lambda x, y: better(mp, x, y), row or [start * mp.inf])


# --- cumulative ------------------------------------------------------------------------------------


def cumulative(combine: Callable[..., Any]) -> Callable[..., Any]:
    def rule(mp, eqn, x):
        p = jx.parameters(eqn)
        way = slice(None, None, -1 if p["reverse"] else 1)
        moved = np.moveaxis(x, p["axis"], -1)[..., way]
        flat = [
            list(itertools.accumulate(row, lambda x, y: combine(mp, x, y)))
            for row in moved.reshape(-1, moved.shape[-1])
        ]
        y = filled(list(itertools.chain(*flat)), moved.shape)
        return np.moveaxis(y[..., way], -1, p["axis"])

    return rule


def log_sum(mp: Context, x: Number, y: Number) -> Number:
    """log(eˣ + eʸ)"""
    low, high = smaller(mp, x, y), larger(mp, x, y)
    return high if mp.isinf(high) else high + mp.log1p(mp.exp(low - high))


# --- products --------------------------------------------------------------------------------------


def dot_general(mp: Context, eqn: jx.Equation, x: Array, y: Array) -> Array:
    dot = jx.dot(eqn)

    def arranged(a, place):
        """(batch, free, contracted)"""
        batch, contracted = dot.batch[place], dot.contracted[place]
        sizes = [math.prod(a.shape[i] for i in axes) for axes in (batch, dot.free(place, a.ndim), contracted)]
        return np.transpose(a, [*batch, *dot.free(place, a.ndim), *contracted]).reshape(sizes)

    if not (x.size and y.size):
        return filled([mp.zero] * eqn.outvars[0].aval.size, eqn.outvars[0].aval.shape)
    x, y = arranged(x, 0), arranged(y, 1)
    flat = [mp.fdot(list(zip(r, c, strict=True))) for m, n in zip(x, y, strict=True) for r in m for c in n]
    return filled(flat, eqn.outvars[0].aval.shape)


# --- windows ---------------------------------------------------------------------------------------


def windows(
    shape: Any, window: Any, strides: Any, padding: Any, base_dilation: Any, window_dilation: Any
) -> np.ndarray:
    """The positions in an array that each window covers: (*outputs, entries of a window), −1 for padding."""
    axes = []
    for size, k, stride, (low, high), apart, spread in zip(
        shape, window, strides, padding, base_dilation, window_dilation, strict=True
    ):
        dilated = (size - 1) * apart + 1 if size else 0
        starts = np.arange(0, max(dilated + low + high - (k - 1) * spread, 0), stride) - low
        at = starts[:, None] + spread * np.arange(k)
        axes.append(np.where((at >= 0) & (at < dilated) & (at % apart == 0), at // apart, -1))
    y = np.zeros((), int)
    for size, at in zip(shape, axes, strict=True):
        outer = y[..., None, None]
        y = np.where((outer < 0) | (at < 0), -1, outer * size + at)
    n = len(shape)
    y = np.transpose(y, [*range(0, 2 * n, 2), *range(1, 2 * n, 2)])
    return y.reshape(*y.shape[:n], -1)


def windows_of(eqn: jx.Equation, shape: tuple[int, ...]) -> np.ndarray:
    return windows(shape, *jx.window(eqn))


def window_reduction(of_list: Callable[..., Any]) -> Callable[..., Any]:
    def rule(mp, eqn, x):
        flat = list(x.ravel())
        return by_row(lambda row: of_list(mp, [flat[i] for i in row if i >= 0]), windows_of(eqn, x.shape))

    return rule


def best_in_window(mp: Context, eqn: jx.Equation, x: Array) -> Array:
    """For each window the position of its first largest (or smallest) entry."""
    flat = list(x.ravel())
    better = larger if getattr(jx.parameters(eqn)["select_prim"], "name", "") == "ge" else smaller
    pick = lambda i, j: i if better(mp, flat[i], flat[j]) is flat[i] or flat[i] == flat[j] else j
    return by_row(
        lambda row: functools.reduce(pick, [i for i in row if i >= 0], next((i for i in row if i >= 0), -1)),
        windows_of(eqn, x.shape),
    )


def select_and_scatter_add(mp: Context, eqn: jx.Equation, source: Array, x: Array) -> Array:
    y = filled([mp.zero] * x.size, (x.size,))
    for at, v in zip(best_in_window(mp, eqn, x).ravel(), source.ravel(), strict=True):
        if at >= 0:
            y[at] += v
    return y.reshape(x.shape)


def select_and_gather_add(mp: Context, eqn: jx.Equation, source: Array, x: Array) -> Array:
    return taken([*source.ravel(), mp.zero], best_in_window(mp, eqn, x))


def convolution_rule(mp: Context, eqn: jx.Equation, x: Array, w: Array) -> Array:
    """yₙₒ(p) = Σ over input channels c of o's group and taps k of xₙ꜀(p·stride + k·dilation) w꜀ₒ(k)."""
    c = jx.convolution(eqn)
    x, w = np.transpose(x, c.lhs), np.transpose(w, c.rhs)
    at = windows(x.shape[2:], w.shape[2:], *c.windows)
    places, taps = at.reshape(-1, at.shape[-1]), int(np.prod(w.shape[2:]))
    x, w = x.reshape(*x.shape[:2], -1), w.reshape(*w.shape[:2], taps)
    groups, batches = c.groups, c.batch_groups
    images, channels = x.shape[0] // batches, w.shape[1]

    def entry(n, o, place):
        group = o * groups // len(w)
        image = x[n + images * (o * batches // len(w))]
        return mp.fdot(
            [
                (image[group * channels + channel, i], w[o, channel, k])
                for k, i in enumerate(place)
                if i >= 0
                for channel in range(channels)
            ]
        )

    y = filled(
        [entry(n, o, place) for n in range(images) for o in range(len(w)) for place in places.tolist()],
        (images, len(w), *at.shape[:-1]),
    )
    return np.transpose(y, np.argsort(c.out))


_largest, _smallest = extremum(larger, -1), extremum(smaller, 1)
_total, _product = (lambda mp, row: mp.fsum(row)), (lambda mp, row: mp.fprod(row))
REDUCTION_RULES: Rules = {
    "reduce_sum": reduction(_total),
    "reduce_prod": reduction(_product),
    "reduce_max": reduction(_largest),
    "reduce_min": reduction(_smallest),
    "cumsum": cumulative(lambda mp, x, y: x + y),
    "cumprod": cumulative(lambda mp, x, y: x * y),
    "cummax": cumulative(larger),
    "cummin": cumulative(smaller),
    "cumlogsumexp": cumulative(log_sum),
    "dot_general": dot_general,
    "reduce_window_sum": window_reduction(_total),
    "reduce_window_max": window_reduction(_largest),
    "reduce_window_min": window_reduction(_smallest),
    "select_and_scatter_add": select_and_scatter_add,
    "select_and_gather_add": select_and_gather_add,
    "conv_general_dilated": convolution_rule,
}
