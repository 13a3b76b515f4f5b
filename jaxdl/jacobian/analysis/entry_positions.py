"""Positions in place of entries: NumPy forms of the primitives that only rearrange the entries of their operands.

An equation that rearranges entries shows where they go when it is run on their positions. In NumPy this needs no
compilation for each shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxdl import jaxpr as jx


def positions(shape: Sequence[int], start: int = 0) -> np.ndarray:
    """The position of each entry of an array in memory order, from `start`, as an int32 array of that shape."""
    return np.arange(start, start + math.prod(shape), dtype=np.int32).reshape(shape)


def as_matrices(operand: Any, dot: jx.Dot, place: int) -> Any:
    """An operand of a matrix product as an array of shape (batch, free, contracted).

    Args:
        operand: A NumPy or JAX array.
        dot: The axes of the product.
        place: 0 for the left operand, 1 for the right one.
    """
    axes = dot.batch[place], dot.free(place, operand.ndim), dot.contracted[place]
    sizes = [math.prod(operand.shape[axis] for axis in group) for group in axes]
    return operand.transpose([axis for group in axes for axis in group]).reshape(sizes)


def broadcast(x: np.ndarray, shape: Sequence[int], broadcast_dimensions: Sequence[int], **_: Any) -> np.ndarray:
    """`jax.lax.broadcast_in_dim`: axis i of x becomes axis broadcast_dimensions[i] of the result."""
    aligned = np.ones(len(shape), int)
    aligned[list(broadcast_dimensions)] = x.shape
    return np.broadcast_to(x.reshape(aligned), shape)


def _reshape(x, new_sizes, dimensions, **_):
    """`jax.lax.reshape`, which transposes first if it is given dimensions."""
    return (x if dimensions is None else x.transpose(dimensions)).reshape(new_sizes)


def _slice(x, start_indices, limit_indices, strides, **_):
    strides = strides or [1] * x.ndim
    return x[tuple(map(slice, start_indices, limit_indices, strides))]


def pad(x: np.ndarray, fill: Any, padding_config: Sequence[Any]) -> np.ndarray:
    """`jax.lax.pad`, with negative and interior padding."""
    for axis, (low, high, interior) in enumerate(padding_config):
        x = np.moveaxis(x, axis, 0)
        place = low + np.arange(x.shape[0]) * (interior + 1)
        size = low + high + x.shape[0] + max(x.shape[0] - 1, 0) * interior
        inside = (place >= 0) & (place < size)
        padded = np.full((size, *x.shape[1:]), fill, x.dtype)
        padded[place[inside]] = x[inside]
        x = np.moveaxis(padded, 0, axis)
    return x


# Each takes the operands and the parameters of the primitive.
IN_NUMPY: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": broadcast,
    "concatenate": lambda *x, dimension: np.concatenate(x, dimension),
    "expand_dims": lambda x, dimensions: np.expand_dims(x, dimensions),
    "pad": pad,
    "reshape": _reshape,
    "rev": lambda x, dimensions: np.flip(x, dimensions),
    "slice": _slice,
    "split": lambda x, sizes, axis: np.split(x, np.cumsum(sizes)[:-1], axis),
    "squeeze": lambda x, dimensions: x.squeeze(dimensions),
    "stack": lambda *x, axis: np.stack(x, axis),
    "tile": lambda x, reps: np.tile(x, reps),
    "transpose": lambda x, permutation: x.transpose(permutation),
    "unstack": lambda x, axis: list(np.moveaxis(x, axis, 0)),
}


def rearranged(eqn: Any, operands: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The outputs of an equation of one of these primitives, in NumPy."""
    y = IN_NUMPY[eqn.primitive.name](*operands, **jx.parameters(eqn))
    return list(y) if eqn.primitive.multiple_results else [y]
