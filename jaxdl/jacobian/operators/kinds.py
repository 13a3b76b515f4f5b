"""The kinds of operators that layers have as Jacobians, beside the diagonal."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.jacobian.analysis.operation_counts import MOVED
from jaxdl.jacobian.operators.base import Diagonal, Operator, node, size, static, sum_of_squares


@node
class RankOne(Operator):
    """diag(d) + u vᵀ in each of many blocks, along the middle axis of d, u, v: softmax is diag(s) − s sᵀ."""

    d: jax.Array
    u: jax.Array
    v: jax.Array
    shape = property(lambda self: (math.prod(self.d.shape[-3:]),) * 2)
    dtype = property(lambda self: self.d.dtype)
    label = property(lambda self: f"(diagonal + rank one)({self.shape[0]})")
    T = property(lambda self: RankOne(self.d, self.v, self.u))
    pull = lambda self, w: self.T.push(w)
    _trace = lambda self: (self.d + self.u * self.v).sum()

    def push(self, v):
        v = v.reshape(self.d.shape).astype(self.dtype)
        return (self.d * v + self.u * (self.v * v).sum(1, keepdims=True)).reshape(-1)

    dense_work = property(lambda self: MOVED * math.prod(self.shape))

    def dense(self):
        eye = lambda k: jnp.eye(k, dtype=self.dtype)
        block = self.u[:, :, None] * self.v[:, None] + self.d[:, None] * eye(self.d.shape[1])[None, :, :, None]
        if block.shape[0] * block.shape[3] == 1:
            return block[0, :, :, 0]
        return jnp.einsum("bkli,bc,ij->bkiclj", block, eye(block.shape[0]), eye(block.shape[3])).reshape(self.shape)

    def scaled(self, d):
        """diag(d) (diag(e) + u vᵀ) = diag(d e) + (d u) vᵀ"""
        d = d.reshape(self.d.shape)
        return RankOne(d * self.d, d * self.u, self.v)

    def merged(self, other):
        return self.T.scaled(other.d).T if isinstance(other, Diagonal) else None

    def square(self):
        """Σ |dᵢ + uᵢvᵢ|² + Σ |uᵢ|² (‖v‖² − |vᵢ|²)"""
        v = jnp.abs(self.v) ** 2
        return sum_of_squares(self.d + self.u * self.v) + (jnp.abs(self.u) ** 2 * (v.sum(1, keepdims=True) - v)).sum()


@node
class Kronecker(Operator):
    """I ⊗ A ⊗ I for each A of a stack (b, p, q), block by block: a matrix product with respect to either factor.

    ∂(Wx)/∂x is W, and ∂(Wx)ᵢ/∂Wⱼₖ = δᵢⱼ xₖ is I ⊗ xᵀ.
    """

    a: jax.Array
    left: int = static()
    right: int = static()
    dtype = property(lambda self: self.a.dtype)
    T = property(lambda self: Kronecker(self.a.mT, self.left, self.right))
    pull = lambda self, w: self.T.push(w)
    work = property(lambda self: 2 * math.prod(self.a.shape[-3:]) * self.left * self.right)
    dense_work = property(lambda self: 0 if self.is_one else MOVED * math.prod(self.shape))
    is_one = property(lambda self: self.a.shape[-3] * self.left * self.right == 1)
    square = lambda self: self.left * self.right * sum_of_squares(self.a)
    spectral = lambda self: jnp.linalg.svd(self.a, compute_uv=False).max()

    @property
    def shape(self):
        b, p, q = self.a.shape[-3:]
        return b * self.left * p * self.right, b * self.left * q * self.right

    @property
    def label(self):
        b, p, q = self.a.shape[-3:]
        around = [f"I({k})" if k > 1 else "" for k in (self.left, self.right)]
        block = " ⊗ ".join(filter(None, [around[0], f"dense({p}×{q})", around[1]]))
        return block if b == 1 and "⊗" not in block else f"({block})" if b == 1 else f"blocks({b} of {block})"

    def push(self, v):
        b, _, q = self.a.shape
        v = v.reshape(b, self.left, q, self.right).astype(self.dtype)
        return jnp.einsum("bpq,blqr->blpr", self.a, v).reshape(-1)

    def dense(self):
        if self.is_one:
            return self.a[0]
        eye = lambda k: jnp.eye(k, dtype=self.dtype)
        parts = eye(self.a.shape[0]), eye(self.left), self.a, eye(self.right)
        return jnp.einsum("bc,lk,bpq,rs->blprckqs", *parts).reshape(self.shape)

    def _trace(self):
        return self.left * self.right * jnp.trace(self.a, axis1=1, axis2=2).sum()


@node
class Selection(Operator):
    """(Jv)ᵢ = v at index i, and 0 where that is negative: slices, gathers, permutations, windows of a maximum."""

    index: jax.Array
    n: int = static()
    dtype: Any = static()
    shape = property(lambda self: (self.index.shape[-1], self.n))
    label = property(lambda self: f"selection({size(self)})")
    square = lambda self: (jnp.asarray(self.index) >= 0).sum().astype(self.dtype)
    _trace = lambda self: (jnp.asarray(self.index) == jnp.arange(self.n)).sum().astype(self.dtype)

    def push(self, v):
        return v.at[self.index].get(mode="fill", fill_value=0, wrap_negative_indices=False)

    def merged(self, other):
        if not isinstance(other, Selection):
            return None
        a, b = self.index, other.index
        xp = np if isinstance(a, np.ndarray) and isinstance(b, np.ndarray) else jnp
        return Selection(xp.where(xp.asarray(a) < 0, -1, xp.asarray(b)[a]), other.n, other.dtype)

    def pull(self, w):
        return jnp.zeros(self.n, w.dtype).at[self.index].add(w, mode="drop", wrap_negative_indices=False)


@node
class Total(Operator):
    """The sum over some axes of an array of a shape; its transpose is a broadcast."""

    before: tuple = static()
    axes: tuple = static()
    dtype: Any = static()
    kept = property(lambda self: [1 if i in self.axes else k for i, k in enumerate(self.before)])
    shape = property(lambda self: (math.prod(self.kept), math.prod(self.before)))
    label = property(lambda self: f"sum({size(self)})")
    push = lambda self, v: v.reshape(self.before).sum(self.axes).reshape(-1)
    pull = lambda self, w: jnp.broadcast_to(w.reshape(self.kept), self.before).reshape(-1)
    square = lambda self: jnp.asarray(self.shape[1], self.dtype)


@node
class Toeplitz(Operator):
    """v ↦ f(v, other) or f(other, v) for a bilinear f in which no two products meet one entry: convolution."""

    other: jax.Array
    f: Callable = static()
    place: int = static()
    before: Any = static()
    after: Any = static()
    cost: float = static()
    shape = property(lambda self: (math.prod(self.after.shape), math.prod(self.before.shape)))
    dtype = property(lambda self: self.after.dtype)
    label = property(lambda self: f"{'windows' if self.place else 'toeplitz'}({size(self)})")
    work = property(lambda self: self.cost)
    push = lambda self, v: self._at(v, self.other)
    square = lambda self: self._at(jnp.ones(self.shape[1], self.before.dtype), jnp.abs(self.other) ** 2).sum()

    def _at(self, v, other):
        v = v.reshape(self.before.shape).astype(self.before.dtype)
        return self.f(*((other, v) if self.place else (v, other))).reshape(-1)

    def pull(self, w):
        return jax.vjp(self.push, jnp.zeros(self.shape[1], self.before.dtype))[1](w.astype(self.dtype))[0]


@node
class Linear(Operator):
    """A linear function without known structure, from tangents, or (backward) from cotangents, as arrays of a type."""

    map: Any
    backward: bool = static()
    before: Any = static()
    after: Any = static()
    name: str = static()
    cost: float = static()
    shape = property(lambda self: (math.prod(self.after.shape), math.prod(self.before.shape)))
    dtype = property(lambda self: self.after.dtype)
    label = property(lambda self: f"{self.name}({size(self)})")
    work = property(lambda self: self.cost)
    push = lambda self, v: self._run(v, self.before, self.after, self.backward)
    pull = lambda self, w: self._run(w, self.after, self.before, not self.backward)

    def _run(self, v, before, after, transposed):
        v = v.reshape(before.shape).astype(before.dtype)
        return (jax.linear_transpose(self.map, after)(v)[0] if transposed else self.map(v)).reshape(-1)
