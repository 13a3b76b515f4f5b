"""Flax modules as jaxdl layers, and jaxdl layers as Flax modules, in flax.linen and in flax.nnx.

A Flax module as a layer can be used like any layer (`jaxdl.train.fit`, `jaxdl.nn.serial`), and its `apply` like any
function (`jaxdl.contrast`, `jaxdl.automatic`, `jax.jacrev`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxdl.nn import Layer
from jaxdl.optional_packages import install_hint

if TYPE_CHECKING:
    from flax import linen, nnx


def from_linen(
    module: linen.Module,
    *,
    training: Mapping[str, Any] | None = None,
    testing: Mapping[str, Any] | None = None,
) -> Layer:
    """Converts a module of flax.linen to a layer.

    Args:
        module: The module.
        training: Keywords of the module's call with a key, such as {"deterministic": False}. The key is that of the
            stream "dropout".
        testing: Keywords of the module's call without a key, such as {"deterministic": True}.

    Returns:
        A layer whose parameters are the collection "params".

    Raises:
        ValueError: When initialised, if the module has other collections, such as running averages: a layer is a
            function of its parameters alone.
        TypeError: It is no module.

    Examples:
        >>> from flax import linen
        >>> layer = from_linen(linen.Dense(4))
        >>> params = layer.init(jax.random.key(0), (3,))
        >>> layer.apply(params, jnp.ones((2, 3))).shape
        (2, 4)
    """
    training, testing = dict(training or {}), dict(testing or {})
    if isinstance(module, type) or not (hasattr(module, "init") and hasattr(module, "apply")):
        raise TypeError(f"from_linen: module must be a module of flax.linen, such as linen.Dense(4), got {module!r}")

    def init(key, shape):
        variables = module.init(key, _example(shape), **testing)
        _check_no_state("from_linen", module, set(variables) - {"params"})
        return variables.get("params", {})

    def apply(params, x, *, key=None):
        if key is None:
            return module.apply({"params": params}, x, **testing)
        return module.apply({"params": params}, x, rngs={"dropout": key}, **training)

    return Layer(init, apply)


def from_nnx(make: Callable[[nnx.Rngs], nnx.Module]) -> Layer:
    """Converts a module of flax.nnx to a layer.

    With a key, the module is in its training mode, `module.train()`, and its rngs come from the key.

    Args:
        make: Builds the module from its rngs.

    Returns:
        A layer whose parameters are the state of type `nnx.Param`.

    Raises:
        ValueError: When initialised, if the module has other state, such as running averages: a layer is a function of
            its parameters alone.
        TypeError: What is given is a module, or does not build one.

    Examples:
        >>> from flax import nnx
        >>> layer = from_nnx(lambda rngs: nnx.Linear(3, 4, rngs=rngs))
        >>> params = layer.init(jax.random.key(0), (3,))
        >>> layer.apply(params, jnp.ones((2, 3))).shape
        (2, 4)
    """
    nnx = _nnx()
    example = "lambda rngs: nnx.Linear(3, 4, rngs=rngs)"
    if isinstance(make, nnx.Module) or not callable(make):
        raise TypeError(f"from_nnx: make must build a module, as {example} does, got {type(make).__name__}")

    def init(key, shape):
        del shape
        module = make(nnx.Rngs(key))
        if not isinstance(module, nnx.Module):
            raise TypeError(f"from_nnx: make must build a module, as {example} does; it returns {module!r}")
        is_state = lambda v: isinstance(v, nnx.Variable) and not isinstance(v, nnx.Param | nnx.RngState)
        _check_no_state("from_nnx", module, {type(v).__name__ for _, v in nnx.iter_graph(module) if is_state(v)})
        return nnx.to_pure_dict(nnx.state(module, nnx.Param))

    def apply(params, x, *, key=None):
        module: Any = make(nnx.Rngs(jax.random.key(0) if key is None else key))
        state = nnx.state(module, nnx.Param)
        nnx.replace_by_pure_dict(state, params)
        nnx.update(module, state)
        module.eval() if key is None else module.train()
        return module(x)

    return Layer(init, apply)


def to_linen(layer: Layer) -> linen.Module:
    """Converts a layer to a module of flax.linen.

    Args:
        layer: The layer.

    Returns:
        A module with the layer's parameters as the entry "layer" of the collection "params". Dropout is on if it is
        applied with rngs={"dropout": key}.

    Examples:
        >>> from jaxdl import nn
        >>> module = to_linen(nn.dense(3))
        >>> variables = module.init(jax.random.key(0), jnp.ones((2, 4)))
        >>> module.apply(variables, jnp.ones((2, 4))).shape
        (2, 3)
    """
    return _linen_class()(layer)


def to_nnx(layer: Layer, shape: Any, rngs: nnx.Rngs) -> nnx.Module:
    """Converts a layer to a module of flax.nnx.

    Args:
        layer: The layer.
        shape: The shape of one input, without the batch, as for `Layer.init`.
        rngs: The stream "params" initialises the parameters.

    Returns:
        A module with the layer's parameters in one `nnx.Param`. Dropout is on if it is called with a key:
        module(x, key=rngs.dropout()).

    Examples:
        >>> from flax import nnx
        >>> from jaxdl import nn
        >>> to_nnx(nn.dense(3), (4,), nnx.Rngs(0))(jnp.ones((2, 4))).shape
        (2, 3)
    """
    return _nnx_class()(layer, shape, rngs)


def flax_names(params: Any) -> Any:
    """Renames jaxdl's parameters as Flax does: w is kernel, and the b beside it is bias.

    Dense layers, convolutions, and transposed convolutions with transpose_kernel=True have the same layout in both.

    Args:
        params: Parameters of a jaxdl layer.

    Returns:
        The same arrays under Flax's names.

    Examples:
        >>> flax_names({"w": 1, "b": 2})
        {'kernel': 1, 'bias': 2}
    """
    return _renamed(params, {"w": "kernel", "b": "bias"})


def jaxdl_names(params: Any) -> Any:
    """Renames Flax's parameters as jaxdl does: kernel is w, and the bias beside it is b.

    Args:
        params: Parameters of a Flax module.

    Returns:
        The same arrays under jaxdl's names.

    Examples:
        >>> jaxdl_names({"kernel": 1, "bias": 2})
        {'w': 1, 'b': 2}
    """
    return _renamed(params, {"kernel": "w", "bias": "b"})


def _nnx() -> Any:
    with install_hint("flax", "jaxdl.interop"):
        from flax import nnx
    return nnx


@functools.cache
def _linen_class() -> Any:
    """The class of linen modules made from layers, defined when Flax is first needed."""
    with install_hint("flax", "jaxdl.interop"):
        from flax import linen

    class _Linen(linen.Module):
        layer: Layer

        @linen.compact
        def __call__(self, x):
            params = self.param("layer", lambda key: self.layer.init(key, _shape(x)))
            key = self.make_rng("dropout") if self.has_rng("dropout") else None
            return self.layer.apply(params, x, key=key)

    return _Linen


@functools.cache
def _nnx_class() -> Any:
    """The class of nnx modules made from layers, defined when Flax is first needed."""
    nnx = _nnx()

    class _Nnx(nnx.Module):
        def __init__(self, layer, shape, rngs):
            self.apply = layer.apply
            self.params = nnx.Param(layer.init(rngs.params(), shape))

        def __call__(self, x, *, key=None):
            return self.apply(self.params.get_value(), x, key=key)

    return _Nnx


def _check_no_state(name, module, others):
    if others:
        raise ValueError(
            f"{name}: {type(module).__name__} keeps {', '.join(sorted(others))} beside its parameters, "
            f"and a layer is a function of its parameters alone"
        )


def _renamed(params, names):
    weight = next(iter(names))
    if isinstance(params, Mapping):
        own = names if weight in params else {}
        return {own.get(name, name): _renamed(value, names) for name, value in params.items()}
    if isinstance(params, tuple):
        return tuple(_renamed(value, names) for value in params)
    return params


def _example(shape):
    if isinstance(shape, jax.ShapeDtypeStruct):
        return jnp.zeros((1, *shape.shape), shape.dtype)
    return jnp.zeros((1, *shape))


def _shape(x) -> Any:
    is_float = jnp.issubdtype(x.dtype, jnp.floating)
    return x.shape[1:] if is_float else jax.ShapeDtypeStruct(x.shape[1:], x.dtype)
