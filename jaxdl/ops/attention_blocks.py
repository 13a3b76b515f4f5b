"""Attention elsewhere than on a CPU: all examples and heads at once, for a block of queries after the other.

A block has all keys. With blocks of keys in its place, Σ p p̄ would not be known when the first of them needs it: it
would take a second loop, or Σ ō o in its place, which rounds otherwise than p̄ (see `tiled_attention`).

Where no query may attend to later keys, the queries are a few stretches, each with the keys up to its end: about half
of the scores are not computed.

Axes: l queries, n examples, g heads of the keys, r heads of queries for each of those, m keys, d and e widths.
"""

import math
from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from jaxdl.ops.platforms import einsum, over_blocks, rows_of_block
from jaxdl.ops.precision import like, zeros

BLOCK = 2**26  # bytes of the scores of a block; backward has a few arrays of that size
FEWEST = 128  # queries of a block; with fewer, reading keys and values takes longer than computing the scores
MOST_STRETCHES = 8  # the program grows with each


def masked(scores: Array, mask: Array | None) -> Array:
    """Scores, −∞ where a boolean mask is False, or with a mask of numbers added."""
    if mask is None:
        return scores
    return jnp.where(mask, scores, -jnp.inf) if mask.dtype == bool else scores + mask.astype(scores.dtype)


def four_axes(mask: Any) -> Any:
    """A mask with the axes (n, h, l, m), those that it lacks of length 1."""
    return None if mask is None else mask.reshape((1,) * (4 - mask.ndim) + mask.shape)


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


def forward(q: Array, k: Array, v: Array, mask: Array | None, causal: bool) -> tuple[Array, Array, Array]:
    """The output, and for each query its largest score and the share of that, (n, l, h, 1)."""
    parts = []
    for rows, keys in _stretches(q, k, causal):
        q_part = q[:, rows]
        if parts:  # one after the other, so that only one is in memory
            q_part, parts[-1] = lax.optimization_barrier((q_part, parts[-1]))
        blocks = _Blocks(q_part, k[:, keys], rows.start if causal else None)
        parts.append(blocks.forward(q_part, k[:, keys], v[:, keys], _cut(mask, rows, keys)))
    o, top, share = (jnp.concatenate(part, 1) for part in zip(*parts, strict=True))
    return o, top, share


def pullback(
    q: Array, k: Array, v: Array, mask: Array | None, top: Array, do: Array, causal: bool
) -> tuple[Array, Array, Array, Array | None]:
    """The cotangents of q, k, v and the mask."""
    dqs, dk, dv = [], zeros(k.shape, q), zeros(v.shape, q)
    dmask = None if mask is None or mask.dtype == bool else zeros(four_axes(mask).shape, q)
    for rows, keys in _stretches(q, k, causal):
        of_rows = q[:, rows], top[:, rows], do[:, rows]
        if dqs:
            of_rows, dk, dv, dmask = lax.optimization_barrier((of_rows, dk, dv, dmask))
        blocks = _Blocks(of_rows[0], k[:, keys], rows.start if causal else None)
        dq, dk_part, dv_part, dmask_part = blocks.pullback(of_rows, k[:, keys], v[:, keys], _cut(mask, rows, keys))
        dqs.append(dq)
        dk, dv = dk + _placed(dk_part, dk, {1: keys}), dv + _placed(dv_part, dv, {1: keys})
        if dmask is not None:
            dmask += _placed(dmask_part, dmask, {2: rows, 3: keys})
    dmask = None if mask is None or dmask is None else like(mask, dmask.reshape(mask.shape))
    return jnp.concatenate(dqs, 1), like(k, dk), like(v, dv), dmask


def _stretches(q, k, causal):
    """Stretches of queries, and the keys that they may attend to, as slices."""
    (n, length, heads, _), keys = q.shape, k.shape[1]
    if not causal:
        return [(slice(0, length), slice(0, keys))]
    even = FEWEST * -(-length // (FEWEST * MOST_STRETCHES))
    size = max(even, rows_of_block(4 * n * heads * keys, BLOCK, FEWEST))
    ends = [*range(size, length, size), length]
    return [(slice(start, end), slice(0, min(end, keys))) for start, end in zip([0, *ends], ends, strict=False)]


def _cut(mask, rows, keys):
    """The part of a mask, with four axes."""
    mask = four_axes(mask)
    if mask is None:
        return None
    mask = mask if mask.shape[2] == 1 else mask[:, :, rows]
    return mask if mask.shape[3] == 1 else mask[..., keys]


def _placed(part, whole, places):
    """An array like `whole` that is 0 except at these places along some axes, where it is not broadcast."""
    around = {a: (at.start, whole.shape[a] - at.stop) for a, at in places.items() if whole.shape[a] > 1}
    return jnp.pad(part, [around.get(axis, (0, 0)) for axis in range(part.ndim)])


class _Blocks:
    """Attention to keys and values of these types, a block of queries after the other.

    `first` is the position of the first query where none may attend to later keys, else None.
    """

    def __init__(self, q, k, first):
        self.n, self.length, self.heads, self.d = q.shape
        self.keys, self.groups, self.first = k.shape[1], k.shape[2], first
        self.rows = rows_of_block(4 * self.n * self.heads * self.keys, BLOCK, FEWEST)
        self.scale = 1 / math.sqrt(self.d)

    def forward(self, q, k, v, mask):
        dtype = jnp.result_type(q, k, v)

        def of_block(_, q, at, by_query):
            e, top, share = softmax_parts(self._scores(q, k, self._whole(mask, by_query), at, dtype))
            o = einsum("nglrm,nmge->nglre", e, v, dtype) * share
            return None, tuple(jnp.moveaxis(x, 2, 0) for x in (o, top, share))

        rows = self._by_query(q), jnp.arange(self.length), self._mask_by_query(mask)
        _, (o, top, share) = over_blocks(of_block, None, rows, self.rows)
        return like(v, self._together(o)), self._together(top), self._together(share)

    def pullback(self, of_rows, k, v, mask):
        """The weights are divided by their own sum, not by that of the forward pass: another product may round large
        scores otherwise. Then a weight of 1 is exactly 1, and its s̄ is 0.
        """
        q, dtype, smooth = of_rows[0], jnp.result_type(of_rows[0], k, v), mask is not None and mask.dtype != bool

        def of_block(sums, q, top, do, at, by_query):
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
        rows = *map(self._by_query, of_rows), jnp.arange(self.length), by_query
        sums = zeros(k.shape, q), zeros(v.shape, q), start
        (dk, dv, total), (dq, of_queries) = over_blocks(of_block, sums, rows, self.rows)
        dmask = total if of_queries is None else jnp.moveaxis(of_queries, 0, 2)
        if mask is not None and dmask is not None:
            dmask = jnp.moveaxis(dmask, 2, 3).reshape(mask.shape)
        return like(q, self._together(dq) * self.scale), dk * self.scale, dv, dmask

    def _scores(self, q, k, mask, at, dtype):
        """(n, g, l, r, m)

        Queries of 32 bits are scaled, not the scores: fused with a difference, that product would not be rounded.
        """
        before = self.scale if dtype.itemsize > 2 else 1
        scores = einsum("lngrd,nmgd->nglrm", q.astype(dtype) * before, k, dtype) * (self.scale / before)
        scores = masked(scores, mask)
        if self.first is None:
            return scores
        return jnp.where(is_allowed(self.first + at, self.keys)[:, None], scores, -jnp.inf)

    def _by_query(self, x):
        """(n, l, h, d) → (l, n, g, r, d)"""
        return x.swapaxes(0, 1).reshape(self.length, self.n, self.groups, -1, x.shape[-1])

    def _together(self, x):
        """(l, n, g, r, d) → (n, l, h, d)"""
        return x.reshape(self.length, self.n, self.heads, -1).swapaxes(0, 1)

    def _five_axes(self, mask):
        """A mask with the axes (n, g, l, r, m) of the scores; those that are broadcast have length 1."""
        n, h, length, m = mask.shape
        heads = (1, 1) if h == 1 else (self.groups, self.heads // self.groups)
        return jnp.moveaxis(mask.reshape(n, *heads, length, m), 3, 2)

    def _mask_by_query(self, mask):
        """A mask that depends on the query, with the queries in front; None for all others."""
        if mask is None or mask.shape[2] == 1:
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
