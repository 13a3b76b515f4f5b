"""The layers that models are made of, on jaxdl's operations.

Initialisers are names in `jax.nn.initializers` ("he_normal", "glorot_uniform", …) or functions
`(key, shape, dtype) -> array`.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxdl import ops
from jaxdl.nn.layer import Layer, Shape, axes, function

Initializer = Callable[..., jax.Array]

# The elementwise functions of jaxdl.ops, and softmax over the last axis, as layers without parameters.
relu: Layer = function(ops.relu)
sigmoid: Layer = function(ops.sigmoid)
tanh: Layer = function(ops.tanh)
step: Layer = function(ops.step)
elu: Layer = function(ops.elu)
selu: Layer = function(ops.selu)
softplus: Layer = function(ops.softplus)
silu: Layer = function(ops.silu)
gelu: Layer = function(ops.gelu)
gelu_tanh: Layer = function(ops.gelu_tanh)
quick_gelu: Layer = function(ops.quick_gelu)
softmax: Layer = function(ops.softmax)
log_softmax: Layer = function(ops.log_softmax)
flatten: Layer = function(lambda x: x.reshape(x.shape[0], -1))  # see `flattened` for one example
"""A layer (n, …) → (n, i) without parameters: each example as a vector."""


def flattened(x: jax.Array, size: int | None) -> jax.Array:
    """Examples as vectors, where a layer is known that takes vectors of this size: one example, or any leading axes.

    Where x can be a batch as well as one example (of shape (1, …)), it is a batch.
    """
    k = _leading(x, size)
    return x.reshape(*x.shape[:k], math.prod(x.shape[k:]))


def _leading(x, size):
    """The number of axes before those of an example with `size` numbers."""
    lengths = (1, 0, *range(2, x.ndim)) if x.ndim > 1 else (0, 1)
    return next((k for k in lengths if math.prod(x.shape[k:]) == size), 1)


def leaky_relu(slope: float = 0.01) -> Layer:
    """The leaky ReLU, without parameters.

    Args:
        slope: The derivative where x ≤ 0.

    Returns:
        A layer (n, …) → (n, …).

    Examples:
        >>> leaky_relu(0.5).apply((), jnp.array([-1.0, 2.0])).tolist()
        [-0.5, 2.0]
    """
    return function(lambda x: ops.leaky_relu(x, slope=slope))


def reshape(*shape: int) -> Layer:
    """Gives each example a shape.

    Args:
        *shape: The shape of one example.

    Returns:
        A layer (*n, …) → (*n, *shape) without parameters.

    Examples:
        >>> reshape(4, 4, 1).apply((), jnp.ones((5, 16))).shape
        (5, 4, 4, 1)
    """
    return function(lambda x: x.reshape(*x.shape[: _leading(x, math.prod(shape))], *shape))


def dense(width: int, *, w_init: str | Initializer = "he_normal", b_init: str | Initializer | None = "zeros") -> Layer:
    """An affine layer, y = x w + b.

    Args:
        width: The number of outputs.
        w_init: The initialiser of w.
        b_init: The initialiser of b; None for a layer without b.

    Returns:
        A layer (*n, i) → (*n, width). Parameters: w (i, width), b (width,).

    Raises:
        ValueError: By `init`, for inputs that are neither vectors nor sequences of them, or an unknown initialiser.

    Examples:
        >>> params = dense(3).init(jax.random.key(0), (2,))
        >>> dense(3).apply(params, jnp.ones((5, 2))).shape
        (5, 3)
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


def weights(
    key: jax.Array,
    shape: tuple[int, ...],
    width: int,
    w_init: str | Initializer,
    b_init: str | Initializer | None,
) -> dict[str, jax.Array]:
    """w of a shape, and b of a width unless b_init is None."""
    if not hasattr(width, "__index__") or width < 1:
        raise ValueError(f"the number of a layer's outputs must be a whole number, 1 or more, got {width!r}")
    params = {"w": initializer(w_init)(key, shape, jnp.float32)}
    return params if b_init is None else params | {"b": initializer(b_init)(key, (width,), jnp.float32)}


def in_training(f: Callable[[jax.Array, jax.Array], jax.Array]) -> Layer:
    """Applies a random function when applied with a key; the identity without.

    Args:
        f: `f(key, x)` returns an array of the shape and dtype of x, the whole batch.

    Returns:
        A layer (n, …) → (n, …) without parameters.

    Raises:
        ValueError: By `apply`, where f changes the shape or the dtype.

    Examples:
        >>> flip = in_training(lambda key, x: jnp.where(jax.random.bernoulli(key), x, x[:, :, ::-1]))
        >>> flip.apply((), jnp.ones((2, 8, 8, 1)), key=jax.random.key(0)).shape
        (2, 8, 8, 1)
    """

    def apply(params, x, *, key=None):
        del params
        if key is None:
            return x
        y = jnp.asarray(f(key, x))
        if (y.shape, y.dtype) != (x.shape, x.dtype):
            raise ValueError(
                f"in_training: {_name(f)}(key, x) must keep the shape and the dtype of x, {x.dtype}{list(x.shape)}, "
                f"but gave {y.dtype}{list(y.shape)}"
            )
        return y

    apply.__qualname__ = _name(f)
    return Layer(lambda key, shape: (), apply)


def _name(f: Callable) -> str:
    return getattr(f, "__qualname__", "f")


def gaussian_noise(std: float) -> Layer:
    """Adds normal noise when applied with a key; the identity without.

    Args:
        std: The standard deviation.

    Returns:
        A layer (n, …) → (n, …) without parameters.

    Examples:
        >>> x, key = jnp.ones((2, 3)), jax.random.key(0)
        >>> bool((gaussian_noise(0.3).apply((), x, key=key) == x).any())
        False
    """
    return in_training(lambda key, x: x + std * jax.random.normal(key, x.shape, x.dtype))


def layer_norm(*, epsilon: float = 1e-6) -> Layer:
    """Layer normalisation over the last axis; see `jaxdl.ops.layer_norm`.

    Args:
        epsilon: Added to the variance.

    Returns:
        A layer (n, …, d) → (n, …, d). Parameters: scale and bias, (d,) each.

    Examples:
        >>> layer = layer_norm()
        >>> layer.apply(layer.init(jax.random.key(0), (10, 16)), jnp.ones((5, 10, 16))).shape
        (5, 10, 16)
    """

    def apply(params, x, *, key=None):
        del key
        return ops.layer_norm(x, params["scale"], params["bias"], epsilon=epsilon)

    return Layer(ones_and_zeros, apply)


def ones_and_zeros(key: jax.Array, shape: Shape) -> dict[str, jax.Array]:
    """The initial scale and bias of a normalisation, of the length of the last axis."""
    del key
    return {"scale": jnp.ones(axes(shape)[-1]), "bias": jnp.zeros(axes(shape)[-1])}


def rms_norm(*, epsilon: float = 1e-6) -> Layer:
    """Divides by the root mean square over the last axis; see `jaxdl.ops.rms_norm`.

    Args:
        epsilon: Added to the mean square.

    Returns:
        A layer (n, …, d) → (n, …, d). Parameters: scale, (d,).

    Examples:
        >>> layer = rms_norm()
        >>> layer.apply(layer.init(jax.random.key(0), (10, 16)), jnp.ones((5, 10, 16))).shape
        (5, 10, 16)
    """

    def init(key, shape):
        del key
        return {"scale": jnp.ones(shape[-1])}

    def apply(params, x, *, key=None):
        del key
        return ops.rms_norm(x, params["scale"], epsilon=epsilon)

    return Layer(init, apply)


def dropout(rate: float) -> Layer:
    """Sets entries to 0 at random and scales up the others, when applied with a key; the identity without.

    Args:
        rate: The probability with which an entry is set to 0.

    Returns:
        A layer (n, …) → (n, …) without parameters.

    Raises:
        ValueError: The rate is not in [0, 1).

    Examples:
        >>> x = jnp.ones((2, 3))
        >>> bool((dropout(0.5).apply((), x) == x).all())  # without a key
        True
    """
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: rate must be in [0, 1), got {rate}")

    def apply(params, x, *, key=None):
        del params
        return x if key is None or rate == 0 else ops.dropout(x, key, rate=rate)

    return Layer(lambda key, shape: (), apply)


def embedding(size: int, width: int, *, init: str | Initializer = "normal") -> Layer:
    """Looks up a row of a table for each index.

    Args:
        size: The number of rows.
        width: The length of a row.
        init: The initialiser of the table.

    Returns:
        A layer from integers (n, …) to (n, …, width). Parameters: table (size, width).

    Examples:
        >>> layer = embedding(1000, 16)
        >>> layer.apply(layer.init(jax.random.key(0), (10,)), jnp.ones((5, 10), jnp.int32)).shape
        (5, 10, 16)
    """

    def make(key, shape):
        del shape
        return {"table": initializer(init)(key, (size, width), jnp.float32)}

    def apply(params, x, *, key=None):
        del key
        return ops.embedding(params["table"], x)

    return Layer(make, apply)


def initializer(choice: str | Initializer) -> Initializer:
    """Finds an initialiser.

    Args:
        choice: A name in `jax.nn.initializers`, or an initialiser, which is returned unchanged.

    Returns:
        A function `(key, shape, dtype) -> array`.

    Raises:
        ValueError: `jax.nn.initializers` has no such name.

    Examples:
        >>> initializer("he_normal")(jax.random.key(0), (3, 2), jnp.float32).shape
        (3, 2)
    """
    if not isinstance(choice, str):
        return choice
    found = getattr(jax.nn.initializers, choice, None)
    if found is None:
        known = sorted(n for n in dir(jax.nn.initializers) if not n.startswith("_"))
        raise ValueError(f"unknown initialiser {choice!r}; jax.nn.initializers has {', '.join(known)}")
    # Most names are functions that make an initialiser; zeros and ones are initialisers themselves.
    return found if choice in ("zeros", "ones") else found()
