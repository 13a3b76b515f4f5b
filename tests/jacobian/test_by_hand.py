"""The Jacobians by hand of the benchmark's functions are those of JAX in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.jacobian_functions.table import ROWS

SMALL = {
    "softmax": 5,
    "convolutions, side": 5,
    "MLP, depth": 3,
    "autoencoder, code": 2,
    "shared weights": 4,
    "attention, length": 5,
    "Gaussian mixture, components": 3,
    "bundle adjustment, observations": 8,
    "hand, points": 4,
    "hand on triangles, points": 4,
    "LSTM, layers": 2,
    "Brusselator 2-D": 18,
} | dict.fromkeys(("ReLU layer", "ReLU layer, by W", "MLP"), 6)
MAKERS = {row.name: row.maker for row in ROWS}
WITHOUT = {"Roe flux 1-D", "Roe flux 3-D"}


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in WITHOUT])
def test_equals_jax(name):
    with jax.enable_x64(True):
        f, x, by_hand = MAKERS[name](SMALL.get(name, 12))
        x = x.astype(jnp.float64)
        few_outputs = jax.eval_shape(f, x).size < x.size
        both = lambda x: (by_hand(x), (jax.jacrev if few_outputs else jax.jacfwd)(f)(x))
        found, true = jax.jit(both)(x)
        assert found.dtype == true.dtype == jnp.float64
        np.testing.assert_allclose(found, true, rtol=1e-9, atol=1e-9 * float(jnp.abs(true).max()))
