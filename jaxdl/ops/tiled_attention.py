"""Attention in tiles: the scores are never all in memory, neither forward nor backward.

A tile is some queries of one head by all its keys. Beside the arguments, the residuals are two numbers for each query,
its largest score and 1/Σ e^(score − largest), from which a tile's weights are recomputed (Rabe and Staats 2021; Dao et
al. 2022). One number, the logsumexp, would bring the rounding error of large scores into the weights. Σ ō o in place of
Σ p p̄ has another rounding error than p̄, so that their difference is not 0 where one weight is 1 and all others are 0.

For short sequences, tiles would be too small to be faster: all heads are computed at once, and the weights are stored.
Elsewhere than on a CPU, a tile has all examples and heads (`attention_blocks.py`).
"""

import math

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxdl.ops import attention_blocks
from jaxdl.ops.attention_blocks import four_axes, is_allowed, masked, softmax_parts
from jaxdl.ops.platforms import by_platform
from jaxdl.ops.precision import like, unbroadcast, upcast, zeros
from jaxdl.rule import op, saving

CACHE = 2_100_000  # bytes of a tile; backward has two
SHORT = 4096  # scores of a head, up to which all heads are computed at once


@op
def attention(
    q: Float[Array, "n l h d"],
    k: Float[Array, "n m g d"],
    v: Float[Array, "n m g e"],
    mask: Float[Array, "..."] | Bool[Array, "..."] | None = None,
    *,
    causal: bool = False,
) -> Float[Array, "n l h e"]:
    """Scaled dot-product attention, softmax(q kᵀ/√d + mask) v (Vaswani et al. 2017).

    Args:
        q: Queries (n, l, h, d): examples, length, heads, width.
        k: Keys (n, m, g, d). Each of their heads is shared by h/g neighbouring heads of the queries.
        v: Values (n, m, g, e).
        mask: Array that broadcasts against the scores (n, h, l, m): booleans, False where a query does not attend to a
            key, or numbers to be added, −∞ where it does not. The output for a query that attends to no key is 0.
        causal: Whether no query attends to keys that come after it.

    Returns:
        Weighted means of the values, (n, l, h, e).

    Raises:
        ValueError: The shapes do not fit.
        TypeError: The mask is neither boolean nor real.

    Examples:
        >>> q, k = jnp.ones((1, 16, 8, 4)), jnp.ones((1, 16, 2, 4))
        >>> attention(q, k, k, causal=True).shape
        (1, 16, 8, 4)
    """
    _check(q, k, v, mask)
    k, v = _repeated(k, q), _repeated(v, q)
    scores = jnp.einsum("nlhd,nmhd->nhlm", q, k) / math.sqrt(q.shape[-1])
    if causal:
        scores = jnp.where(is_allowed(jnp.arange(q.shape[1]), k.shape[1]), scores, -jnp.inf)
    if mask is None:
        weights = jax.nn.softmax(scores)
    else:
        scores = masked(scores, four_axes(mask))
        blind = (scores == -jnp.inf).all(-1, keepdims=True)
        weights = jnp.where(blind, 0, jax.nn.softmax(jnp.where(blind, 0, scores)))
    return jnp.einsum("nhlm,nmhe->nlhe", weights, v)


@attention.rule
def attention_rule(q, k, v, mask, *, causal):
    """With s the scores and p = softmax(s):  p̄ = ō vᵀ,  s̄ = p (p̄ − Σ p p̄),

    q̄ = s̄ k/√d,  k̄ = s̄ᵀ q/√d,  v̄ = pᵀ ō,  mask̅ = s̄

    Gain: computes scores one tile at a time, in the cache, and stores two numbers for each query; for short sequences,
    stores only the weights.
    """
    _check(q, k, v, mask)
    form = _at_once if q.shape[1] * k.shape[1] <= SHORT else _in_tiles
    return form(q, k, v, mask, causal)


def _at_once(q, k, v, mask, causal):
    scale = 1 / math.sqrt(q.shape[-1])
    wide_q, wide_k, wide_v = upcast((q, _repeated(k, q), _repeated(v, q)))
    scores = jnp.einsum("nlhd,nmhd->nhlm", wide_q * scale, wide_k)
    scores = masked(scores, four_axes(mask))
    if causal:
        scores = jnp.where(is_allowed(jnp.arange(q.shape[1]), k.shape[1]), scores, -jnp.inf)
    e, _, share = softmax_parts(scores)
    p = e * share

    def pullback(q, k, v, mask, p, do):
        wide_q, wide_do = upcast((q, do))
        wide_k, wide_v = upcast((_repeated(k, q), _repeated(v, q)))
        dv = jnp.einsum("nhlm,nlhe->nmhe", p, wide_do)
        dp = jnp.einsum("nlhe,nmhe->nhlm", wide_do, wide_v)
        ds = p * (dp - (p * dp).sum(-1, keepdims=True))
        dq = jnp.einsum("nhlm,nmhd->nlhd", ds, wide_k) * scale
        dk = jnp.einsum("nhlm,nlhd->nmhd", ds, wide_q) * scale
        no_mask = mask is None or mask.dtype == bool
        dmask = None if no_mask else unbroadcast(ds, jax.typeof(mask))
        return like(q, dq), like(k, _of_group(dk, k)), like(v, _of_group(dv, v)), dmask

    return like(v, jnp.einsum("nhlm,nmhe->nlhe", p, wide_v)), saving(pullback, q, k, v, mask, p)


def _of_group(dx, x):
    """The cotangent of keys or values, from those for each head of the queries."""
    n, m, heads, width = dx.shape
    return dx.reshape(n, m, x.shape[2], heads // x.shape[2], width).sum(3)


def _in_tiles(q, k, v, mask, causal):
    tiles = _Tiles(q, k, causal)

    def in_blocks(q, k, v, mask):
        o, top, share = attention_blocks.forward(q, k, v, mask, causal)
        return o, tiles.apart(top), tiles.apart(share)

    def pullback_in_blocks(q, k, v, mask, top, share, do):
        return attention_blocks.pullback(q, k, v, mask, tiles.together(top), do, causal)

    def pullback(q, k, v, mask, top, share, do):
        return by_platform(tiles.pullback, pullback_in_blocks)(q, k, v, mask, top, share, do)

    o, top, share = by_platform(tiles.forward, in_blocks)(q, k, v, mask)
    return o, saving(pullback, q, k, v, mask, top, share)


class _Tiles:
    """Attention on a CPU, a tile after the other: some queries of one head."""

    def __init__(self, q, k, causal):
        self.n, self.length, self.heads, self.d = q.shape
        self.m, self.group, self.causal = k.shape[1], q.shape[2] // k.shape[2], causal
        self.of_head = -(-self.length // max(16, CACHE // (4 * self.m)))
        self.rows = -(-self.length // self.of_head)

    def forward(self, q, k, v, mask):
        """The output, and for each tile the largest score of each query and the share of that."""
        whole_q, whole_mask = self.whole(q), self.whole_mask(mask)

        def of_tile(_, i):
            e, top, share = softmax_parts(self.scores(whole_q, k, whole_mask, i))
            return None, ((e @ self.keys(v, i)) * share, top, share)

        o, top, share = lax.scan(of_tile, None, self.every)[1]
        return like(v, self.together(o)), top, share

    def pullback(self, q, k, v, mask, top, share, do):
        """The cotangents of q, k, v and the mask."""
        whole_q, whole_do, whole_mask = self.whole(q), self.whole(do), self.whole_mask(mask)

        def of_tile(sums, i):
            dk, dv, dmask = sums
            q_i, do_i = self.queries(whole_q, i), self.queries(whole_do, i)
            k_i, v_i = self.keys(k, i), self.keys(v, i)
            p = jnp.exp(self.scores(whole_q, k, whole_mask, i) - top[i]) * share[i]
            dv_i, p = lax.optimization_barrier((p.T @ do_i, p))
            dp = do_i @ v_i.T
            # As an einsum: under vmap over keys or values, XLA for CPUs (JAX 0.10) fuses a sum of products with
            # do_i @ v_i.T and computes that of another example.
            ds = p * (dp - jnp.einsum("lm,lm->l", p, dp)[:, None])
            dq_i, ds = lax.optimization_barrier((ds @ k_i, ds))
            return (self.to_keys(dk, ds.T @ q_i, i), self.to_keys(dv, dv_i, i), self.to_mask(dmask, ds, i)), dq_i

        dmask = None if whole_mask is None or whole_mask.dtype == bool else zeros(whole_mask.shape, q)
        sums = zeros(k.shape, q), zeros(v.shape, q), dmask
        (dk, dv, dmask), dq = lax.scan(of_tile, sums, self.every)
        scale = 1 / math.sqrt(self.d)
        dq = self.together(dq) * scale
        return like(q, dq), like(k, dk * scale), like(v, dv), self.mask_cotangent(dmask, mask)

    @property
    def every(self):
        return jnp.arange(self.n * self.heads * self.of_head)

    def place(self, i):
        """Example, head and first query."""
        head = i // self.of_head
        return head // self.heads, head % self.heads, i % self.of_head * self.rows

    def whole(self, x, axis=1):
        """x padded with zeros to the number of queries in the tiles of a head."""
        missing = self.rows * self.of_head - x.shape[axis]
        return jnp.pad(x, [(0, missing * (a == axis)) for a in range(x.ndim)]) if missing else x

    def whole_mask(self, mask):
        mask = four_axes(mask)
        return mask if mask is None or mask.shape[2] == 1 else self.whole(mask, 2)

    def queries(self, x, i):
        """The queries of tile i, from an array (n, l, h, e)."""
        example, head, start = self.place(i)
        return upcast(lax.dynamic_slice(x, (example, start, head, 0), (1, self.rows, 1, x.shape[3]))[0, :, 0])

    def keys(self, x, i):
        """The keys or values of tile i, from an array (n, m, g, e)."""
        return upcast(lax.dynamic_slice(x, *self._of_keys(x, i))[0, :, 0])

    def to_keys(self, total, x, i):
        """`total` with x added at the keys of tile i."""
        at, size = self._of_keys(total, i)
        return lax.dynamic_update_slice(total, lax.dynamic_slice(total, at, size) + x[None, :, None], at)

    def _of_keys(self, x, i):
        example, head, _ = self.place(i)
        return (example, 0, head // self.group, 0), (1, self.m, 1, x.shape[3])

    def to_mask(self, total, ds, i):
        """`total`, a cotangent of the mask, with s̄ added at tile i, summed where the mask is broadcast."""
        if total is None:
            return None
        at, size = self._of_mask(total, i)
        stretched = tuple(axis for axis in (0, 1) if size[axis + 2] == 1)
        ds = ds.sum(stretched, keepdims=True)[None, None]
        return lax.dynamic_update_slice(total, lax.dynamic_slice(total, at, size) + ds, at)

    def mask_cotangent(self, dmask, mask):
        if dmask is None:
            return None
        cut = dmask if dmask.shape[2] == 1 else dmask[:, :, : self.length]
        return like(mask, cut.reshape(mask.shape))

    def _of_mask(self, mask, i):
        at = [0 if size == 1 else first for size, first in zip(mask.shape, (*self.place(i), 0), strict=True)]
        return at, (1, 1, 1 if mask.shape[2] == 1 else self.rows, mask.shape[3])

    def scores(self, q, k, mask, i):
        scores = (self.queries(q, i) * (1 / math.sqrt(self.d))) @ self.keys(k, i).T
        if mask is not None:
            scores = masked(scores, lax.dynamic_slice(mask, *self._of_mask(mask, i))[0, 0])
        if self.causal:
            scores = jnp.where(is_allowed(self.place(i)[2] + jnp.arange(self.rows), self.m), scores, -jnp.inf)
        return scores

    def together(self, tiles):
        """Tiles (tiles, rows, e) as an array (n, l, h, e)."""
        x = tiles.reshape(self.n, self.heads, self.rows * self.of_head, tiles.shape[-1])
        return x[:, :, : self.length].swapaxes(1, 2)

    def apart(self, x):
        """The transpose of `together`: an array (n, l, h, e) as tiles, the last of a head filled up with zeros."""
        return self.whole(x).swapaxes(1, 2).reshape(-1, self.rows, x.shape[-1])


def _repeated(x, q):
    """Keys or values once for each head of the queries."""
    group = q.shape[2] // x.shape[2]
    return jnp.repeat(x, group, 2) if group > 1 else x


def _check(q, k, v, mask):
    shapes = f"q: {q.shape}, k: {k.shape}, v: {v.shape}"
    if not q.ndim == k.ndim == v.ndim == 4:
        raise ValueError(f"attention: q, k and v must be (examples, length, heads, width), got {shapes}")
    if q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3] or k.shape[:3] != v.shape[:3]:
        raise ValueError(f"attention: q (n, l, h, d), k (n, m, g, d) and v (n, m, g, e) do not fit: {shapes}")
    if not k.shape[2] or q.shape[2] % k.shape[2]:
        raise ValueError(f"attention: {q.shape[2]} heads of q cannot share {k.shape[2]} heads of k and v ({shapes})")
    if mask is None:
        return
    scores = (q.shape[0], q.shape[2], q.shape[1], k.shape[1])
    if mask.ndim > 4 or any(m not in (1, s) for m, s in zip(mask.shape[::-1], scores[::-1], strict=False)):
        raise ValueError(f"attention: mask must broadcast against the scores, {scores}, got {mask.shape}")
    if mask.dtype != bool and not jnp.issubdtype(mask.dtype, jnp.floating):
        raise TypeError(f"attention: mask must be booleans or numbers to be added, got {mask.dtype}")
