"""Layers of images (n, h, w, c): convolutions, pooling, normalisation by channel."""

from collections.abc import Callable

import jax.numpy as jnp

from jaxdl import ops
from jaxdl.nn.layer import Layer, function
from jaxdl.nn.layers import initializer, weights
from jaxdl.ops.windows import pair


def conv(
    channels: int,
    size: int | tuple[int, int],
    *,
    stride=1,
    padding="VALID",
    dilation=1,
    groups: int = 1,
    w_init: str | Callable = "he_normal",
    b_init: str | Callable | None = "zeros",
) -> Layer:
    """y = x ⋆ w + b: (n, h, w, c) → (n, a, b, channels); settings as in `jaxdl.ops.conv2d`.

    Parameters: w (size, size, c / groups, channels), b (channels,), without b where b_init is None.
    """
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def init(key, shape):
        c = _channels("conv", shape)
        if c % groups:
            raise ValueError(f"conv: the channels must fill {groups} groups, got {c} of them in {shape}")
        return weights(key, (*pair(size), c // groups, channels), channels, w_init, b_init)

    def apply(params, x, *, key=None):
        del key
        return _plus_bias(ops.conv2d(x, params["w"], **settings), params)

    return Layer(init, apply)


def conv_transpose(
    channels: int,
    size: int | tuple[int, int],
    *,
    stride=1,
    padding="VALID",
    w_init: str | Callable = "he_normal",
    b_init: str | Callable | None = "zeros",
) -> Layer:
    """The transpose of a convolution, and b: (n, a, b, c) → (n, h, w, channels); settings as in
    `jaxdl.ops.conv_transpose2d`. Parameters: w (size, size, channels, c), b (channels,).
    """

    def init(key, shape):
        c = _channels("conv_transpose", shape)
        # Initialisers take the last axis for the outputs, which here are the last but one.
        swapped = lambda key, shape, dtype: initializer(w_init)(key, shape, dtype).swapaxes(2, 3)
        return weights(key, (*pair(size), c, channels), channels, swapped, b_init)

    def apply(params, x, *, key=None):
        del key
        return _plus_bias(ops.conv_transpose2d(x, params["w"], stride=stride, padding=padding), params)

    return Layer(init, apply)


def _plus_bias(y, params):
    return y + params["b"][None, None, None] if "b" in params else y


def _channels(name, shape):
    if len(shape) != 3:
        raise ValueError(f"{name}: inputs must be images (height, width, channels), got shape {shape} for each")
    return shape[-1]


def max_pool(window, stride=None, padding="VALID") -> Layer:
    """The maximum over windows, (n, h, w, c) → (n, a, b, c); settings as in `jaxdl.ops.max_pool`."""
    return function(lambda x: ops.max_pool(x, window=window, stride=stride, padding=padding))


def avg_pool(window, stride=None, padding="VALID") -> Layer:
    """The mean over windows, (n, h, w, c) → (n, a, b, c); settings as in `jaxdl.ops.avg_pool`."""
    return function(lambda x: ops.avg_pool(x, window=window, stride=stride, padding=padding))


global_avg_pool = function(ops.global_avg_pool)


def batch_norm(*, epsilon: float = 1e-5) -> Layer:
    """Normalises each channel over the batch at hand. Parameters: scale and bias, of the last axis' length.

    A pure function has no running averages: `jaxdl.ops.batch_norm` gives the statistics of a batch, and
    `jaxdl.ops.batch_norm_with` normalises with given ones.
    """

    def init(key, shape):
        del key
        return {"scale": jnp.ones(shape[-1]), "bias": jnp.zeros(shape[-1])}

    def apply(params, x, *, key=None):
        del key
        return ops.batch_norm(x, params["scale"], params["bias"], epsilon=epsilon)[0]

    return Layer(init, apply)


def local_response_norm(*, size: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75) -> Layer:
    """Divides by what neighbouring channels show; settings as in `jaxdl.ops.local_response_norm`."""
    return function(lambda x: ops.local_response_norm(x, size=size, k=k, alpha=alpha, beta=beta))
