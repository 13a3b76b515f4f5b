"""Flax modules as jaxdl layers, and jaxdl layers as Flax modules, in flax.linen and in flax.nnx.

A Flax module as a layer goes wherever a layer goes (`jaxdl.train.fit`, `jaxdl.nn.serial`) and its `apply`
wherever a function goes (`jaxdl.contrast`, `jaxdl.automatic`, `jax.jacrev`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx

from jaxdl.nn import Layer


def from_linen(module: linen.Module, *, training: Mapping | None = None, testing: Mapping | None = None) -> Layer:
    """A linen module as a layer; its parameters are the collection "params".

    training and testing are keywords for the module's call with and without a key, such as
    training={"deterministic": False}, testing={"deterministic": True}. The key feeds the stream "dropout".
    Raises ValueError for a module with other collections (running averages), which no pure function has.
    """
    training, testing = dict(training or {}), dict(testing or {})

    def init(key, shape):
        variables = module.init(key, _example(shape), **testing)
        others = set(variables) - {"params"}
        if others:
            raise ValueError(
                f"from_linen: {type(module).__name__} keeps {', '.join(sorted(others))} beside its parameters, "
                f"and a layer is a function of its parameters alone"
            )
        return variables.get("params", {})

    def apply(params, x, *, key=None):
        if key is None:
            return module.apply({"params": params}, x, **testing)
        return module.apply({"params": params}, x, rngs={"dropout": key}, **training)

    return Layer(init, apply)


def from_nnx(make: Callable[[nnx.Rngs], nnx.Module]) -> Layer:
    """An nnx module as a layer: make(rngs) builds the module. Its parameters are the state of type `nnx.Param`.

    With a key the module is in its mode for training, `module.train()`, and its rngs come from the key.
    Raises ValueError for a module with other state (running averages), which no pure function has.
    """

    def init(key, shape):
        del shape
        module = make(nnx.Rngs(key))
        others = {type(v).__name__ for _, v in nnx.iter_graph(module) if _is_state(v)}
        if others:
            raise ValueError(
                f"from_nnx: {type(module).__name__} keeps {', '.join(sorted(others))} beside its parameters, "
                f"and a layer is a function of its parameters alone"
            )
        return nnx.to_pure_dict(nnx.state(module, nnx.Param))

    def apply(params, x, *, key=None):
        module = make(nnx.Rngs(jax.random.key(0) if key is None else key))
        state = nnx.state(module, nnx.Param)
        nnx.replace_by_pure_dict(state, params)
        nnx.update(module, state)
        module.eval() if key is None else module.train()
        return module(x)

    return Layer(init, apply)


def to_linen(layer: Layer) -> linen.Module:
    """A layer as a linen module: its pytree of parameters is the entry "layer" of the collection "params".

    What is random in training is on where the module is applied with rngs={"dropout": key}.
    """
    return _Linen(layer)


class _Linen(linen.Module):
    layer: Layer

    @linen.compact
    def __call__(self, x):
        params = self.param("layer", lambda key: self.layer.init(key, _shape(x)))
        key = self.make_rng("dropout") if self.has_rng("dropout") else None
        return self.layer.apply(params, x, key=key)


def to_nnx(layer: Layer, shape: Any, rngs: nnx.Rngs) -> nnx.Module:
    """A layer as an nnx module for inputs of `shape`, given without the batch, its pytree in one `nnx.Param`.

    What is random in training is on where the module is called with a key: module(x, key=rngs.dropout()).
    """
    return _Nnx(layer, shape, rngs)


class _Nnx(nnx.Module):
    def __init__(self, layer, shape, rngs):
        self.apply = layer.apply
        self.params = nnx.Param(layer.init(rngs.params(), shape))

    def __call__(self, x, *, key=None):
        return self.apply(self.params.get_value(), x, key=key)


def flax_names(params: Any) -> Any:
    """jaxdl's parameters with Flax's names: w is kernel and b is bias, wherever a layer has them.

    The arrays are the same ones: dense layers and convolutions have one layout in both, as have transposed
    convolutions with Flax's transpose_kernel=True.
    """
    return _renamed(params, {"w": "kernel", "b": "bias"})


def jaxdl_names(params: Any) -> Any:
    """Flax's parameters with jaxdl's names: kernel is w, and the bias beside it is b."""
    return _renamed(params, {"kernel": "w", "bias": "b"})


def _renamed(params, names):
    weight = next(iter(names))
    if isinstance(params, Mapping):
        own = names if weight in params else {}
        return {own.get(name, name): _renamed(value, names) for name, value in params.items()}
    if isinstance(params, tuple):
        return tuple(_renamed(value, names) for value in params)
    return params


def _is_state(value):
    return isinstance(value, nnx.Variable) and not isinstance(value, nnx.Param | nnx.RngState)


def _example(shape):
    if isinstance(shape, jax.ShapeDtypeStruct):
        return jnp.zeros((1, *shape.shape), shape.dtype)
    return jnp.zeros((1, *shape))


def _shape(x):
    is_float = jnp.issubdtype(x.dtype, jnp.floating)
    return x.shape[1:] if is_float else jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
