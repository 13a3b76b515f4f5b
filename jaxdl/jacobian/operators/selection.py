"""Operators of zeros and ones: entries that are selected, and sums over axes."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.jacobian.operators.base import Operator, node, size_text, static


@node
class Selection(Operator):
    """(J v)ᵢ = v[index[i]], and 0 where the index is negative: slices, gathers, permutations, windows of a maximum."""

    index: jax.Array | np.ndarray
    n: int = static()
    dtype: Any = static()

    @property
    def shape(self) -> tuple[int, int]:
        return self.index.shape[-1], self.n

    @property
    def label(self) -> str:
        return f"selection({size_text(self)})"

    def push(self, v: jax.Array) -> jax.Array:
        return v.at[self.index].get(mode="fill", fill_value=0, wrap_negative_indices=False)

    def pull(self, w: jax.Array) -> jax.Array:
        return jnp.zeros(self.n, w.dtype).at[self.index].add(w, mode="drop", wrap_negative_indices=False)

    def _trace(self) -> jax.Array:
        return (jnp.asarray(self.index) == jnp.arange(self.n)).sum().astype(self.dtype)

    def square(self) -> jax.Array:
        return (jnp.asarray(self.index) >= 0).sum().astype(self.dtype)

    def merged(self, other: Operator) -> Operator | None:
        if not isinstance(other, Selection):
            return None
        a, b = self.index, other.index
        xp = np if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) else jnp
        return Selection(xp.where(xp.asarray(a) < 0, -1, xp.asarray(b)[a]), other.n, other.dtype)


@node
class AxisSum(Operator):
    """The sum over some axes of an array of shape `before`; its transpose is a broadcast."""

    before: tuple[int, ...] = static()
    axes: tuple[int, ...] = static()
    dtype: Any = static()

    @property
    def kept(self) -> list[int]:
        """The shape after the sum, with length 1 for the axes summed over."""
        return [1 if i in self.axes else k for i, k in enumerate(self.before)]

    @property
    def shape(self) -> tuple[int, int]:
        return math.prod(self.kept), math.prod(self.before)

    @property
    def label(self) -> str:
        return f"sum({size_text(self)})"

    def push(self, v: jax.Array) -> jax.Array:
        return v.reshape(self.before).sum(self.axes).reshape(-1)

    def pull(self, w: jax.Array) -> jax.Array:
        return jnp.broadcast_to(w.reshape(self.kept), self.before).reshape(-1)

    def square(self) -> jax.Array:
        return jnp.asarray(self.shape[1], self.dtype)
