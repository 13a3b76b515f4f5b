"""Pooling over windows of images (n, h, w, c).

A window's places are taken one after the other, each as one strided slice of the image, so that the
pooled image is a running maximum or sum of as many slices as a window has places. Backward, the
positions of the image are taken by their remainder modulo the stride: those with the same remainder
are in the same places of their windows, and gather what flows back from each, without a scatter.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxdl.ops.precision import like, widened
from jaxdl.ops.reductions import mean
from jaxdl.ops.windows import Padding, Pair, check_positive, padding_pairs, pair
from jaxdl.rule import op, saving


@op
def max_pool(
    x: Float[Array, "n h w c"], *, window: Pair, stride: Pair | None = None, padding: Padding = "VALID"
) -> Float[Array, "n a b c"]:
    """The maximum over windows: (n, h, w, c) → (n, a, b, c).

    window and stride are lengths or pairs (down, across); the stride is by default the window. padding
    is "VALID", "SAME" or pairs ((top, bottom), (left, right)), and never the maximum. By convention the
    first of equal maxima in a window, row by row, gets the whole cotangent. One byte a window is kept.
    """
    g = _geometry("max_pool", x, window, stride, padding)
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, *g.window, 1), (1, *g.stride, 1), ((0, 0), *g.pads, (0, 0)))


@max_pool.rule
def max_pool_rule(x, *, window, stride, padding):
    """x̄ at a position is Σ ȳ over the windows in which it is the first maximum

    Gain: one byte a window says where the maximum was, so that it is not looked for again, and nothing is scattered.
    """
    g = _geometry("max_pool", x, window, stride, padding)
    first, *others = g.slices(x, -jnp.inf)
    y, chosen = first, jnp.zeros(first.shape, jnp.uint8 if len(others) < 256 else jnp.int32)
    for place, there in enumerate(others, 1):
        chosen = jnp.where(there > y, jnp.asarray(place, chosen.dtype), chosen)
        y = jnp.maximum(y, there)

    def pullback(chosen, dy):
        wide = widened(dy)
        return (like(dy, g.gathered(lambda place: jnp.where(chosen == place, wide, 0))),)

    return y, saving(pullback, chosen)


@op
def avg_pool(
    x: Float[Array, "n h w c"], *, window: Pair, stride: Pair | None = None, padding: Padding = "VALID"
) -> Float[Array, "n a b c"]:
    """The mean over windows, (n, h, w, c) → (n, a, b, c), with padding counted as zeros; settings as max_pool's."""
    g = _geometry("avg_pool", x, window, stride, padding)
    total = lax.reduce_window(widened(x), 0.0, lax.add, (1, *g.window, 1), (1, *g.stride, 1), ((0, 0), *g.pads, (0, 0)))
    return like(x, total / g.places)


@avg_pool.rule
def avg_pool_rule(x, *, window, stride, padding):
    """x̄ at a position is Σ ȳ / (places of a window) over the windows that it is in

    Gain: slices of the image in place of windows.
    """
    g = _geometry("avg_pool", x, window, stride, padding)
    first, *others = g.slices(widened(x), 0.0)
    total = first
    for there in others:
        total = total + there

    def pullback(dy):
        share = widened(dy) / g.places
        return (like(dy, g.gathered(lambda place: share)),)

    return like(x, total / g.places), saving(pullback)


def global_avg_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n c"]:
    """The mean over each whole image: (n, h, w, c) → (n, c)."""
    if x.ndim != 4:
        raise ValueError(f"global_avg_pool: x must be (n, h, w, c), got shape {x.shape}")
    return mean(x, axis=(1, 2))


class _geometry:
    """Where windows lie: the slices of the image that are their places, and the way back."""

    def __init__(self, name, x, window, stride, padding):
        if x.ndim != 4:
            raise ValueError(f"{name}: x must be (n, h, w, c), got shape {x.shape}")
        self.window = pair(window)
        self.stride = pair(window if stride is None else stride)
        check_positive(name, window=self.window, stride=self.stride)
        self.size = x.shape[1:3]
        self.pads = padding_pairs(name, padding, self.size, self.window, self.stride)
        padded = [n + low + high for n, (low, high) in zip(self.size, self.pads, strict=True)]
        if any(p < w for p, w in zip(padded, self.window, strict=True)):
            raise ValueError(f"{name}: window {self.window} does not fit into {self.size} with padding {self.pads}")
        self.out = [(p - w) // s + 1 for p, w, s in zip(padded, self.window, self.stride, strict=True)]
        self.places = self.window[0] * self.window[1]

    def slices(self, x, fill):
        """For each place of a window, row by row, what is there in all windows: (n, a, b, c) each."""
        if any(map(any, self.pads)):
            x = jnp.pad(x, ((0, 0), *self.pads, (0, 0)), constant_values=fill)
        n, _, _, c = x.shape
        (a, b), (s, t) = self.out, self.stride
        for i in range(self.window[0]):
            for j in range(self.window[1]):
                yield lax.slice(x, (0, i, j, 0), (n, i + (a - 1) * s + 1, j + (b - 1) * t + 1, c), (1, s, t, 1))

    def gathered(self, flows_to):
        """The cotangent of the image, where `flows_to(place)` flows back to each place of all windows."""
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
        """What flows back to the positions that are (i, j) modulo the stride: (n, rows, columns, c)."""
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
