"""The layers that models are made of, on jaxdl's operations.

Initialisers are names in `jax.nn.initializers` ("he_normal", "glorot_uniform", …) or functions
(key, shape, dtype) → array.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxdl import ops
from jaxdl.nn.layer import Layer, function
from jaxdl.ops.windows import pair

relu = function(ops.relu)
sigmoid = function(ops.sigmoid)
tanh = function(ops.tanh)
step = function(ops.step)
elu = function(ops.elu)
selu = function(ops.selu)
softplus = function(ops.softplus)
silu = function(ops.silu)
gelu = function(ops.gelu)
gelu_tanh = function(ops.gelu_tanh)
softmax = function(ops.softmax)
log_softmax = function(ops.log_softmax)
flatten = function(lambda x: x.reshape(x.shape[0], -1))


def leaky_relu(slope: float = 0.01) -> Layer:
    return function(lambda x: ops.leaky_relu(x, slope=slope))


def reshape(*shape: int) -> Layer:
    """Gives each example of the batch a shape."""
    return function(lambda x: x.reshape(x.shape[0], *shape))


def dense(width: int, *, w_init: str | Callable = "he_normal", b_init: str | Callable = "zeros") -> Layer:
    """y = x w + b: (n, i) → (n, width). Parameters: w (i, width), b (width,)."""

    def init(key, shape):
        if len(shape) != 1:
            raise ValueError(f"dense: inputs must be vectors, got shape {shape} for each; put flatten before it")
        return {
            "w": initializer(w_init)(key, (shape[0], width), jnp.float32),
            "b": initializer(b_init)(key, (width,), jnp.float32),
        }

    def apply(params, x, *, key=None):
        del key
        return ops.dense(x, params["w"], params["b"])

    return Layer(init, apply)


def conv(
    channels: int,
    size: int | tuple[int, int],
    *,
    stride=1,
    padding="VALID",
    dilation=1,
    groups: int = 1,
    w_init: str | Callable = "he_normal",
    b_init: str | Callable = "zeros",
) -> Layer:
    """y = x ⋆ w + b: (n, h, w, c) → (n, a, b, channels); settings as in `jaxdl.ops.conv2d`.

    Parameters: w (size, size, c / groups, channels), b (channels,).
    """
    settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def init(key, shape):
        c = _channels("conv", shape)
        if c % groups:
            raise ValueError(f"conv: the channels must fill {groups} groups, got {c} of them in {shape}")
        return {
            "w": initializer(w_init)(key, (*pair(size), c // groups, channels), jnp.float32),
            "b": initializer(b_init)(key, (channels,), jnp.float32),
        }

    def apply(params, x, *, key=None):
        del key
        return ops.conv2d(x, params["w"], **settings) + params["b"][None, None, None]

    return Layer(init, apply)


def conv_transpose(
    channels: int,
    size: int | tuple[int, int],
    *,
    stride=1,
    padding="VALID",
    w_init: str | Callable = "he_normal",
    b_init: str | Callable = "zeros",
) -> Layer:
    """The transpose of a convolution, and b: (n, a, b, c) → (n, h, w, channels); settings as in
    `jaxdl.ops.conv_transpose2d`. Parameters: w (size, size, channels, c), b (channels,).
    """

    def init(key, shape):
        c = _channels("conv_transpose", shape)
        return {
            # Initialisers take the last axis for the outputs, which here are the last but one.
            "w": initializer(w_init)(key, (*pair(size), c, channels), jnp.float32).swapaxes(2, 3),
            "b": initializer(b_init)(key, (channels,), jnp.float32),
        }

    def apply(params, x, *, key=None):
        del key
        return ops.conv_transpose2d(x, params["w"], stride=stride, padding=padding) + params["b"][None, None, None]

    return Layer(init, apply)


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


def layer_norm(*, epsilon: float = 1e-6) -> Layer:
    """Normalises over the last axis. Parameters: scale and bias, of its length."""

    def init(key, shape):
        del key
        return {"scale": jnp.ones(shape[-1]), "bias": jnp.zeros(shape[-1])}

    def apply(params, x, *, key=None):
        del key
        return ops.layer_norm(x, params["scale"], params["bias"], epsilon=epsilon)

    return Layer(init, apply)


def rms_norm(*, epsilon: float = 1e-6) -> Layer:
    """Divides by the root mean square over the last axis. Parameters: scale, of its length."""

    def init(key, shape):
        del key
        return {"scale": jnp.ones(shape[-1])}

    def apply(params, x, *, key=None):
        del key
        return ops.rms_norm(x, params["scale"], epsilon=epsilon)

    return Layer(init, apply)


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


def attention(heads: int, *, kv_heads: int | None = None, causal: bool = False) -> Layer:
    """Self-attention: (n, length, d) → (n, length, d), with d/heads numbers a head.

    kv_heads, by default as many as heads, are those of keys and values. Parameters: q (d, d), k and v
    (d, kv_heads·d/heads), out (d, d).
    """
    kv_heads = heads if kv_heads is None else kv_heads

    def init(key, shape):
        if len(shape) != 2 or shape[-1] % heads or heads % kv_heads:
            raise ValueError(
                f"attention: inputs must be (length, d) each, with {heads} heads dividing d and {kv_heads} heads "
                f"of keys dividing {heads}, got shape {shape}"
            )
        d = shape[-1]
        widths = {"q": d, "k": d // heads * kv_heads, "v": d // heads * kv_heads, "out": d}
        make = jax.nn.initializers.glorot_uniform()
        keys = jax.random.split(key, len(widths))
        return {name: make(k, (d, width), jnp.float32) for (name, width), k in zip(widths.items(), keys, strict=True)}

    def apply(params, x, *, key=None):
        del key
        width = x.shape[-1] // heads
        q, k, v = (ops.matmul(x, params[n]).reshape(*x.shape[:2], -1, width) for n in ("q", "k", "v"))
        return ops.matmul(ops.attention(q, k, v, causal=causal).reshape(x.shape), params["out"])

    return Layer(init, apply)


def gelu_feed_forward(width: int) -> Layer:
    """gelu(x w_in + b_in) w_out + b_out: (n, …, d) → (n, …, d) by way of width, of which nothing is kept."""

    def init(key, shape):
        d, (first, second) = shape[-1], jax.random.split(key)
        make = jax.nn.initializers.he_normal()
        return {
            "w_in": make(first, (d, width), jnp.float32),
            "b_in": jnp.zeros(width),
            "w_out": make(second, (width, d), jnp.float32),
            "b_out": jnp.zeros(d),
        }

    def apply(params, x, *, key=None):
        del key
        return ops.gelu_feed_forward(x, params["w_in"], params["b_in"], params["w_out"], params["b_out"])

    return Layer(init, apply)


def swiglu_feed_forward(width: int) -> Layer:
    """(silu(x w_gate) · x w_up) w_down: (n, …, d) → (n, …, d) by way of width, of which nothing is kept."""

    def init(key, shape):
        d, keys = shape[-1], jax.random.split(key, 3)
        shapes = {"w_gate": (d, width), "w_up": (d, width), "w_down": (width, d)}
        make = jax.nn.initializers.he_normal()
        return {name: make(k, s, jnp.float32) for (name, s), k in zip(shapes.items(), keys, strict=True)}

    def apply(params, x, *, key=None):
        del key
        return ops.swiglu_feed_forward(x, params["w_gate"], params["w_up"], params["w_down"])

    return Layer(init, apply)


def dropout(rate: float) -> Layer:
    """Drops entries at random and scales up the rest, when applied with a key; the identity without."""
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: rate must be in [0, 1), got {rate}")

    def apply(params, x, *, key=None):
        del params
        return x if key is None or rate == 0 else ops.dropout(x, key, rate=rate)

    return Layer(lambda key, shape: (), apply)


def embedding(size: int, width: int, *, init: str | Callable = "normal") -> Layer:
    """Looks up a row for each index: integers (n, …) → (n, …, width). Parameters: table (size, width)."""

    def make(key, shape):
        del shape
        return {"table": initializer(init)(key, (size, width), jnp.float32)}

    def apply(params, x, *, key=None):
        del key
        return ops.embedding(params["table"], x)

    return Layer(make, apply)


def initializer(choice: str | Callable) -> Callable:
    """The initialiser (key, shape, dtype) → array of a name in `jax.nn.initializers`, or the function given."""
    if callable(choice):
        return choice
    found = getattr(jax.nn.initializers, choice, None)
    if found is None:
        known = sorted(n for n in dir(jax.nn.initializers) if not n.startswith("_"))
        raise ValueError(f"unknown initialiser {choice!r}; jax.nn.initializers has {', '.join(known)}")
    # Most names are functions that make an initialiser; zeros and ones are initialisers themselves.
    return found if choice in ("zeros", "ones") else found()
