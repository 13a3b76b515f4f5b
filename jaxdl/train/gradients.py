"""Gradients of a part of the parameters, and of a batch in parts: what PyTorch does by flags on tensors, as functions.

Masks are pytrees of booleans like the parameters, or a prefix of one: `{"encoder": False, "head": True}`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def grad_where(f: Callable, mask: Any) -> Callable:
    """The gradient of a number f(params, …) in the parameters where the mask is True, None in place of the others.

    Those are constants: nothing is computed or kept for their gradients (PyTorch's `requires_grad=False`).
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


def frozen(f: Callable, mask: Any) -> Callable:
    """f(params, …) with the parameters where the mask is True held fixed: their gradient is 0 (PyTorch's `detach`)."""

    def of_rest(params, *args, **kwargs):
        chosen, leaves, tree = _chosen(params, mask)
        held = [jax.lax.stop_gradient(x) if c else x for c, x in zip(chosen, leaves, strict=True)]
        return f(tree.unflatten(held), *args, **kwargs)

    return of_rest


def accumulated(value_and_grad: Callable, parts: int) -> Callable:
    """Value and gradient of a mean over a batch, from `parts` equal parts of it, one after the other.

    value_and_grad(params, *batch) is of a mean over the first axis of all arrays in the batch; the i-th part has their
    rows i, i + parts, i + 2 parts, …, so that on many devices no row moves. The result is that of the whole batch, up
    to the order of summation, in the memory that one part takes.

    Raises ValueError where the batch cannot be cut into so many parts.
    """

    def of_batch(params, *batch):
        cut = jax.tree.map(lambda x: _cut(x, parts), batch)
        part = lambda i: value_and_grad(params, *jax.tree.map(lambda x: x[:, i], cut))
        add = lambda total, i: (jax.tree.map(jnp.add, total, part(i)), None)
        nothing = jax.tree.map(lambda t: jnp.zeros(t.shape, t.dtype), jax.eval_shape(part, 0))
        total, _ = jax.lax.scan(add, nothing, np.arange(parts))
        return jax.tree.map(lambda x: x / parts, total)

    return of_batch


def _chosen(params, mask):
    """For each leaf of the parameters whether the mask, like them or a prefix, is True; the leaves; their tree."""
    leaves, tree = jax.tree.flatten(params)
    try:
        spread = jax.tree.map(lambda m, part: jax.tree.map(lambda _: bool(m), part), mask, params)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"the mask must be True or False for parts of the parameters: {error}") from None
    return jax.tree.leaves(spread), leaves, tree


def _cut(x, parts):
    if x.shape[0] % parts:
        raise ValueError(f"accumulated: a batch of {x.shape[0]} cannot be cut into {parts} equal parts")
    return x.reshape(x.shape[0] // parts, parts, *x.shape[1:])  # of a batch on many devices, each cuts its own share
