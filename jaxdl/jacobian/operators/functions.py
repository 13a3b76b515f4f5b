"""Operators that are functions on arrays: convolutions, and linear functions without known structure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.jacobian.operators.base import Operator, node, size_text, static


class _OnArrays(Operator):
    """An operator between arrays of the types `before` and `after`, with the work of one call."""

    before: Any
    after: Any
    cost: Any

    @property
    def shape(self) -> tuple[int, int]:
        return math.prod(self.after.shape), math.prod(self.before.shape)

    @property
    def dtype(self) -> Any:
        return self.after.dtype

    @property
    def work(self) -> float:
        return self.cost


@node
class Toeplitz(_OnArrays):
    """v ↦ f(v, other), or f(other, v), of a convolution: a bilinear f where each pair of entries meets at most once."""

    other: jax.Array
    f: Callable[..., Any] = static()
    place: int = static()
    before: Any = static()
    after: Any = static()
    cost: float = static()

    @property
    def label(self) -> str:
        return f"{'windows' if self.place else 'toeplitz'}({size_text(self)})"

    def push(self, v: jax.Array) -> jax.Array:
        return self._at(v, self.other)

    def pull(self, w: jax.Array) -> jax.Array:
        return jax.vjp(self.push, jnp.zeros(self.shape[1], self.before.dtype))[1](w.astype(self.dtype))[0]

    def square(self) -> jax.Array:
        return self._at(jnp.ones(self.shape[1], self.before.dtype), jnp.abs(self.other) ** 2).sum()

    def _at(self, v: jax.Array, other: jax.Array) -> jax.Array:
        v = v.reshape(self.before.shape).astype(self.before.dtype)
        return self.f(*((other, v) if self.place else (v, other))).reshape(-1)


@node
class FunctionOperator(_OnArrays):
    """A linear function without known structure: `map` takes tangents, or cotangents where `backward`."""

    map: Any
    backward: bool = static()
    before: Any = static()
    after: Any = static()
    name: str = static()
    cost: float = static()

    @property
    def label(self) -> str:
        return f"{self.name}({size_text(self)})"

    def push(self, v: jax.Array) -> jax.Array:
        return self._run(v, self.before, self.after, self.backward)

    def pull(self, w: jax.Array) -> jax.Array:
        return self._run(w, self.after, self.before, not self.backward)

    def _run(self, v: jax.Array, before: Any, after: Any, transposed: bool) -> jax.Array:
        v = v.reshape(before.shape).astype(before.dtype)
        return (self._transposed(v, after) if transposed else self.map(v)).reshape(-1)

    def _transposed(self, v: jax.Array, after: Any) -> jax.Array:
        try:
            return jax.linear_transpose(self.map, after)(v)[0]
        except (NotImplementedError, ValueError) as error:
            if isinstance(error, ValueError) and "Reverse-mode differentiation" not in str(error):
                raise
            # JAX has one mode only: by the matrix, which is computed in that mode
            rows = jnp.eye(math.prod(after.shape), dtype=after.dtype).reshape(-1, *after.shape)
            return jax.vmap(lambda row: self.map(row).reshape(-1))(rows) @ v.reshape(-1)
