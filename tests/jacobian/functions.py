"""Functions for all methods: of arrays and pytrees, with hand-written rules, control flow, and constant outputs."""

import jax
import jax.numpy as jnp

from jaxdl import ops
from tests.draws import draw

W = draw(20, 6, 5)


def layer(x):
    """With hand-written rules: (6,) → (5,)."""
    return ops.tanh(ops.matmul(x, W))


def bottleneck(x):
    """(6,) → (5,) through 2 numbers."""
    return jnp.sin(jnp.tanh(x @ W[:, :2]) @ W[:2])


def branching(x):
    """A value used twice, a step function, and constants."""
    a = jnp.tanh(x)
    return jnp.concatenate([a * x.sum(), jnp.where(x > 0, a**2, jnp.floor(x)), jnp.ones(2)])


def scanned(x):
    """Four steps of a recurrence."""
    step = lambda h, w: (jnp.tanh(h * w + x), h.sum())
    return jax.lax.scan(step, x, W.T[:4])[0]


def still(x):
    """A step function."""
    return jnp.zeros(3) + jnp.floor(x).sum()


def trees(p, scale, x):
    """From a pytree, a number and an array to a pytree."""
    h = ops.tanh(ops.matmul(x, p["w"]) + p["b"])
    return {"h": h * scale, "norm": (h * h).sum()}


VECTOR = (layer, bottleneck, branching, scanned, still)
X = draw(21, 6)
TREES = ({"w": W, "b": draw(22, 5)}, jnp.float32(2.0), draw(23, 6))
