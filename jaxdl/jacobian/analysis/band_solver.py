"""Linear systems with a banded matrix, by LU decomposition with partial pivoting, in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def solve_banded(band: jax.Array, lower: int, b: jax.Array) -> jax.Array:
    """x with A x = b.

    Each step eliminates one column from the `lower` + 1 rows that reach it.

    Args:
        band: (n, lower + 1 + upper): row i has the entries of A from column i − lower on, 0 beyond the matrix.
        lower: The number of diagonals below the main one.
        b: (n,).
    """
    width = band.shape[1]
    beyond = jnp.zeros((lower, width), band.dtype)
    new_rows = jnp.concatenate([band[1:], beyond, beyond[:1]] if lower else [band[1:], jnp.zeros_like(band[:1])])
    new_sides = jnp.concatenate([b[1:], jnp.zeros(lower + 1, b.dtype)])
    # Rows of the identity stand before the first row, so that each step is the same.
    rows = jnp.concatenate([jnp.eye(lower, width, dtype=band.dtype), band[:1]])
    sides = jnp.concatenate([jnp.zeros(lower, b.dtype), b[:1]])

    def eliminate(carry, new):
        rows, sides = carry
        pivot = jnp.argmax(jnp.abs(rows[:, 0]))
        row, side = rows[pivot], sides[pivot]
        rows, sides = rows.at[pivot].set(rows[0]), sides.at[pivot].set(sides[0])
        factors = rows[1:, 0] / row[0]
        left = rows[1:] - factors[:, None] * row[None]
        rows = jnp.concatenate([jnp.pad(left[:, 1:], ((0, 0), (0, 1))), new[0][None]])
        return (rows, jnp.concatenate([sides[1:] - factors * side, new[1][None]])), (row, side)

    _, (upper, sides) = jax.lax.scan(eliminate, (rows, sides), (new_rows, new_sides))

    def substitute(after, row_and_side):
        row, side = row_and_side
        x = (side - row[1:] @ after) / row[0]
        return jnp.concatenate([x[None], after])[: width - 1], x

    return jax.lax.scan(substitute, jnp.zeros(width - 1, b.dtype), (upper, sides), reverse=True)[1][lower:]
