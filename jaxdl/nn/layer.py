"""A model is a pair of pure functions, and so is every part of it; combinators make models of parts."""

import contextvars
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Layer(NamedTuple):
    """A layer or a whole model.

    init(key, shape) makes the parameters, a plain pytree, for inputs of `shape`, given without the
    batch; for inputs other than float32 it is a `jax.ShapeDtypeStruct`. apply(params, x, key=None) is a
    pure function of a batch; with a key, what is random in training (dropout) is on.
    """

    init: Callable[[jax.Array, tuple[int, ...]], Any]
    apply: Callable[..., Any]


def function(f: Callable) -> Layer:
    """A layer without parameters: any pure function of a batch."""

    def apply(params, x, *, key=None):
        del params, key
        return f(x)

    apply.__qualname__ = getattr(f, "__name__", "function")
    return Layer(lambda key, shape: (), apply)


def serial(*layers: Layer) -> Layer:
    """Layers one after the other, each in a named scope; the parameters are a tuple with one entry for each."""

    def init(key, shape):
        params, x = [], _one_example(shape)
        for layer, k in zip(layers, _split(key, layers), strict=True):
            params.append(layer.init(k, _without_batch(x)))
            x = jax.eval_shape(layer.apply, params[-1], x)
        return tuple(params)

    def apply(params, x, *, key=None):
        _check_count("serial", layers, params)
        for i, (layer, p, k) in enumerate(zip(layers, params, _split(key, layers), strict=True)):
            with jax.named_scope(f"{_name(layer)}_{i}"):
                x = applied(layer, p, x, key=k)
        return x

    return Layer(init, made_of_layers(apply))


def parallel(*branches: Layer) -> Layer:
    """Layers on the same input, each giving one entry of a tuple; so are the parameters."""

    def init(key, shape):
        return tuple(b.init(k, shape) for b, k in zip(branches, _split(key, branches), strict=True))

    def apply(params, x, *, key=None):
        _check_count("parallel", branches, params)
        return tuple(b.apply(p, x, key=k) for b, p, k in zip(branches, params, _split(key, branches), strict=True))

    return Layer(init, apply)


def concatenate(*branches: Layer) -> Layer:
    """Layers on the same input, their outputs side by side along the last axis."""
    return then(parallel(*branches), lambda outputs: jnp.concatenate(outputs, -1))


def residual(*layers: Layer) -> Layer:
    """x + serial(layers)(x), of the same shape (He et al. 2016)."""
    inner = serial(*layers)

    def apply(params, x, *, key=None):
        y = inner.apply(params, x, key=key)
        if y.shape != x.shape:
            raise ValueError(f"residual: the layers must keep the shape of their input, {x.shape}, but gave {y.shape}")
        return x + y

    return Layer(inner.init, apply)


def share(layer: Layer, times: int) -> Layer:
    """The same layer, with one set of weights, `times` times one after the other."""

    def apply(params, x, *, key=None):
        for k in _split(key, range(times)):
            x = layer.apply(params, x, key=k)
        return x

    return Layer(layer.init, apply)


def then(layer: Layer, f: Callable) -> Layer:
    """f of what the layer gives, with the layer's parameters."""

    def apply(params, x, *, key=None):
        return f(layer.apply(params, x, key=key))

    return Layer(layer.init, apply)


def checkpointed(model: Layer) -> Layer:
    """The same model, whose layers keep only their input for the backward pass and compute the rest again.

    Of `serial` and `transformer_encoder` each layer with parameters by itself; other models as a whole. In place of
    what lies inside a layer (a transformer's block, a residual), that of one of them at a time is kept, and forward
    passes are run twice (Chen et al. 2016). XLA for CPUs may compute again earlier than it must, and gain nothing.
    """
    if not _is_made_of_layers(model):
        return Layer(model.init, lambda params, x, *, key=None: _again(model, params, x, key=key))

    def apply(params, x, *, key=None):
        token = _is_checkpointing.set(True)
        try:
            return model.apply(params, x, key=key)
        finally:
            _is_checkpointing.reset(token)

    return Layer(model.init, made_of_layers(apply))


_is_checkpointing = contextvars.ContextVar("is_checkpointing", default=False)  # while `checkpointed` is being traced


def made_of_layers(apply: Callable) -> Callable:
    """Marks the function of a model that calls its layers by `applied`."""
    apply.is_made_of_layers = True
    return apply


def applied(layer: Layer, params: Any, x: Any, **settings: Any) -> Any:
    """What a layer gives; within `checkpointed`, a layer with parameters keeps its input only."""
    if _is_checkpointing.get() and not _is_made_of_layers(layer) and jax.tree.leaves(params):
        return _again(layer, params, x, **settings)
    return layer.apply(params, x, **settings)


def _again(layer, params, x, **settings):
    return jax.checkpoint(lambda params, x, settings: layer.apply(params, x, **settings))(params, x, settings)


def _is_made_of_layers(layer):
    return getattr(layer.apply, "is_made_of_layers", False)


def with_function(model: Layer, transform: Callable) -> Layer:
    """The same model with `transform` around its apply: `with_function(model, jaxdl.automatic)`."""
    return Layer(model.init, transform(model.apply))


def with_params(model: Layer, params: Any) -> Layer:
    """The same model, starting from given parameters in place of random ones."""
    return Layer(lambda key, shape: jax.tree.map(jnp.asarray, params), model.apply)


def parameter_count(params: Any) -> int:
    """The number of parameters in a pytree, which may be abstract."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _name(layer):
    """Of the function that made a layer: dense, residual."""
    name = getattr(layer.apply, "__qualname__", "").split(".")[0]
    return name if name.isidentifier() else "function"


def _split(key, layers):
    return [None] * len(layers) if key is None else jax.random.split(key, len(layers))


def _check_count(name, layers, params):
    if len(params) != len(layers):
        raise ValueError(f"{name}: {len(layers)} layers need as many parameters, got {len(params)}")


def _one_example(shape):
    """What a layer is traced on, to see what it gives the next one."""
    if isinstance(shape, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct((1, *shape.shape), shape.dtype)
    return jax.ShapeDtypeStruct((1, *shape), jnp.float32)


def _without_batch(x):
    is_float = jnp.issubdtype(x.dtype, jnp.floating)
    return x.shape[1:] if is_float else jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
