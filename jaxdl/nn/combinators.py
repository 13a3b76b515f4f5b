"""Combinators make models of layers."""

import jax
import jax.numpy as jnp

from jaxdl.nn.checkpointing import _applied, _made_of_layers
from jaxdl.nn.layer import Layer, Shape, axes, split_key, then
from jaxdl.nn.layers import flatten, flattened


def serial(*layers: Layer) -> Layer:
    """Applies layers one after the other, each in a named scope.

    Args:
        *layers: The layers, the first first.

    Returns:
        A layer; its parameters are a tuple with one entry for each layer.

    Raises:
        TypeError: What is given is no layer.
        ValueError: By `apply`, where the parameters are not as many as the layers.

    Examples:
        >>> model = serial(nn.flatten, nn.dense(128), nn.relu, nn.dense(10))
        >>> params = model.init(jax.random.key(0), (28, 28, 1))
        >>> model.apply(params, jnp.ones((5, 28, 28, 1))).shape
        (5, 10)
    """

    _check_layers("serial", layers)

    def init(key, shape):
        params, x = [], _one_example(shape)
        for layer, k in zip(layers, jax.random.split(key, len(layers)), strict=True):
            params.append(layer.init(k, _without_batch(x)))
            x = jax.eval_shape(layer.apply, params[-1], x)
        return tuple(params)

    def apply(params, x, *, key=None):
        _check_count("serial", layers, params)
        for i, (layer, p, k) in enumerate(zip(layers, params, split_key(key, len(layers)), strict=True)):
            with jax.named_scope(f"{_name(layer)}_{i}"):
                x = flattened(x, _inputs(params[i + 1 :])) if layer is flatten else _applied(layer, p, x, key=k)
        return x

    return Layer(init, _made_of_layers(apply))


def parallel(*branches: Layer) -> Layer:
    """Applies layers to the same input.

    Args:
        *branches: The layers.

    Returns:
        A layer; its parameters and its output are tuples with one entry for each branch.

    Raises:
        TypeError: What is given is no layer.
        ValueError: By `apply`, where the parameters are not as many as the branches.

    Examples:
        >>> layer = parallel(nn.dense(2), nn.dense(3))
        >>> params = layer.init(jax.random.key(0), (4,))
        >>> [y.shape for y in layer.apply(params, jnp.ones((5, 4)))]
        [(5, 2), (5, 3)]
    """

    _check_layers("parallel", branches)

    def init(key, shape):
        keys = jax.random.split(key, len(branches))
        return tuple(b.init(k, shape) for b, k in zip(branches, keys, strict=True))

    def apply(params, x, *, key=None):
        _check_count("parallel", branches, params)
        keys = split_key(key, len(branches))
        return tuple(b.apply(p, x, key=k) for b, p, k in zip(branches, params, keys, strict=True))

    return Layer(init, apply)


def concatenate(*branches: Layer) -> Layer:
    """Applies layers to the same input and concatenates their outputs along the last axis.

    Args:
        *branches: The layers, whose outputs have the same shape but for the last axis.

    Returns:
        A layer; its parameters are a tuple with one entry for each branch.

    Examples:
        >>> layer = concatenate(nn.dense(2), nn.dense(3))
        >>> layer.apply(layer.init(jax.random.key(0), (4,)), jnp.ones((5, 4))).shape
        (5, 5)
    """
    return then(parallel(*branches), lambda outputs: jnp.concatenate(outputs, -1))


def residual(*layers: Layer) -> Layer:
    """A residual block, x + serial(layers)(x) (He et al. 2016).

    Args:
        *layers: Layers that together keep the shape of their input.

    Returns:
        A layer with the parameters of `serial`.

    Raises:
        ValueError: By `apply`, where the layers do not keep the shape of their input.

    Examples:
        >>> block = residual(nn.layer_norm(), nn.dense(8), nn.relu)
    """
    inner = serial(*layers)

    def apply(params, x, *, key=None):
        y = inner.apply(params, x, key=key)
        if y.shape != x.shape:
            raise ValueError(f"residual: the layers must keep the shape of their input, {x.shape}, but gave {y.shape}")
        return x + y

    return Layer(inner.init, apply)


def share(layer: Layer, times: int) -> Layer:
    """Applies the same layer, with the same weights, several times in a row.

    Args:
        layer: A layer that keeps the shape of its input.
        times: How often it is applied.

    Returns:
        A layer with the parameters of `layer`.

    Raises:
        TypeError: What is given is no layer.

    Examples:
        >>> layer = share(nn.dense(8), 3)
        >>> nn.parameter_count(layer.init(jax.random.key(0), (8,)))  # those of one
        72
    """

    _check_layers("share", [layer])

    def apply(params, x, *, key=None):
        for k in split_key(key, times):
            x = layer.apply(params, x, key=k)
        return x

    return Layer(layer.init, apply)


def _name(layer):
    """The name of the function that made a layer: dense, residual."""
    name = getattr(layer.apply, "__qualname__", "").split(".")[0]
    return name if name.isidentifier() else "function"


def _check_layers(name, layers):
    for layer in layers:
        if not (hasattr(layer, "init") and hasattr(layer, "apply")):
            raise TypeError(f"{name}: {layer!r} is no layer; nn.function(f) makes one of a function")


def _check_count(name, layers, params):
    if len(params) != len(layers):
        raise ValueError(f"{name}: {len(layers)} layers need as many parameters, got {len(params)}")


def _inputs(params) -> int | None:
    """The number of inputs of the first layer among these that has a matrix."""
    return next((leaf.shape[0] for leaf in jax.tree.leaves(params) if jnp.ndim(leaf) == 2), None)


def _one_example(shape: Shape) -> jax.ShapeDtypeStruct:
    """The type of a batch of one, on which a layer is traced to find the input of the next one."""
    dtype = shape.dtype if isinstance(shape, jax.ShapeDtypeStruct) else jnp.float32
    return jax.ShapeDtypeStruct((1, *axes(shape)), dtype)


def _without_batch(x) -> Shape:
    is_float = jnp.issubdtype(x.dtype, jnp.floating)
    return x.shape[1:] if is_float else jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
