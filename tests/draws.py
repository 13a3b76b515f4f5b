"""Random numbers for tests, by NumPy: for every shape that JAX draws it compiles a program."""

import jax.numpy as jnp
import numpy as np


def draw(seed, *shape, dtype=jnp.float32):
    """An array of normal numbers; complex formats in both parts."""
    random = np.random.default_rng(seed)
    x = np.asarray(random.standard_normal(shape))
    if jnp.issubdtype(dtype, jnp.complexfloating):
        x = x + 1j * random.standard_normal(shape)
    return jnp.asarray(x.astype(jnp.dtype(dtype)))
