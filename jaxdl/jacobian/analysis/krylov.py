"""Krylov methods: the tridiagonal matrix of Lanczos, and the largest singular value of an operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

MOST_LANCZOS_STEPS = 40  # of Lanczos, for a singular value


def lanczos(symmetric: Callable[..., Any], start: jax.Array, steps: int) -> jax.Array:
    """The tridiagonal matrix T = Qᴴ A Q of a Hermitian A.

    Each vector is orthogonalised against all before, twice (Parlett 1998, chapter 13). Memory grows with
    steps · start.size.

    Args:
        symmetric: The map v ↦ A v.
        start: A unit vector.
        steps: The size of T.

    Returns:
        T, real, (steps, steps); 0 from where the Krylov space of A and `start` ends.
    """

    def step(carry, i):
        basis, largest = carry
        w = symmetric(basis[i])
        alpha = jnp.vdot(basis[i], w).real
        largest = jnp.maximum(largest, jnp.abs(alpha))
        for _ in range(2):
            w = w - basis.T @ (basis.conj() @ w)
        beta = jnp.sqrt((jnp.abs(w) ** 2).sum())
        ended = beta <= 100 * jnp.finfo(beta.dtype).eps * largest
        beta = jnp.where(ended, 0, beta)
        following = jnp.where(ended, 0, w / jnp.where(ended, 1, beta).astype(w.dtype))
        return (basis.at[i + 1].set(following, mode="drop"), largest), (alpha, beta)

    basis = jnp.zeros((steps, start.size), start.dtype).at[0].set(start)
    first = basis, jnp.zeros((), start.real.dtype)
    _, (diagonal, below) = jax.lax.scan(step, first, jnp.arange(steps))
    return jnp.diag(diagonal) + jnp.diag(below[:-1], 1) + jnp.diag(below[:-1], -1)


def largest_singular_value(operator: Any) -> jax.Array:
    """√ of the largest eigenvalue that Lanczos finds of JᴴJ or JJᴴ, whichever is smaller, with a fixed random start.

    Args:
        operator: J, an `Operator`.
    """
    m, n = operator.shape
    small = operator if n <= m else operator.T
    size = small.shape[1]
    if not size:
        return jnp.zeros((), operator.dtype)
    start = jax.random.normal(jax.random.key(0), (size,), operator.dtype)
    start = start / jnp.sqrt((jnp.abs(start) ** 2).sum()).astype(start.dtype)
    gram = lambda v: small.pull(small.push(v).conj()).conj().astype(operator.dtype)
    return jnp.sqrt(jnp.linalg.eigvalsh(lanczos(gram, start, min(size, MOST_LANCZOS_STEPS)))[-1].clip(0))
