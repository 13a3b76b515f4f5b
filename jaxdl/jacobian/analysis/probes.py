"""Whether a matrix is a function's Jacobian, by one random product: J v by a tangent, or vᵀ J by a cotangent."""

import jax
import jax.numpy as jnp
import numpy as np


def product(f, x, forward: bool):
    """A random v and what JAX makes of it: (v, J v), or (v, vᵀ J) where it is not forward."""
    if forward:
        v = random_signs(x.size, x.dtype)
        return v, jax.jvp(f, (x,), (v,))[1]
    y, pullback = jax.vjp(f, x)
    v = random_signs(y.size, y.dtype)
    return v, pullback(v)[0]


def random_signs(size, dtype):
    """Signs at random and sizes between a half and three halves: no sum of a few vanishes by chance."""
    random = np.random.default_rng(0)
    return jnp.asarray(random.choice([-1, 1], size) * random.uniform(0.5, 1.5, size), dtype)


def close(found, true, terms):
    """Whether a product is the true one: up to the square root of the precision, relative to its terms' sizes.

    Where the true one is not finite, anything passes.
    """
    allowed = jnp.sqrt(jnp.finfo(found.dtype).eps).astype(terms.dtype)
    true = true.astype(found.dtype)
    within = jnp.abs(found - true) <= allowed * (terms + jnp.abs(true))
    return jnp.all(within | ~jnp.isfinite(true))


def agrees(matrix, f, x, forward: bool):
    """Whether the matrix gives that product; and whether any of it was finite, so that this says something."""
    v, true = product(f, x, forward)
    exact = jnp.result_type(matrix.dtype, jnp.float32) if matrix.dtype.itemsize < 4 else matrix.dtype
    matrix, v = (a.astype(exact) for a in (matrix if forward else matrix.T, v))
    right = close((matrix @ v).astype(true.dtype), true, (jnp.abs(matrix) @ jnp.abs(v)).astype(jnp.abs(true).dtype))
    return right, jnp.isfinite(true).any()
