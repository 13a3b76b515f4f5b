"""Whether a matrix is a function's Jacobian, by one random product: J v by a tangent, or vᵀ J by a cotangent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def random_product(f: Callable[..., Any], x: jax.Array, forward: bool) -> tuple[jax.Array, jax.Array]:
    """A random v and the product by JAX's derivative: (v, J v) if `forward`, else (v, vᵀ J)."""
    if forward:
        v = random_signs(x.size, x.dtype)
        return v, jax.jvp(f, (x,), (v,))[1]
    y, pullback = jax.vjp(f, x)
    v = random_signs(y.size, y.dtype)
    return v, pullback(v)[0]


def random_signs(size: int, dtype: Any) -> jax.Array:
    """Random signs times numbers between 1/2 and 3/2, so that no sum of a few of them is 0 by chance."""
    random = np.random.default_rng(0)
    return jnp.asarray(random.choice([-1, 1], size) * random.uniform(0.5, 1.5, size), dtype)


def is_close(found: jax.Array, true: jax.Array, magnitude: jax.Array) -> jax.Array:
    """Whether a product is the true one, up to the square root of the precision relative to its terms.

    Args:
        found: The product.
        true: The true product. Where it is not finite, anything passes.
        magnitude: The sum of the absolute values of the terms of each entry.
    """
    allowed = jnp.sqrt(jnp.finfo(found.dtype).eps).astype(magnitude.dtype)
    true = true.astype(found.dtype)
    within = jnp.abs(found - true) <= allowed * (magnitude + jnp.abs(true))
    return jnp.all(within | ~jnp.isfinite(true))


def agrees(matrix: jax.Array, f: Callable[..., Any], x: jax.Array, forward: bool) -> tuple[jax.Array, jax.Array]:
    """Whether a matrix gives the random product; and whether any of that is finite, so that the test is meaningful."""
    v, true = random_product(f, x, forward)
    exact = jnp.float32 if matrix.dtype.itemsize < 4 else matrix.dtype
    matrix, v = (a.astype(exact) for a in (matrix if forward else matrix.T, v))
    magnitude = (jnp.abs(matrix) @ jnp.abs(v)).astype(jnp.abs(true).dtype)
    return is_close((matrix @ v).astype(true.dtype), true, magnitude), jnp.isfinite(true).any()
