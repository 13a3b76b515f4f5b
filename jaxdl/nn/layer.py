"""A model is a pair of pure functions, and so is every layer of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

# The shape of one example, without the batch; a ShapeDtypeStruct where it is not float32; a tuple of such shapes for
# models with several inputs.
Shape = tuple[Any, ...] | jax.ShapeDtypeStruct


class Layer(NamedTuple):
    """A layer or a whole model: a pair of pure functions.

    Attributes:
        init: `init(key, shape)` returns the parameters, a plain pytree, for examples of this shape. The shape is given
            without the batch, and as a `jax.ShapeDtypeStruct` for inputs that are not float32.
        apply: `apply(params, x, key=None)` returns the outputs for a batch of inputs, for one input, or for inputs with
            several leading axes; `batch_norm` needs a batch. With a key, what is random in training (dropout, noise) is
            on.

    Examples:
        >>> model = nn.dense(3)
        >>> params = model.init(jax.random.key(0), (2,))
        >>> model.apply(params, jnp.ones((5, 2))).shape
        (5, 3)
        >>> model.apply(params, jnp.ones(2)).shape
        (3,)
    """

    init: Callable[[Array, Shape], Any]
    apply: Callable[..., Any]


def function(f: Callable[[Any], Any]) -> Layer:
    """Makes a layer without parameters.

    Args:
        f: A pure function of a batch.

    Returns:
        The layer; its parameters are `()`.

    Examples:
        >>> function(jnp.sin).apply((), jnp.zeros(2))
        Array([0., 0.], dtype=float32)
    """

    def apply(params, x, *, key=None):
        del params, key
        return f(x)

    apply.__qualname__ = getattr(f, "__name__", "function")
    return Layer(lambda key, shape: (), apply)


def then(layer: Layer, f: Callable[[Any], Any]) -> Layer:
    """Applies a function to the output of a layer.

    Args:
        layer: The layer.
        f: A pure function of its output.

    Returns:
        A layer with the same parameters.

    Examples:
        >>> layer = then(nn.dense(8), jnp.sin)
        >>> layer.apply(layer.init(jax.random.key(0), (3,)), jnp.ones((5, 3))).shape
        (5, 8)
    """

    def apply(params, x, *, key=None):
        return f(layer.apply(params, x, key=key))

    return Layer(layer.init, apply)


def with_function(model: Layer, transform: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Layer:
    """Transforms the apply function of a model.

    Args:
        model: The model.
        transform: A function of functions, such as `jaxdl.automatic`.

    Returns:
        A model with the same parameters.

    Examples:
        >>> plain = with_function(nn.mlp(8, 1), jaxdl.automatic)
    """
    return Layer(model.init, transform(model.apply))


def with_params(model: Layer, params: Any) -> Layer:
    """Replaces the initial parameters of a model.

    Args:
        model: The model.
        params: What `init` returns, as a pytree of arrays or numbers.

    Returns:
        A model with the same apply function.

    Examples:
        >>> model = with_params(nn.dense(1), {"w": jnp.array([[2.0]]), "b": jnp.array([1.0])})
        >>> model.apply(model.init(jax.random.key(0), (1,)), jnp.ones((5, 1)))[0].tolist()
        [3.0]
    """
    return Layer(lambda key, shape: jax.tree.map(jnp.asarray, params), model.apply)


def parameter_count(params: Any) -> int:
    """Counts parameters.

    Args:
        params: A pytree of arrays, which may be abstract.

    Returns:
        The number of their entries.

    Examples:
        >>> parameter_count({"w": jnp.ones((2, 3)), "b": jnp.ones(3)})
        9
    """
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def axes(shape: Shape) -> tuple[int, ...]:
    """The lengths of the axes of one example."""
    return shape.shape if isinstance(shape, jax.ShapeDtypeStruct) else shape


def aligned(params: Array, x: Array) -> Array:
    """Parameters of one example with as many axes as x, for a sum with each of its examples."""
    return jnp.expand_dims(params, tuple(range(x.ndim - params.ndim)))


def split_key(key: Array | None, count: int) -> list[Array | None]:
    """As many keys; None for each where there is none."""
    return [None] * count if key is None else [*jax.random.split(key, count)]
