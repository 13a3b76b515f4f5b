"""The benchmark's functions in PyTorch and CasADi are those in JAX: their Jacobians agree."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.jacobian_functions.table import ROWS

SMALL = {"softmax": 5, "attention, length": 5, "bundle adjustment, observations": 8, "Brusselator 2-D": 18}
SMALL |= dict.fromkeys(("ReLU layer", "ReLU layer, by W", "MLP", "MLP, depth", "shared weights"), 6)
MAKERS = {row.name: row.maker for row in ROWS}
DENSE = {"convolutions, side", "MLP, depth", "attention, length"}  # translated in half a minute, or refused
TOO_LARGE = {"autoencoder, code", "Gaussian mixture, components", "hand, points", "hand on triangles, points"}


def point(name):
    f, x, *_ = MAKERS[name](SMALL.get(name, 12))
    return f, x


def close(found, f, x):
    true = np.asarray(jax.jit(jax.jacfwd(f))(x))
    np.testing.assert_allclose(np.reshape(found, true.shape), true, rtol=1e-4, atol=1e-4 * np.abs(true).max())


@pytest.mark.parametrize("name", sorted(MAKERS.keys() - TOO_LARGE - {"LSTM, layers"}))
def test_pytorch(name):
    torch = pytest.importorskip("torch")
    from benchmarks.jacobian_functions.torch_twins import twin

    f, x = point(name)
    g, y = twin(name, f, x)
    close(torch.func.jacfwd(g)(y).numpy(), f, x)


@pytest.mark.parametrize("name", sorted(MAKERS.keys() - TOO_LARGE - DENSE - {"LSTM, layers"}))
def test_casadi(name):
    pytest.importorskip("casadi")
    from benchmarks.jacobian_functions.casadi_twins import jacobian_in_casadi

    f, x = point(name)
    function = jacobian_in_casadi(f, x)
    close(np.asarray(function(np.asarray(x, np.float64).reshape(-1, 1))).T, f, x)


def test_casadi_refuses_by_name():
    pytest.importorskip("casadi")
    from benchmarks.jacobian_functions.casadi_twins import Untranslatable, jacobian_in_casadi

    with pytest.raises(Untranslatable, match="no translation of sort"):
        jacobian_in_casadi(jnp.sort, jnp.ones(3))
    with pytest.raises(Untranslatable, match="operations, each a node"):
        jacobian_in_casadi(lambda x: x @ x, jnp.ones((50, 50)))
