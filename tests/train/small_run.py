"""A small run with or without checkpoints, and comparisons of two runs."""

import jax
import numpy as np
import optax

from jaxdl import nn, ops
from jaxdl.train import fit
from tests.draws import draw

X, Y = np.asarray(draw(0, 60, 3)), np.asarray(draw(1, 60, 1))
MODEL = nn.serial(nn.dense(8), nn.tanh, nn.dropout(0.5), nn.dense(1))
RUN = {"model": MODEL, "loss": ops.squared_error, "data": (X, Y), "optimizer": optax.sgd(0.05), "batch": 20}


def run(key, folder=None, epochs=4, **settings):
    settings = {"batch": 20, "test": (X, Y)} | settings
    data = settings.pop("data", (X, Y))
    optimizer = optax.sgd(0.05, momentum=0.9)
    return fit(MODEL, ops.squared_error, data, optimizer, epochs, key, checkpoint=folder, quiet=True, **settings)


def assert_same_bits(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def without_seconds(history):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def newest(folder):
    return max(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def kept(key, folder, epochs=1, **settings):
    settings = RUN | settings
    own = [settings.pop(name) for name in ("model", "loss", "data", "optimizer")]
    with jax.numpy_dtype_promotion("standard"):  # optax's schedules promote
        return fit(*own, epochs, key, checkpoint=folder, quiet=True, **settings)
