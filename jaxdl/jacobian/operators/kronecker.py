"""Kronecker products: the Jacobian of a matrix product in either factor."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.jacobian.analysis.operation_counts import MOVED
from jaxdl.jacobian.operators.base import Operator, node, static, sum_of_squares


@node
class Kronecker(Operator):
    """Block-diagonal, a block I(left) ⊗ A ⊗ I(right) for each matrix A of a stack `a`, (b, p, q).

    ∂(Wx)/∂x is W, and ∂(Wx)ᵢ/∂Wⱼₖ = δᵢⱼ xₖ is I ⊗ xᵀ.
    """

    a: jax.Array
    left: int = static()
    right: int = static()

    @property
    def shape(self) -> tuple[int, int]:
        b, p, q = self.a.shape[-3:]
        return b * self.left * p * self.right, b * self.left * q * self.right

    @property
    def dtype(self) -> Any:
        return self.a.dtype

    @property
    def label(self) -> str:
        b, p, q = self.a.shape[-3:]
        around = [f"I({k})" if k > 1 else "" for k in (self.left, self.right)]
        block = " ⊗ ".join(filter(None, [around[0], f"dense({p}×{q})", around[1]]))
        return block if b == 1 and "⊗" not in block else f"({block})" if b == 1 else f"blocks({b} of {block})"

    @property
    def T(self) -> Kronecker:
        return Kronecker(self.a.mT, self.left, self.right)

    @property
    def work(self) -> float:
        return 2 * math.prod(self.a.shape[-3:]) * self.left * self.right

    @property
    def dense_work(self) -> float:
        return 0 if self.is_one else MOVED * math.prod(self.shape)

    @property
    def is_one(self) -> bool:
        """Whether the operator is a single matrix A."""
        return self.a.shape[-3] * self.left * self.right == 1

    def push(self, v: jax.Array) -> jax.Array:
        b, _, q = self.a.shape
        v = v.reshape(b, self.left, q, self.right).astype(self.dtype)
        return jnp.einsum("bpq,blqr->blpr", self.a, v).reshape(-1)

    def pull(self, w: jax.Array) -> jax.Array:
        return self.T.push(w)

    def dense(self) -> jax.Array:
        if self.is_one:
            return self.a[0]
        eye = lambda k: jnp.eye(k, dtype=self.dtype)
        parts = eye(self.a.shape[0]), eye(self.left), self.a, eye(self.right)
        return jnp.einsum("bc,lk,bpq,rs->blprckqs", *parts).reshape(self.shape)

    def _trace(self) -> jax.Array:
        return self.left * self.right * jnp.trace(self.a, axis1=1, axis2=2).sum()

    def square(self) -> jax.Array:
        return self.left * self.right * sum_of_squares(self.a)

    def spectral(self) -> jax.Array:
        return jnp.linalg.svd(self.a, compute_uv=False).max()
