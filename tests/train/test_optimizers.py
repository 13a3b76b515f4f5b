"""Optimisers of optax that keep the first parameters or keys, or that need the loss."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import nn, ops, train

X = np.asarray(jax.random.normal(jax.random.key(1), (24, 4)))
Y = (X[:, 0] > 0).astype(np.int32)
MODEL = nn.serial(nn.dense(3), nn.tanh, nn.dense(2))
OPTIMIZERS = {
    "noise": lambda: optax.chain(optax.add_noise(0.1, 0.5, jax.random.key(3)), optax.sgd(0.1)),
    "first parameters": lambda: optax.contrib.dog(0.1),
    "sharpness": lambda: optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.01), sync_period=2),
    "polyak": lambda: optax.polyak_sgd(),
    "line search": lambda: optax.lbfgs(),
    "plateau": lambda: optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(patience=1)),
    "several steps": lambda: optax.MultiSteps(optax.polyak_sgd(), 2),
}


def fit(optimizer, epochs, key, **settings):
    loss = ops.softmax_cross_entropy_with_integer_labels
    with jax.numpy_dtype_promotion("standard"):  # optax promotes
        return train.fit(MODEL, loss, (X, Y), optimizer, epochs, key, batch=8, quiet=True, **settings)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_run_is_the_whole_one(name, key, tmp_path):
    whole = fit(OPTIMIZERS[name](), 3, key)
    fit(OPTIMIZERS[name](), 1, key, checkpoint=tmp_path)
    resumed = fit(OPTIMIZERS[name](), 3, key, checkpoint=tmp_path)
    jax.tree.map(np.testing.assert_array_equal, resumed.params, whole.params)
    assert whole.history[-1]["loss"] < whole.history[0]["loss"]


@pytest.mark.parametrize("accumulate", [1, 2])
def test_an_optimizer_gets_the_loss(accumulate, key):
    """Polyak's step size is loss / ‖gradient‖²."""
    loss = ops.softmax_cross_entropy_with_integer_labels
    params, optimizer = MODEL.init(key, (4,)), optax.polyak_sgd(max_learning_rate=1e9)
    step = train.training_step(MODEL, loss, optimizer, accumulate=accumulate)
    found, _, value = step(params, optimizer.init(params), jnp.asarray(X), jnp.asarray(Y), key)
    want, gradients = jax.value_and_grad(lambda p: loss(MODEL.apply(p, jnp.asarray(X)), jnp.asarray(Y)).mean())(params)
    rate = want / sum(jnp.sum(g**2) for g in jax.tree.leaves(gradients))
    np.testing.assert_allclose(value, want, rtol=1e-6)
    close = lambda a, p, g: np.testing.assert_allclose(a, p - rate * g, rtol=1e-5, atol=1e-6)
    jax.tree.map(close, found, params, gradients)


def test_a_model_may_hold_a_key(key, tmp_path):
    """Its bits are part of what identifies the run."""

    def run(seed):
        noise = jax.random.key(seed)
        model = nn.serial(nn.function(lambda x: x + jax.random.normal(noise, x.shape)), MODEL)
        loss = ops.softmax_cross_entropy_with_integer_labels
        return train.fit(model, loss, (X, Y), optax.sgd(0.1), 1, key, quiet=True, checkpoint=tmp_path)

    run(0)
    run(0)
    with pytest.raises(ValueError, match="holds another run: its program"):
        run(1)
