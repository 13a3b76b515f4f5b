"""The largest singular value of an operator, by products with it."""

import jax
import jax.numpy as jnp

from jaxdl.jacobian.lanczos import lanczos

STEPS = 40  # at most


def largest_singular_value(operator):
    """√ of the largest Ritz value of JᴴJ or JJᴴ, whichever is smaller, from a vector drawn with a fixed seed."""
    m, n = operator.shape
    small = operator if n <= m else operator.T
    size = small.shape[1]
    if not size:
        return jnp.zeros((), operator.dtype)
    start = jax.random.normal(jax.random.key(0), (size,), operator.dtype)
    start = start / jnp.sqrt((jnp.abs(start) ** 2).sum()).astype(start.dtype)
    gram = lambda v: small.pull(small.push(v).conj()).conj().astype(operator.dtype)
    return jnp.sqrt(jnp.linalg.eigvalsh(lanczos(gram, start, min(size, STEPS)))[-1].clip(0))
