"""The models of the main job reach what they are said to reach, on the held-out digits."""

import jax
import pytest

from jaxdl.cli.training_recipes import SMALL
from jaxdl.data import load
from jaxdl.train import fit


def trained(name, seed=0):
    recipe, data = SMALL[name], load("digits")
    x, y = (data.train_x, data.train_y), (data.test_x, data.test_y)
    train, test = (x[0], recipe.target(*x)), (y[0], recipe.target(*y))
    optimizer = recipe.optimizer(recipe.epochs * (len(x[0]) // 64))
    with jax.numpy_dtype_promotion("standard"):  # optax's learning rate schedules promote their step count
        run = fit(
            recipe.model(data), recipe.loss, train, optimizer, recipe.epochs, jax.random.key(seed), test=test,
            metrics=recipe.metrics,
        )  # fmt: skip
    return run.history[-1]


@pytest.mark.parametrize(("name", "least"), [("mlp", 0.96), ("convnet", 0.975)])
def test_accuracy(name, least):
    assert trained(name)["accuracy"] >= least


def test_reconstruction_error():
    """Below a third of the error of the mean image, which knows nothing of the example."""
    digits = load("digits")
    mean_error = ((digits.test_x - digits.train_x.mean(0)) ** 2).mean()
    assert trained("autoencoder")["test_loss"] < mean_error / 3
