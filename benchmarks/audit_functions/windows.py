"""Faults in rules of convolutions and pooling: padding, stride, flips, ties."""

import jax.numpy as jnp
from jax import lax

from benchmarks.audit_functions.fault import Rule, by_jvp, by_op, by_vjp, normal

LAYOUTS = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}


def convolution(stride=1, low=0, high=0):
    """y = x * w over the inner axes, padded with `low` zeros before and `high` after."""

    def conv(x, w):
        n = x.ndim - 2
        return lax.conv_general_dilated(x, w, (stride,) * n, [(low, high)] * n, dimension_numbers=LAYOUTS[n])

    return conv


def flipped(w):
    return jnp.flip(w, range(w.ndim - 2))


def convolution_pullback(stride=1, low=0, high=0, flip=flipped, shift=0, front=0, spread=True):
    """x̄ = (ȳ dilated by the stride) * flipped w,  w̄ = x * (ȳ dilated by the stride), summed over the batch.

    Paddings give x̄ and w̄ the lengths of x and w. Settings make the rule wrong: another flip, a shift, zeros of the
    remainder in front, ȳ not dilated in w̄.
    """

    def pullback(x, w, y, dy):
        n = x.ndim - 2
        sizes = list(zip(x.shape[1:-1], w.shape[:n], [stride * (m - 1) + 1 for m in dy.shape[1:-1]], strict=True))
        before = [(k - 1 - low + shift + front * ((i + k - 1 - m) % 2)) for i, k, m in sizes]
        around = [(b, i + k - 1 - m - b) for b, (i, k, m) in zip(before, sizes, strict=True)]
        dx = lax.conv_general_dilated(
            dy, jnp.swapaxes(flip(w), -1, -2), (1,) * n, around, (stride,) * n, dimension_numbers=LAYOUTS[n]
        )
        apart = stride if spread else 1
        spans = [apart * (m - 1) + 1 for m in dy.shape[1:-1]]
        around = [(low, k - 1 + m - i - low) for m, (i, k, _) in zip(spans, sizes, strict=True)]
        columns = jnp.moveaxis(dy, 0, -2)
        dw = lax.conv_general_dilated(
            jnp.moveaxis(jnp.moveaxis(x, 0, -1), -2, 0),
            columns,
            (1,) * n,
            around,
            None,
            (apart,) * n,
            dimension_numbers=LAYOUTS[n],
        )
        return dx, jnp.moveaxis(dw, 0, -2)

    return pullback


def tiles(x):
    """(n, 2h, 2w, c) → (n, h, w, c, 4)"""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(n, h // 2, w // 2, c, 4)


def untiled(t):
    n, h, w, c, _ = t.shape
    return t.reshape(n, h, w, c, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(n, 2 * h, 2 * w, c)


def max_pool(x):
    return tiles(x).max(-1)


def avg_pool(x):
    return tiles(x).mean(-1)


def max_pool_pullback(x, y, dy):
    """Equal largest entries share the cotangent equally."""
    mask = tiles(x) == y[..., None]
    share = dy / mask.sum(-1).astype(dy.dtype)
    return untiled(jnp.where(mask, share[..., None], 0))


def max_pool_to_each(x, y, dy):
    return untiled(jnp.where(tiles(x) == y[..., None], dy[..., None], 0))


def max_pool_transposed(x, y, dy):
    mask = tiles(jnp.swapaxes(x, 1, 2)) == jnp.swapaxes(y, 1, 2)[..., None]
    return untiled(jnp.where(mask, dy[..., None], 0))


def to_each(dy):
    return untiled(jnp.broadcast_to(dy[..., None], (*dy.shape, 4)))


def neighbours(x):
    """x[i−1] + x[i] + x[i+1], zeros outside"""
    wide = jnp.pad(x, 1)
    return wide[:-2] + wide[1:-1] + wide[2:]


def counts(x):
    """The number of neighbours inside: 2, 3, …, 3, 2"""
    return neighbours(jnp.ones_like(x))


def moving_average(x):
    return neighbours(x) / counts(x)


def differences(x):
    """x[i+1] − x[i]"""
    return x[1:] - x[:-1]


def delayed(x):
    """0, x[0], x[1], …, without the last"""
    return jnp.pad(x, (1, 0))[:-1]


IMAGES = normal((2, 6, 6, 2), (3, 3, 2, 2))
EVEN = normal((2, 5, 5, 2), (2, 2, 2, 3))
SIGNAL = normal((2, 7, 2), (3, 2, 2))
HALVED = {"stride": 2, "low": 1, "high": 1}
SAME = {"low": 1, "high": 1}
AFTER = {"low": 0, "high": 1}

CONV1D = Rule(by_op, convolution(), convolution_pullback(), SIGNAL)
CONV1D_STRIDE = Rule(by_vjp, convolution(stride=2), convolution_pullback(stride=2), SIGNAL)
CONV2D = Rule(by_vjp, convolution(**SAME), convolution_pullback(**SAME), IMAGES)
CONV2D_EVEN = Rule(by_op, convolution(**AFTER), convolution_pullback(**AFTER), EVEN)
CONV2D_STRIDE = Rule(by_vjp, convolution(**HALVED), convolution_pullback(**HALVED), IMAGES)
CONV2D_STRIDE_OP = Rule(by_op, convolution(**HALVED), convolution_pullback(**HALVED), IMAGES)
MAX_POOL = Rule(by_vjp, max_pool, max_pool_pullback, normal((2, 4, 4, 2)))
AVG_POOL = Rule(by_op, avg_pool, lambda x, y, dy: to_each(dy) / 4, normal((2, 4, 4, 2)))
AVERAGE = Rule(by_vjp, moving_average, lambda x, y, dy: neighbours(dy / counts(x)), normal((6,)))
AVERAGE_JVP = Rule(by_jvp, moving_average, lambda x, y, x_dot: neighbours(x_dot) / counts(x), normal((6,)))
DIFFERENCES = Rule(by_op, differences, lambda x, y, dy: jnp.pad(dy, (1, 0)) - jnp.pad(dy, (0, 1)), normal((6,)))
DELAYED = Rule(by_vjp, delayed, lambda x, y, dy: jnp.pad(dy, (0, 1))[1:], normal((6,)))

FAULTS = (
    CONV1D.fault("1d, w not flipped", "missing flip", convolution_pullback(flip=lambda w: w)),
    CONV2D.fault("2d, w not flipped", "missing flip", convolution_pullback(**SAME, flip=lambda w: w)),
    CONV2D.fault(
        "2d, w flipped along one axis", "missing flip", convolution_pullback(**SAME, flip=lambda w: jnp.flip(w, 0))
    ),
    CONV2D.fault(
        "2d, w transposed in place of flipped",
        "transpose",
        convolution_pullback(**SAME, flip=lambda w: jnp.swapaxes(w, 0, 1)),
    ),
    CONV1D.fault("1d, x̄ a place too far", "off by one in padding", convolution_pullback(shift=-1)),
    CONV2D_EVEN.fault(
        "2d, even kernel, padded as before", "off by one in padding", convolution_pullback(**AFTER, shift=-1)
    ),
    CONV1D_STRIDE.fault(
        "1d, stride 2, ȳ not spread in w̄", "wrong only for stride > 1", convolution_pullback(stride=2, spread=False)
    ),
    CONV2D_STRIDE.fault(
        "2d, stride 2, ȳ not spread in w̄", "wrong only for stride > 1", convolution_pullback(**HALVED, spread=False)
    ),
    CONV2D_STRIDE_OP.fault(
        "2d, stride 2, the remainder in front", "wrong only for stride > 1", convolution_pullback(**HALVED, front=1)
    ),
    MAX_POOL.fault("all of it to each", "wrong at ties", max_pool_to_each),
    MAX_POOL.fault("height and width swapped", "transpose", max_pool_transposed),
    AVG_POOL.fault("1/4 forgotten", "missing mean's 1/n", lambda x, y, dy: to_each(dy)),
    AVERAGE.fault("divided after summing", "stale or swapped residual", lambda x, y, dy: neighbours(dy) / counts(x)),
    AVERAGE_JVP.fault("3 at the ends", "off by one in padding", lambda x, y, x_dot: neighbours(x_dot) / 3),
    DIFFERENCES.fault("signs swapped", "sign", lambda x, y, dy: jnp.pad(dy, (0, 1)) - jnp.pad(dy, (1, 0))),
    DELAYED.fault("delayed once more", "missing flip", lambda x, y, dy: delayed(dy)),
)
