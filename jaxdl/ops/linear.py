"""Matrix products, affine layers, table look-up and dropout."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int, Key, UInt

from jaxdl.ops.precision import at_least_32_bits, fitted, like, widened
from jaxdl.rule import op, saving


@op
def matmul(x, y):
    """z = x y, the matrix product, with the broadcasting of `jnp.matmul`: (…, n, k), (…, k, m) → (…, n, m)."""
    if x.ndim == 0 or y.ndim == 0 or x.shape[-1] != y.shape[-2:][0]:
        raise ValueError(f"matmul: x's last axis must have the length of y's last but one, got {x.shape} and {y.shape}")
    return x @ y


@matmul.rule
def matmul_rule(x, y):
    """x̄ = z̄ yᵀ,  ȳ = xᵀ z̄, with vectors as one row or one column"""

    def pullback(x, y, dz):
        row, column = jnp.atleast_2d(x), y[:, None] if y.ndim == 1 else y
        dz = jnp.expand_dims(dz, (-2,) * (x.ndim == 1) + (-1,) * (y.ndim == 1))
        dx, dy = dz @ column.mT, row.mT @ dz
        return (
            fitted(dx[..., 0, :] if x.ndim == 1 else dx, x),
            fitted(dy[..., 0] if y.ndim == 1 else dy, y),
        )

    return x @ y, saving(pullback, x, y)


@op
def dense(x: Inexact[Array, "*n i"], w: Inexact[Array, "i o"], b: Inexact[Array, " o"]) -> Inexact[Array, "*n o"]:
    """y = x w + b, an affine layer on any leading batch shape: (*n, i), (i, o), (o,) → (*n, o)."""
    if w.ndim != 2 or x.ndim < 1 or x.shape[-1] != w.shape[0] or b.shape != w.shape[1:]:
        raise ValueError(f"dense: x (*n, i), w (i, o) and b (o,) do not fit: x: {x.shape}, w: {w.shape}, b: {b.shape}")
    return x @ w + _as_row(b, x.ndim)


@dense.rule
def dense_rule(x, w, b):
    """x̄ = ȳ wᵀ,   w̄ = xᵀ ȳ,   b̄ = Σ ȳ"""
    b_type = jax.typeof(b)

    def pullback(x, w, dy):
        rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
        return like(x, dy @ w.T), like(w, rows.T @ drows), like(b_type, drows.sum(0))

    return x @ w + _as_row(b, x.ndim), saving(pullback, x, w)


def _as_row(b, ndim):
    return b.reshape((1,) * (ndim - 1) + b.shape)


@op
def embedding(table: Inexact[Array, "v d"], indices: Int[Array, "*n"] | UInt[Array, "*n"]) -> Inexact[Array, "*n d"]:
    """y = table[indices]: (v, d), integers (*n) → (*n, d). An index outside 0 … v − 1 gives a row of NaN."""
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise TypeError(f"embedding: indices must be integers, got {indices.dtype}")
    if table.ndim != 2:
        raise ValueError(f"embedding: table must be (v, d), got {table.shape}")
    return _looked_up(table, at_least_32_bits(indices))


@embedding.rule
def embedding_rule(table, indices):
    """table̅ᵢ = Σ ȳₙ over all n with indices n = i

    Gain: only the indices are kept.
    """
    type, indices = jax.typeof(table), at_least_32_bits(indices)

    def pullback(indices, dy):
        wide = widened(dy)
        outside = jnp.where(indices < 0, type.shape[0], indices)
        return like(type, jnp.zeros(type.shape, wide.dtype).at[outside].add(wide, mode="drop")), None

    return _looked_up(table, indices), saving(pullback, indices)


def _looked_up(table, indices):
    inside = (indices >= 0) & (indices < table.shape[0])
    return jnp.where(inside[..., None], table.at[indices].get(mode="clip"), jnp.nan)


@op
def dropout(x: Float[Array, "..."], key: Key[Array, ""] | UInt[Array, "2"], *, rate: float) -> Float[Array, "..."]:
    """y = x m / (1 − rate), each m independently 0 with probability rate, else 1 (Srivastava et al. 2014)."""
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: rate must be in [0, 1), got {rate}")
    return jnp.where(_kept(key, x, rate), x / (1 - rate), 0)


@dropout.rule
def dropout_rule(x, key, *, rate):
    """x̄ = ȳ m / (1 − rate)

    Gain: one byte an element is kept.
    """
    kept = _kept(key, x, rate)

    def pullback(kept, dy):
        return jnp.where(kept, dy / (1 - rate), 0), None

    return jnp.where(kept, x / (1 - rate), 0), saving(pullback, kept)


def _kept(key, x, rate):
    # With a float32 probability the draw is the same whether or not float64 is enabled.
    return jax.random.bernoulli(key, jnp.float32(1 - rate), x.shape)
