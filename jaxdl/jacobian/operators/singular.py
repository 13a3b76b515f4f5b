"""The largest singular value of an operator, by products with it."""

import jax
import jax.numpy as jnp

LANCZOS = 40  # steps, at most


def largest_singular_value(operator):
    """By Lanczos on JᴴJ or JJᴴ, whichever is smaller, orthogonalised in full: √ of its largest Ritz value."""
    m, n = operator.shape
    small = operator if n <= m else operator.T
    size = small.shape[1]
    if not size:
        return jnp.zeros((), operator.dtype)
    steps = min(size, LANCZOS)
    start = jax.random.normal(jax.random.key(0), (size,), operator.dtype)
    gram = lambda v: small.pull(small.push(v).conj()).conj().astype(operator.dtype)

    def step(i, state):
        basis, diagonal, below, v = state
        basis = basis.at[i].set(v)
        w = gram(v)
        alpha = jnp.vdot(v, w).real
        for _ in range(2):
            w = w - basis.T @ (basis.conj() @ w)
        beta = jnp.sqrt((jnp.abs(w) ** 2).sum())
        done = beta <= 100 * jnp.finfo(beta.dtype).eps * jnp.maximum(alpha, diagonal.max())
        beta = jnp.where(done, 0, beta)
        v = jnp.where(done, 0, w / jnp.where(done, 1, beta))
        return basis, diagonal.at[i].set(alpha), below.at[i].set(beta), v

    zeros = jnp.zeros(steps, start.real.dtype)
    first = start / jnp.sqrt((jnp.abs(start) ** 2).sum())
    _, diagonal, below, _ = jax.lax.fori_loop(
        0, steps, step, (jnp.zeros((steps, size), start.dtype), zeros, zeros, first)
    )
    ritz = jnp.diag(diagonal) + jnp.diag(below[:-1], 1) + jnp.diag(below[:-1], -1)
    return jnp.sqrt(jnp.linalg.eigvalsh(ritz)[-1].clip(0))
