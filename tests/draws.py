"""Random numbers for tests: those of the cases."""

import jax.numpy as jnp

from jaxdl.ops.cases import normal


def draw(seed, *shape, dtype=jnp.float32):
    """An array of normal numbers; complex formats in both parts."""
    return normal(shape)(seed, dtype)[0]
