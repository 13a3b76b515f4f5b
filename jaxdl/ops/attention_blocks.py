"""Attention elsewhere than on a CPU: all examples and heads at once, for a block of queries after the other.

A block has all keys. With blocks of keys in its place, Σ p p̄ would not be known when the first of them needs it: it
would take a second loop, or Σ ō o in its place, which rounds otherwise than p̄ (see `tiled_attention`).

Axes: l queries, n examples, g heads of the keys, r heads of queries for each of those, m keys, d and e widths.
"""

import math

import jax.numpy as jnp
from jax import Array

from jaxdl.ops.platforms import einsum, over_blocks, rows_of_block
from jaxdl.ops.precision import like, zeros

BLOCK = 2**26  # bytes of the scores of a block; backward has a few arrays of that size
FEWEST = 128  # queries of a block; with fewer, reading keys and values takes longer than computing the scores


def masked(scores: Array, mask: Array | None) -> Array:
    """Scores, −∞ where a boolean mask is False, or with a mask of numbers added."""
    if mask is None:
        return scores
    return jnp.where(mask, scores, -jnp.inf) if mask.dtype == bool else scores + mask.astype(scores.dtype)


def is_allowed(queries: Array, keys: int) -> Array:
    """Whether the queries at these positions may attend to each key, where none attends to later ones."""
    return queries[:, None] >= jnp.arange(keys)[None]


def softmax_parts(scores: Array) -> tuple[Array, Array, Array]:
    """e^(score − largest), the largest score and 1/Σ e^(score − largest) of each query; 0 where no key is allowed."""
    top = scores.max(-1, keepdims=True)
    top = jnp.where(top == -jnp.inf, 0, top)
    e = jnp.exp(scores - top)
    total = e.sum(-1, keepdims=True)
    share = jnp.where(total == 0, 0, 1 / total)
    return e, top, share


class Blocks:
    """Attention to keys and values of these types, a block of queries after the other."""

    def __init__(self, q, k, causal):
        self.n, self.length, self.heads, self.d = q.shape
        self.keys, self.groups, self.causal = k.shape[1], k.shape[2], causal
        self.rows = rows_of_block(4 * self.n * self.heads * self.keys, BLOCK, FEWEST)
        self.scale = 1 / math.sqrt(self.d)

    def forward(self, q: Array, k: Array, v: Array, mask: Array | None) -> tuple[Array, Array, Array]:
        """The output, and for each query its largest score and the share of that, (n, l, h, 1)."""
        dtype = jnp.result_type(q, k, v)

        def of_block(_, q, at, by_query):
            e, top, share = softmax_parts(self._scores(q, k, self._whole(mask, by_query), at, dtype))
            o = einsum("nglrm,nmge->nglre", e, v, dtype) * share
            return None, tuple(jnp.moveaxis(x, 2, 0) for x in (o, top, share))

        rows = self._by_query(q), jnp.arange(self.length), self._mask_by_query(mask)
        _, (o, top, share) = over_blocks(of_block, None, rows, self.rows)
        return like(v, self._together(o)), self._together(top), self._together(share)

    def pullback(
        self, q: Array, k: Array, v: Array, mask: Array | None, top: Array, do: Array
    ) -> tuple[Array, Array, Array, Array | None]:
        """The cotangents of q, k, v and the mask.

        The weights are divided by their own sum, not by that of the forward pass: another product may round large
        scores otherwise. Then a weight of 1 is exactly 1, and its s̄ is 0.
        """
        dtype, smooth = jnp.result_type(q, k, v), mask is not None and mask.dtype != bool

        def of_block(sums, q, do, top, at, by_query):
            dk, dv, dmask = sums
            e = jnp.exp(self._scores(q, k, self._whole(mask, by_query), at, dtype) - jnp.moveaxis(top, 0, 2))
            total = e.sum(-1, keepdims=True)
            p = e / jnp.where(total == 0, 1, total)
            dp = einsum("lngre,nmge->nglrm", do, v, dtype)
            ds = p * (dp - (p * dp).sum(-1, keepdims=True))
            dk += einsum("nglrm,lngrd->nmgd", ds, q, dtype)
            dv += einsum("nglrm,lngre->nmge", p, do, dtype)
            dq = jnp.moveaxis(einsum("nglrm,nmgd->nglrd", ds, k, dtype), 2, 0)
            if not smooth:
                return (dk, dv, None), (dq, None)
            if by_query is None:
                return (dk, dv, dmask + self._of_mask(ds, mask)), (dq, None)
            return (dk, dv, None), (dq, jnp.moveaxis(self._of_mask(ds, mask), 2, 0))

        by_query = self._mask_by_query(mask)
        start = zeros(self._five_axes(mask).shape, q) if smooth and by_query is None else None
        rows = *map(self._by_query, (q, do, top)), jnp.arange(self.length), by_query
        sums = zeros(k.shape, q), zeros(v.shape, q), start
        (dk, dv, total), (dq, of_queries) = over_blocks(of_block, sums, rows, self.rows)
        dmask = total if of_queries is None else jnp.moveaxis(of_queries, 0, 2)
        if mask is not None and dmask is not None:
            dmask = like(mask, jnp.moveaxis(dmask, 2, 3).reshape(mask.shape))
        return like(q, self._together(dq) * self.scale), like(k, dk * self.scale), like(v, dv), dmask

    def _scores(self, q, k, mask, at, dtype):
        """(n, g, l, r, m)

        Queries of 32 bits are scaled, not the scores: fused with a difference, that product would not be rounded.
        """
        before = self.scale if dtype.itemsize > 2 else 1
        scores = einsum("lngrd,nmgd->nglrm", q.astype(dtype) * before, k, dtype) * (self.scale / before)
        scores = masked(scores, mask)
        return jnp.where(is_allowed(at, self.keys)[:, None], scores, -jnp.inf) if self.causal else scores

    def _by_query(self, x):
        """(n, l, h, d) → (l, n, g, r, d)"""
        return x.swapaxes(0, 1).reshape(self.length, self.n, self.groups, -1, x.shape[-1])

    def _together(self, x):
        """(l, n, g, r, d) → (n, l, h, d)"""
        return x.reshape(self.length, self.n, self.heads, -1).swapaxes(0, 1)

    def _five_axes(self, mask):
        """A mask with the axes (n, g, l, r, m) of the scores; those that are broadcast have length 1."""
        n, h, length, m = (1,) * (4 - mask.ndim) + mask.shape
        heads = (1, 1) if h == 1 else (self.groups, self.heads // self.groups)
        return jnp.moveaxis(mask.reshape(n, *heads, length, m), 3, 2)

    def _mask_by_query(self, mask):
        """A mask that depends on the query, with the queries in front; None for all others."""
        if mask is None or mask.ndim < 2 or mask.shape[-2] != self.length or self.length == 1:
            return None
        return jnp.moveaxis(self._five_axes(mask), 2, 0)

    def _whole(self, mask, by_query):
        """The mask of a block."""
        if by_query is not None:
            return jnp.moveaxis(by_query, 0, 2)
        return None if mask is None else self._five_axes(mask)

    def _of_mask(self, ds, mask):
        """s̄ summed over the axes along which a mask is broadcast."""
        shape = self._five_axes(mask).shape
        return ds.sum(tuple(axis for axis in range(5) if shape[axis] == 1), keepdims=True)
