"""The layers that models are made of, on jaxdl's operations.

Initialisers are names in `jax.nn.initializers` ("he_normal", "glorot_uniform", …) or functions
(key, shape, dtype) → array.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxdl import ops
from jaxdl.nn.layer import Layer, function

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
quick_gelu = function(ops.quick_gelu)
softmax = function(ops.softmax)
log_softmax = function(ops.log_softmax)
flatten = function(lambda x: x.reshape(x.shape[0], -1))


def leaky_relu(slope: float = 0.01) -> Layer:
    return function(lambda x: ops.leaky_relu(x, slope=slope))


def reshape(*shape: int) -> Layer:
    """Gives each example of the batch a shape."""
    return function(lambda x: x.reshape(x.shape[0], *shape))


def dense(width: int, *, w_init: str | Callable = "he_normal", b_init: str | Callable | None = "zeros") -> Layer:
    """y = x w + b: (n, i) → (n, width), or a sequence of them. Parameters: w (i, width), b (width,).

    Without b where b_init is None.
    """

    def init(key, shape):
        if len(shape) not in (1, 2):
            raise ValueError(
                f"dense: inputs must be vectors or sequences of them, got shape {shape} for each; put flatten before it"
            )
        return weights(key, (shape[-1], width), width, w_init, b_init)

    def apply(params, x, *, key=None):
        del key
        return ops.dense(x, params["w"], params["b"]) if "b" in params else ops.matmul(x, params["w"])

    return Layer(init, apply)


def weights(key, shape, width, w_init, b_init) -> dict[str, jax.Array]:
    """w of a shape, and b of a width unless b_init is None."""
    params = {"w": initializer(w_init)(key, shape, jnp.float32)}
    return params if b_init is None else params | {"b": initializer(b_init)(key, (width,), jnp.float32)}


def gaussian_noise(std: float) -> Layer:
    """x + ε with ε normal of standard deviation std, when applied with a key; the identity without."""

    def apply(params, x, *, key=None):
        del params
        return x if key is None else x + std * jax.random.normal(key, x.shape, x.dtype)

    return Layer(lambda key, shape: (), apply)


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
