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


def is_close(found: Any, true: Any, magnitude: Any) -> Any:
    """Whether a product is the true one, up to the square root of the precision relative to its terms.

    The arrays are all JAX's or all NumPy's, and so is the result.

    Args:
        found: The product.
        true: The true product. Where it is not finite, anything passes.
        magnitude: The sum of the absolute values of the terms of each entry.
    """
    allowed = np.sqrt(jnp.finfo(found.dtype).eps).astype(magnitude.dtype)
    true = true.astype(found.dtype)
    within = abs(found - true) <= allowed * (magnitude + abs(true))
    return (within | ~_finite(true)).all()


def agrees(matrix: jax.Array, f: Callable[..., Any], x: jax.Array, forward: bool) -> tuple[jax.Array, jax.Array]:
    """Whether a matrix gives the random product; and whether any of that is finite, so that the test is meaningful."""
    return has_product(matrix, *random_product(f, x, forward), forward)


def has_product(matrix: Any, v: Any, true: Any, forward: bool) -> tuple[Any, Any]:
    """`agrees` with the v and the product that `random_product` returned, all of JAX or all of NumPy."""
    exact = jnp.float32 if matrix.dtype.itemsize < 4 else matrix.dtype
    matrix, v = (a.astype(exact) for a in (matrix if forward else matrix.T, v))
    magnitude = (abs(matrix) @ abs(v)).astype(abs(true).dtype)
    return is_close((matrix @ v).astype(true.dtype), true, magnitude), _finite(true).any()


def _finite(x: Any) -> Any:
    return (jnp if isinstance(x, jax.Array) else np).isfinite(x)
