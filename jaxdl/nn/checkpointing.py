"""Models whose layers store only their inputs for the backward pass."""

import contextvars
from collections.abc import Callable
from typing import Any

import jax

from jaxdl.nn.layer import Layer

_is_checkpointing = contextvars.ContextVar("is_checkpointing", default=False)  # while `checkpointed` is being traced


def checkpointed(model: Layer) -> Layer:
    """Makes the layers of a model store only their inputs for the backward pass, which recomputes the rest.

    In `serial` and `transformer_encoder` each layer with parameters is checkpointed by itself, other models as a whole.
    The memory of one layer's inside (a block of a transformer, a residual) is needed at a time, and forward passes run
    twice (Chen et al. 2016). XLA for CPUs may recompute earlier than necessary and save nothing.

    Args:
        model: The model.

    Returns:
        A model with the same parameters, values and derivatives.

    Examples:
        >>> model = checkpointed(nn.mlp(128, 128, 10))
    """
    if not _is_made_of_layers(model):
        return Layer(model.init, lambda params, x, *, key=None: _recomputed(model, params, x, key=key))

    def apply(params, x, *, key=None):
        token = _is_checkpointing.set(True)
        try:
            return model.apply(params, x, key=key)
        finally:
            _is_checkpointing.reset(token)

    return Layer(model.init, _made_of_layers(apply))


def _made_of_layers(apply: Callable[..., Any]) -> Callable[..., Any]:
    """Marks the apply function of a model that calls its layers by `_applied`."""
    vars(apply)["is_made_of_layers"] = True
    return apply


def _applied(layer: Layer, params: Any, x: Any, **settings: Any) -> Any:
    """The output of a layer. Inside `checkpointed`, a layer with parameters stores only its input."""
    if _is_checkpointing.get() and not _is_made_of_layers(layer) and jax.tree.leaves(params):
        return _recomputed(layer, params, x, **settings)
    return layer.apply(params, x, **settings)


def _recomputed(layer, params, x, **settings):
    return jax.checkpoint(lambda params, x, settings: layer.apply(params, x, **settings))(params, x, settings)


def _is_made_of_layers(layer):
    return getattr(layer.apply, "is_made_of_layers", False)
