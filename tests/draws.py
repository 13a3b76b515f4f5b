"""Random arrays for tests, drawn as those of the cases in `jaxdl.ops.op_cases`."""

import jax.numpy as jnp

from jaxdl.ops.op_cases import normal


def draw(seed, *shape, dtype=jnp.float32):
    """An array of normally distributed numbers; complex dtypes in both parts."""
    return normal(shape)(seed, dtype)[0]
