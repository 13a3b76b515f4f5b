"""Gradients of some of the parameters, and of a batch in parts.

A mask is a pytree of booleans like the parameters, or a prefix of it: `{"encoder": False, "head": True}`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def grad_where(f: Callable[..., jax.Array], mask: Any) -> Callable[..., Any]:
    """The gradient of f(params, …) with respect to the parameters where the mask is True.

    The other parameters are constants: nothing is computed or stored for their gradients, as with PyTorch's
    `requires_grad=False`.

    Args:
        f: A function with a scalar result.
        mask: A pytree of booleans like the parameters, or a prefix of it.

    Returns:
        A function of the same arguments. Its result is a pytree like the parameters, with None where the mask is False.

    Raises:
        ValueError: When called, if the mask does not match the parameters.

    Examples:
        >>> loss = lambda params, x: (x * params["body"] * params["head"]).sum()
        >>> gradient = grad_where(loss, {"body": False, "head": True})
        >>> gradient({"body": 2.0, "head": 3.0}, jnp.ones(4))
        {'body': None, 'head': Array(8., dtype=float32, weak_type=True)}
    """

    def gradient(params, *args, **kwargs):
        chosen, leaves, tree = _chosen(params, mask)

        def of_chosen(moving):
            moved = iter(moving)
            return f(
                tree.unflatten([next(moved) if c else x for c, x in zip(chosen, leaves, strict=True)]), *args, **kwargs
            )

        found = iter(jax.grad(of_chosen)([x for c, x in zip(chosen, leaves, strict=True) if c]))
        return tree.unflatten([next(found) if c else None for c in chosen])

    return gradient


def frozen(f: Callable[..., Any], mask: Any) -> Callable[..., Any]:
    """f(params, …), differentiated as if the parameters where the mask is True were constants.

    Their gradient is 0, as with PyTorch's `detach`.

    Args:
        f: A function whose first argument is the parameters.
        mask: A pytree of booleans like the parameters, or a prefix of it.

    Returns:
        A function with the arguments and the result of f.

    Raises:
        ValueError: When called, if the mask does not match the parameters.

    Examples:
        >>> loss = lambda params, x: (x * params["body"] * params["head"]).sum()
        >>> gradient = jax.grad(frozen(loss, {"body": True, "head": False}))
        >>> gradient({"body": 2.0, "head": 3.0}, jnp.ones(4))["body"]
        Array(0., dtype=float32, weak_type=True)
    """

    def of_rest(params, *args, **kwargs):
        chosen, leaves, tree = _chosen(params, mask)
        held = [jax.lax.stop_gradient(x) if c else x for c, x in zip(chosen, leaves, strict=True)]
        return f(tree.unflatten(held), *args, **kwargs)

    return of_rest


def accumulated(value_and_grad: Callable[..., Any], parts: int) -> Callable[..., Any]:
    """Value and gradient of a mean over a batch, computed in parts to save memory.

    The i-th part has the rows i, i + parts, i + 2 parts, … of each array, so that no row moves between devices. The
    result is that of the whole batch, up to the order of summation; the memory is that of one part.

    Args:
        value_and_grad: A function (params, *batch) → (value, gradients) of a mean over the first axis of all arrays
            in the batch, such as `jax.value_and_grad(loss)`.
        parts: How many equal parts the batch has.

    Returns:
        A function with the same arguments and results.

    Raises:
        ValueError: If parts is not 1 or more; when called, if the batch cannot be cut into so many equal parts.

    Examples:
        >>> loss = lambda w, x: (w * x).mean()
        >>> value, gradient = accumulated(jax.value_and_grad(loss), 2)(3.0, jnp.arange(4.0))
        >>> float(value), float(gradient)
        (4.5, 1.5)
    """

    if not hasattr(parts, "__index__") or parts < 1:
        raise ValueError(f"accumulated: parts must be a whole number, 1 or more, got {parts!r}")

    def of_batch(params, *batch):
        cut = jax.tree.map(lambda x: _cut(x, parts), batch)
        part = lambda i: value_and_grad(params, *jax.tree.map(lambda x: x[:, i], cut))
        add = lambda total, i: (jax.tree.map(jnp.add, total, part(i)), None)
        nothing = jax.tree.map(lambda t: jnp.zeros(t.shape, t.dtype), jax.eval_shape(part, 0))
        total, _ = jax.lax.scan(add, nothing, np.arange(parts))
        return jax.tree.map(lambda x: x / parts, total)

    return of_batch


def _chosen(params, mask):
    """Whether the mask is True for each leaf of the parameters; the leaves; their tree."""
    leaves, tree = jax.tree.flatten(params)
    try:
        spread = jax.tree.map(lambda m, part: jax.tree.map(lambda _: bool(m), part), mask, params)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"the mask must be True or False for parts of the parameters: {error}") from None
    return jax.tree.leaves(spread), leaves, tree


def _cut(x, parts):
    if not jnp.ndim(x):
        raise ValueError(
            f"accumulated: {x} in the batch is one number, not an array with examples along its first axis"
        )
    if x.shape[0] % parts:
        raise ValueError(f"accumulated: a batch of {x.shape[0]} cannot be cut into {parts} equal parts")
    return x.reshape(x.shape[0] // parts, parts, *x.shape[1:])  # each device cuts its own rows
