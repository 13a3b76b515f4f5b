"""Pooling over windows of images (*n, h, w, c).

Forward: for each place in a window, one strided slice of the image has that place of all windows. The pooled image is
the maximum or sum of these slices.

Backward: pixels with the same remainder modulo the stride are at the same places in their windows. Each of these groups
of pixels adds up the cotangents of its places, so that no scatter is needed.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxdl.ops.precision import like, upcast
from jaxdl.ops.reductions import mean
from jaxdl.ops.windows import Padding, Pair, as_batch, check_positive, over_images, padding_pairs, pair
from jaxdl.rule import op, saving


@op
def max_pool(
    x: Float[Array, "*n h w c"], *, window: Pair, stride: Pair | None = None, padding: Padding = "VALID"
) -> Float[Array, "*n a b c"]:
    """The maximum over windows. By convention the first of equal maxima, row by row, gets the whole cotangent.

    Args:
        x: Images (*n, h, w, c).
        window: The size of a window, a number or (height, width).
        stride: The step of the windows, a number or (down, across); by default the size of a window.
        padding: "VALID", "SAME" or ((top, bottom), (left, right)); a padded pixel is never the maximum.

    Returns:
        Images (*n, a, b, c).

    Raises:
        ValueError: x has fewer than three axes, or the window does not fit into it, or a setting is not valid.

    Examples:
        >>> max_pool(jnp.ones((8, 28, 28, 3)), window=2).shape
        (8, 14, 14, 3)
    """
    g = _Geometry("max_pool", x, window, stride, padding)
    return over_images(lambda x: g.reduced(x, -jnp.inf, lax.max), x)


@max_pool.rule
def max_pool_rule(x, *, window, stride, padding):
    """x̄ at a position is Σ ȳ over the windows in which it is the first maximum

    Gain: stores the position of each maximum in one byte, and needs no scatter.
    """
    g = _Geometry("max_pool", x, window, stride, padding)
    first, *others = g.slices(as_batch(x), -jnp.inf)
    y, chosen = first, jnp.zeros(first.shape, jnp.uint8 if len(others) < 256 else jnp.int32)
    for place, there in enumerate(others, 1):
        chosen = jnp.where(there > y, jnp.asarray(place, chosen.dtype), chosen)
        y = jnp.maximum(y, there)

    def pullback(chosen, dy):
        routed = lambda wide: g.gathered(lambda place: jnp.where(chosen == place, wide, 0))
        return (like(dy, over_images(routed, upcast(dy))),)

    return y.reshape(*x.shape[:-3], *y.shape[1:]), saving(pullback, chosen)


@op
def avg_pool(
    x: Float[Array, "*n h w c"], *, window: Pair, stride: Pair | None = None, padding: Padding = "VALID"
) -> Float[Array, "*n a b c"]:
    """The mean over windows, with padding counted as zeros.

    Args:
        x: Images (*n, h, w, c).
        window: The size of a window, a number or (height, width).
        stride: The step of the windows, a number or (down, across); by default the size of a window.
        padding: "VALID", "SAME" or ((top, bottom), (left, right)).

    Returns:
        Images (*n, a, b, c).

    Raises:
        ValueError: x has fewer than three axes, or the window does not fit into it, or a setting is not valid.

    Examples:
        >>> avg_pool(jnp.ones((8, 28, 28, 3)), window=2).shape
        (8, 14, 14, 3)
    """
    g = _Geometry("avg_pool", x, window, stride, padding)
    total = over_images(lambda x: g.reduced(x, 0.0, lax.add), upcast(x))
    return like(x, total / g.places)


@avg_pool.rule
def avg_pool_rule(x, *, window, stride, padding):
    """x̄ at a position is Σ ȳ / (places of a window) over the windows that contain it

    Gain: adds slices of the image instead of windows.
    """
    g = _Geometry("avg_pool", x, window, stride, padding)
    total = over_images(lambda x: functools.reduce(jnp.add, g.slices(x, 0.0)), upcast(x))

    def pullback(dy):
        share = upcast(dy) / g.places
        return (like(dy, over_images(lambda share: g.gathered(lambda place: share), share)),)

    return like(x, total / g.places), saving(pullback)


def global_avg_pool(x: Float[Array, "*n h w c"]) -> Float[Array, "*n c"]:
    """The mean over each whole image.

    Args:
        x: Images (*n, h, w, c).

    Returns:
        The means of the channels, (*n, c).

    Raises:
        ValueError: x has fewer than three axes.

    Examples:
        >>> global_avg_pool(jnp.ones((8, 7, 7, 3))).shape
        (8, 3)
    """
    if x.ndim < 3:
        raise ValueError(f"global_avg_pool: x must be (*n, h, w, c), got shape {x.shape}")
    return mean(x, axis=(x.ndim - 3, x.ndim - 2))


class _Geometry:
    """The positions of windows: the slices of the image for each of their places, and the transpose of slicing."""

    def __init__(self, name, x, window, stride, padding):
        if x.ndim < 3:
            raise ValueError(f"{name}: x must be (*n, h, w, c), got shape {x.shape}")
        self.window = pair(window)
        self.stride = pair(window if stride is None else stride)
        check_positive(name, window=self.window, stride=self.stride)
        self.size = x.shape[-3:-1]
        self.pads = padding_pairs(name, padding, self.size, self.window, self.stride)
        padded = [n + low + high for n, (low, high) in zip(self.size, self.pads, strict=True)]
        if any(p < w for p, w in zip(padded, self.window, strict=True)):
            raise ValueError(f"{name}: window {self.window} does not fit into {self.size} with padding {self.pads}")
        self.out = [(p - w) // s + 1 for p, w, s in zip(padded, self.window, self.stride, strict=True)]
        self.places = self.window[0] * self.window[1]

    def reduced(self, x, start, f):
        """f over the pixels of each window."""
        windows = (1, *self.window, 1), (1, *self.stride, 1), ((0, 0), *self.pads, (0, 0))
        return lax.reduce_window(x, start, f, *windows)

    def slices(self, x, fill):
        """For each place of a window, row by row, the pixels there of all windows, (n, a, b, c)."""
        if any(map(any, self.pads)):
            x = jnp.pad(x, ((0, 0), *self.pads, (0, 0)), constant_values=fill)
        n, _, _, c = x.shape
        (a, b), (s, t) = self.out, self.stride
        for i in range(self.window[0]):
            for j in range(self.window[1]):
                yield lax.slice(x, (0, i, j, 0), (n, i + (a - 1) * s + 1, j + (b - 1) * t + 1, c), (1, s, t, 1))

    def gathered(self, flows_to):
        """The cotangent of the image, from those of each place of all windows, `flows_to(place)`."""
        (s, t), (rows, columns) = self.stride, self._blocks()
        by_remainder = [[self._with_remainder(flows_to, i, j) for j in range(t)] for i in range(s)]
        y = jnp.stack([jnp.stack(row, 3) for row in by_remainder], 2)
        n, c = y.shape[0], y.shape[-1]
        y = y.reshape(n, rows * s, columns * t, c)
        (top, _), (left, _) = self.pads
        return y[:, top : top + self.size[0], left : left + self.size[1]]

    def _blocks(self):
        padded = [n + low for n, (low, _) in zip(self.size, self.pads, strict=True)]
        return [max(-(-p // s), a + (w - 1) // s) for p, s, a, w in
                zip(padded, self.stride, self.out, self.window, strict=True)]  # fmt: skip

    def _with_remainder(self, flows_to, i, j):
        """The cotangents of the pixels whose positions are (i, j) modulo the stride: (n, rows, columns, c)."""
        rows, columns = self._blocks()
        total = None
        for k in range(i, self.window[0], self.stride[0]):
            for m in range(j, self.window[1], self.stride[1]):
                d = flows_to(k * self.window[1] + m)
                down, across = k // self.stride[0], m // self.stride[1]
                low_high = ((0, 0), (down, rows - self.out[0] - down), (across, columns - self.out[1] - across), (0, 0))
                d = jnp.pad(d, low_high)
                total = d if total is None else total + d
        if total is None:  # no window has a place there: the stride is larger than the window
            like_one = jax.eval_shape(flows_to, 0)
            return jnp.zeros((like_one.shape[0], rows, columns, like_one.shape[-1]), like_one.dtype)
        return total
