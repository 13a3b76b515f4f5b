"""Diagonal operators, and diagonal blocks plus a matrix of rank one."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.jacobian.analysis.operation_counts import MOVED
from jaxdl.jacobian.operators.base import Operator, node, sum_of_squares


@node
class Diagonal(Operator):
    """diag(d): the Jacobian of an elementwise function."""

    d: jax.Array

    @property
    def shape(self) -> tuple[int, int]:
        n = self.d.shape[-1]
        return n, n

    @property
    def dtype(self) -> Any:
        return self.d.dtype

    @property
    def label(self) -> str:
        return f"diagonal({self.shape[0]})"

    @property
    def T(self) -> Operator:
        return self

    def push(self, v: jax.Array) -> jax.Array:
        return self.d * v.astype(self.dtype)

    def pull(self, w: jax.Array) -> jax.Array:
        return self.push(w)

    def dense(self) -> jax.Array:
        return jnp.diag(self.d)

    def _trace(self) -> jax.Array:
        return self.d.sum()

    def square(self) -> jax.Array:
        return sum_of_squares(self.d)

    def spectral(self) -> jax.Array:
        return jnp.abs(self.d).max()

    def merged(self, other: Operator) -> Operator | None:
        return other.scaled(self.d)

    def scaled(self, d: jax.Array) -> Operator:
        return Diagonal(d * self.d.astype(d.dtype))


@node
class DiagonalPlusRankOne(Operator):
    """diag(d) + u vᵀ in each of many blocks, along the middle axis of d, u, v: softmax has diag(s) − s sᵀ."""

    d: jax.Array
    u: jax.Array
    v: jax.Array

    @property
    def shape(self) -> tuple[int, int]:
        n = math.prod(self.d.shape[-3:])
        return n, n

    @property
    def dtype(self) -> Any:
        return self.d.dtype

    @property
    def label(self) -> str:
        return f"(diagonal + rank one)({self.shape[0]})"

    @property
    def T(self) -> DiagonalPlusRankOne:
        return DiagonalPlusRankOne(self.d, self.v, self.u)

    @property
    def dense_work(self) -> float:
        return MOVED * math.prod(self.shape)

    def push(self, v: jax.Array) -> jax.Array:
        v = v.reshape(self.d.shape).astype(self.dtype)
        return (self.d * v + self.u * (self.v * v).sum(1, keepdims=True)).reshape(-1)

    def pull(self, w: jax.Array) -> jax.Array:
        return self.T.push(w)

    def dense(self) -> jax.Array:
        eye = lambda k: jnp.eye(k, dtype=self.dtype)
        block = self.u[:, :, None] * self.v[:, None] + self.d[:, None] * eye(self.d.shape[1])[None, :, :, None]
        if block.shape[0] * block.shape[3] == 1:
            return block[0, :, :, 0]
        return jnp.einsum("bkli,bc,ij->bkiclj", block, eye(block.shape[0]), eye(block.shape[3])).reshape(self.shape)

    def _trace(self) -> jax.Array:
        return (self.d + self.u * self.v).sum()

    def square(self) -> jax.Array:
        """Σ |dᵢ + uᵢvᵢ|² + Σ |uᵢ|² (‖v‖² − |vᵢ|²)"""
        v = jnp.abs(self.v) ** 2
        return sum_of_squares(self.d + self.u * self.v) + (jnp.abs(self.u) ** 2 * (v.sum(1, keepdims=True) - v)).sum()

    def merged(self, other: Operator) -> Operator | None:
        return self.T.scaled(other.d).T if isinstance(other, Diagonal) else None

    def scaled(self, d: jax.Array) -> DiagonalPlusRankOne:
        """diag(d) (diag(e) + u vᵀ) = diag(d e) + (d u) vᵀ"""
        d = d.reshape(self.d.shape)
        return DiagonalPlusRankOne(d * self.d, d * self.u, self.v)
