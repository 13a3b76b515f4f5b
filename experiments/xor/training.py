"""ReLU networks trained on XOR from many seeds at once."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxdl import data, nn, ops, train

WIDTHS = (1, 2, 3, 4, 8, 16)
STUCK_AND_SOLVED = 3  # a width at which some seeds succeed and some fail


def measure(seeds: int, steps: int) -> dict:
    """For each width and seed: the parameters, the loss, and the number of correct points."""
    x, y = data.xor()
    keys = jax.random.split(jax.random.key(0), seeds)
    found = {}
    for width in WIDTHS:
        model = nn.mlp(width, 1)
        params = full_batch(model, logistic, optax.adam(0.02), x, y, steps)(keys)
        z = jax.vmap(lambda p, model=model: model.apply(p, x)[:, 0])(params)
        right = ((z > 0) == y[None].astype(bool)).sum(1)
        loss = jax.vmap(lambda z: ops.logistic_loss(z, y).mean())(z)
        found[width] = {"params": params, "loss": loss, "right": right}
    return found


def logistic(output, y):
    return ops.logistic_loss(output[:, 0], y).mean()


def squared(output, y):
    return ops.squared_error(output[:, 0], y.astype(output.dtype)).mean()


def full_batch(model: nn.Layer, loss: Callable, optimizer, x, y, steps: int) -> Callable:
    """A function of keys that trains one model for each key, all at once, with all examples in each step."""
    epoch = train.compiled_epoch(model, loss, optimizer)
    rows = jnp.tile(jnp.arange(len(x))[None], (steps, 1))

    def one(key):
        params = model.init(key, x.shape[1:])
        return epoch(params, optimizer.init(params), jnp.asarray(x), jnp.asarray(y), rows, key)[0]

    def train_all(keys):
        with jax.numpy_dtype_promotion("standard"):  # optax mixes the types of its numbers
            return jax.jit(jax.vmap(one))(keys)

    return train_all
