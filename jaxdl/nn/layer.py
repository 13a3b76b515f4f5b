"""A model is a pair of pure functions, and so is every part of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Layer(NamedTuple):
    """A layer or a whole model.

    init(key, shape) makes the parameters, a plain pytree, for inputs of `shape`, given without the
    batch. apply(params, x, key=None) is a pure function of a batch; with a key, what is random in
    training (dropout) is on.
    """

    init: Callable[[jax.Array, tuple[int, ...]], Any]
    apply: Callable[..., Any]


def function(f: Callable) -> Layer:
    """A layer without parameters: any pure function of a batch."""

    def apply(params, x, *, key=None):
        del params, key
        return f(x)

    return Layer(lambda key, shape: (), apply)


def serial(*layers: Layer) -> Layer:
    """Layers one after the other; the parameters are a tuple with one entry for each."""

    def init(key, shape):
        params, x = [], jax.ShapeDtypeStruct((1, *shape), jnp.float32)
        for layer, k in zip(layers, _keys(key), strict=True):
            params.append(layer.init(k, x.shape[1:]))
            x = jax.eval_shape(layer.apply, params[-1], x)
        return tuple(params)

    def apply(params, x, *, key=None):
        if len(params) != len(layers):
            raise ValueError(f"serial: {len(layers)} layers need as many parameters, got {len(params)}")
        for layer, p, k in zip(layers, params, _keys(key), strict=True):
            x = layer.apply(p, x, key=k)
        return x

    def _keys(key):
        return [None] * len(layers) if key is None else jax.random.split(key, len(layers))

    return Layer(init, apply)


def parameter_count(params: Any) -> int:
    """The number of parameters in a pytree, which may be abstract."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def with_function(model: Layer, transform: Callable) -> Layer:
    """The same model with `transform` around its apply: `with_function(model, jaxdl.automatic)`."""
    return Layer(model.init, transform(model.apply))
