"""Look-up in a table."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact, Int, UInt

from jaxdl.ops.precision import at_least_32_bits, like, upcast
from jaxdl.rule import op, saving


@op
def embedding(table: Inexact[Array, "v d"], indices: Int[Array, "*n"] | UInt[Array, "*n"]) -> Inexact[Array, "*n d"]:
    """y = table[indices], the rows of a table.

    Args:
        table: Rows (v, d).
        indices: Integers (*n). An index outside 0 … v − 1 gives a row of NaN.

    Returns:
        Rows (*n, d).

    Raises:
        TypeError: The indices are not integers.
        ValueError: The table has not two axes.

    Examples:
        >>> embedding(jnp.ones((100, 8)), jnp.array([[0, 99], [5, 5]])).shape
        (2, 2, 8)
    """
    if not jnp.issubdtype(indices.dtype, jnp.integer):
        raise TypeError(f"embedding: indices must be integers, got {indices.dtype}")
    if table.ndim != 2:
        raise ValueError(f"embedding: table must be (v, d), got {table.shape}")
    return _rows(table, at_least_32_bits(indices))


@embedding.rule
def embedding_rule(table, indices):
    """table̅ᵢ = Σ ȳₙ over all n with indices n = i

    Gain: stores only the indices.
    """
    type, indices = jax.typeof(table), at_least_32_bits(indices)

    def pullback(indices, dy):
        wide = upcast(dy)
        outside = jnp.where(indices < 0, type.shape[0], indices)
        return like(type, jnp.zeros(type.shape, wide.dtype).at[outside].add(wide, mode="drop")), None

    return _rows(table, indices), saving(pullback, indices)


def _rows(table, indices):
    inside = (indices >= 0) & (indices < table.shape[0])
    return jnp.where(inside[..., None], table.at[indices].get(mode="clip"), jnp.nan)
