"""Lanczos' tridiagonal matrix of a symmetric operator."""

import jax
import jax.numpy as jnp


def lanczos(symmetric, start, steps):
    """The (steps, steps) real tridiagonal T = Qᴴ A Q of a Hermitian A, v ↦ A v, from the unit vector `start`.

    Each vector is orthogonalised against all before, twice (Parlett 1998, chapter 13). Where the space of A's powers
    on `start` ends earlier, the rest of T is 0. Memory grows with steps · start.size.
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
