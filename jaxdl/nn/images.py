"""Layers of images (*n, h, w, c): convolutions, pooling, normalisation by channel."""

from jaxdl import ops
from jaxdl.nn.layer import Layer, aligned, function
from jaxdl.nn.layers import Initializer, initializer, ones_and_zeros, weights
from jaxdl.ops.windows import Padding, Pair, pair


def conv(
    channels: int,
    size: Pair,
    *,
    stride: Pair = 1,
    padding: Padding = "VALID",
    dilation: Pair = 1,
    groups: int = 1,
    w_init: str | Initializer = "he_normal",
    b_init: str | Initializer | None = "zeros",
) -> Layer:
    """A convolution, y = x ⋆ w + b; see `jaxdl.ops.conv2d`.

    Args:
        channels: The number of output channels.
        size: The size of the kernel, a number or (height, width).
        stride: The step of the windows, a number or (down, across).
        padding: "VALID", "SAME" or ((top, bottom), (left, right)).
        dilation: The distance of the pixels that the kernel sees, a number or (down, across).
        groups: The number of groups of channels; each output channel sees one of them.
        w_init: The initialiser of w.
        b_init: The initialiser of b; None for a layer without b.

    Returns:
        A layer (*n, h, w, c) → (*n, a, b, channels). Parameters: w (height, width, c/groups, channels), b (channels,).

    Raises:
        ValueError: By `init`, for inputs that are not images, or whose channels do not divide into the groups.

    Examples:
        >>> params = conv(16, 5).init(jax.random.key(0), (28, 28, 1))
        >>> params["w"].shape, params["b"].shape
        ((5, 5, 1, 16), (16,))
    """

    def init(key, shape):
        c = _channels("conv", shape)
        if c % groups:
            raise ValueError(f"conv: the channels must fill {groups} groups, got {c} of them in {shape}")
        return weights(key, (*pair(size), c // groups, channels), channels, w_init, b_init)

    def apply(params, x, *, key=None):
        del key
        y = ops.conv2d(x, params["w"], stride=stride, padding=padding, dilation=dilation, groups=groups)
        return _plus_bias(y, params)

    return Layer(init, apply)


def conv_transpose(
    channels: int,
    size: Pair,
    *,
    stride: Pair = 1,
    padding: Padding = "VALID",
    w_init: str | Initializer = "he_normal",
    b_init: str | Initializer | None = "zeros",
) -> Layer:
    """A transposed convolution and a bias; see `jaxdl.ops.conv_transpose2d`.

    Args:
        channels: The number of output channels.
        size: The size of the kernel, a number or (height, width).
        stride: The distance of the kernel's copies in the output, a number or (down, across).
        padding: What is cut off the output: "VALID", "SAME" or ((top, bottom), (left, right)).
        w_init: The initialiser of w.
        b_init: The initialiser of b; None for a layer without b.

    Returns:
        A layer (*n, a, b, c) → (*n, h, w, channels). Parameters: w (height, width, channels, c), b (channels,).

    Raises:
        ValueError: By `init`, for inputs that are not images.

    Examples:
        >>> layer = conv_transpose(3, 4, stride=2)
        >>> layer.apply(layer.init(jax.random.key(0), (8, 8, 16)), jnp.ones((5, 8, 8, 16))).shape
        (5, 18, 18, 3)
    """

    def init(key, shape):
        c = _channels("conv_transpose", shape)
        # Initialisers take the last axis for the outputs, which here is the last but one.
        swapped = lambda key, shape, dtype: initializer(w_init)(key, shape, dtype).swapaxes(2, 3)
        return weights(key, (*pair(size), c, channels), channels, swapped, b_init)

    def apply(params, x, *, key=None):
        del key
        return _plus_bias(ops.conv_transpose2d(x, params["w"], stride=stride, padding=padding), params)

    return Layer(init, apply)


def _plus_bias(y, params):
    return y + aligned(params["b"], y) if "b" in params else y


def _channels(name, shape):
    if len(shape) != 3:
        raise ValueError(f"{name}: inputs must be images (height, width, channels), got shape {shape} for each")
    return shape[-1]


def max_pool(window: Pair, stride: Pair | None = None, padding: Padding = "VALID") -> Layer:
    """The maximum over windows; see `jaxdl.ops.max_pool`.

    Args:
        window: The size of a window, a number or (height, width).
        stride: The step of the windows; by default the size of a window.
        padding: "VALID", "SAME" or ((top, bottom), (left, right)).

    Returns:
        A layer (*n, h, w, c) → (*n, a, b, c) without parameters.

    Examples:
        >>> max_pool(2).apply((), jnp.ones((5, 8, 8, 3))).shape
        (5, 4, 4, 3)
    """
    return function(lambda x: ops.max_pool(x, window=window, stride=stride, padding=padding))


def avg_pool(window: Pair, stride: Pair | None = None, padding: Padding = "VALID") -> Layer:
    """The mean over windows, with padding counted as zeros; see `jaxdl.ops.avg_pool`.

    Args:
        window: The size of a window, a number or (height, width).
        stride: The step of the windows; by default the size of a window.
        padding: "VALID", "SAME" or ((top, bottom), (left, right)).

    Returns:
        A layer (*n, h, w, c) → (*n, a, b, c) without parameters.

    Examples:
        >>> avg_pool(2).apply((), jnp.ones((5, 8, 8, 3))).shape
        (5, 4, 4, 3)
    """
    return function(lambda x: ops.avg_pool(x, window=window, stride=stride, padding=padding))


global_avg_pool: Layer = function(ops.global_avg_pool)  # (*n, h, w, c) → (*n, c)


def batch_norm(*, epsilon: float = 1e-5) -> Layer:
    """Normalises each channel over the batch; see `jaxdl.ops.batch_norm`.

    A pure function has no running averages: `jaxdl.ops.batch_norm` returns the statistics of a batch, and
    `jaxdl.ops.batch_norm_inference` normalises with given ones.

    Args:
        epsilon: Added to the variance.

    Returns:
        A layer (n, …, c) → (n, …, c). Parameters: scale and bias, (c,) each.

    Examples:
        >>> layer = batch_norm()
        >>> layer.apply(layer.init(jax.random.key(0), (8, 8, 3)), jnp.ones((5, 8, 8, 3))).shape
        (5, 8, 8, 3)
    """

    def apply(params, x, *, key=None):
        del key
        return ops.batch_norm(x, params["scale"], params["bias"], epsilon=epsilon)[0]

    return Layer(ones_and_zeros, apply)


def local_response_norm(*, size: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75) -> Layer:
    """Local response normalisation over channels; see `jaxdl.ops.local_response_norm`.

    Args:
        size: The number of neighbouring channels.
        k: The constant in (k + α Σ x²)^−β.
        alpha: α. PyTorch divides it by the size.
        beta: β.

    Returns:
        A layer (n, …, c) → (n, …, c) without parameters.

    Examples:
        >>> local_response_norm().apply((), jnp.ones((5, 8, 8, 16))).shape
        (5, 8, 8, 16)
    """
    return function(lambda x: ops.local_response_norm(x, size=size, k=k, alpha=alpha, beta=beta))
