"""What `fit` and its helpers say of models, losses, optimisers, keys and batches that are none."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import nn, train
from tests.train.small_run import X, Y, kept


def with_parameter(n):
    return nn.Layer(lambda key, shape: {"w": jnp.ones(()), "n": n}, lambda p, x, key=None: x[:, :1] * p["w"])


ERRORS = {
    "fit: model must be a layer of jaxdl.nn, with init and apply, got <function": {"model": lambda x: x},
    "fit: optimizer must be an optimiser of optax, such as optax.adam.1e-3., got None": {"optimizer": None},
    "fit: optimizer must be an optimiser of optax, such as optax.adam.1e-3., got 0.1": {"optimizer": 0.1},
    "fit: optimizer must be an optimiser of optax, .*, got <class": {"optimizer": optax.GradientTransformation},
    "optimizer does not take the parameters of the model .*fast.*: optax.lookahead": {
        "optimizer": optax.lookahead(optax.sgd(0.1), 5, 0.5)
    },
    r"fit: the model's parameters\['n'\] are int32, which has no gradient": {"model": with_parameter(jnp.int32(3))},
    r"fit: the model's parameters\['n'\] are key<fry>, which": {"model": with_parameter(jax.random.key(0))},
    "fit: data.1. is of dtype <U., which JAX has not: make numbers": {"data": (X, Y.astype("U1"))},
    "fit: data.0. is of dtype >f4, which JAX has not": {"data": (X.astype(">f4"), Y)},
    "fit: data.0. is a masked array, which JAX has not": {"data": (np.ma.masked_array(X), Y)},
    "the loss must be an array of floating-point numbers, got tuple": {"loss": lambda output, y: (output.mean(), 1)},
    r"the loss must be an array of floating-point numbers, got int32\[\]": {"loss": lambda output, y: jnp.int32(1)},
    "the loss must be an array of floating-point numbers, got float": {"loss": lambda output, y: 1.0},
    r"metric 'error' must be one number, got float32\[60,1\]": {
        "test": (X, Y), "metrics": {"error": lambda output, y: output - y},
    },
    "metric 'pair' must be one number, got tuple": {"test": (X, Y), "metrics": {"pair": lambda output, y: (1, 2)}},
}  # fmt: skip


@pytest.mark.parametrize("message", ERRORS)
def test_parts_of_a_run(message, key, tmp_path):
    with pytest.raises(TypeError, match=message):
        kept(key, None, **ERRORS[message])


@pytest.mark.parametrize("given", [0, None, jax.random.split(jax.random.key(0), 2)])
def test_keys(given):
    with pytest.raises(TypeError, match=r"fit: key must be one key, such as jax.random.key\(0\), got"):
        kept(given, None)


def test_parameters_may_be_numbers(key, tmp_path):
    """They are saved as arrays."""
    model = nn.Layer(
        lambda key, shape: {"w": 1.0, "b": np.zeros((1, 1))}, lambda p, x, key=None: x[:, :1] * p["w"] + p["b"]
    )
    whole, _ = kept(key, None, 2, model=model), kept(key, tmp_path, 1, model=model)
    resumed = kept(key, tmp_path, 2, model=model)
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)


@pytest.mark.parametrize("parts", [0, -2, 1.5])
def test_numbers_of_parts(parts):
    with pytest.raises(ValueError, match="accumulated: parts must be a whole number, 1 or more, got"):
        train.accumulated(jax.value_and_grad(lambda w, x: (w * x).mean()), parts)


def test_a_batch_of_one_number():
    with pytest.raises(ValueError, match="in the batch is one number, not an array with examples along"):
        train.accumulated(jax.value_and_grad(lambda w, x: w * x), 2)(1.0, 4.0)
