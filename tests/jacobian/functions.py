"""Functions that every method is tried on: arrays and pytrees, rules by hand, control flow, nothing that moves."""

import jax
import jax.numpy as jnp

from jaxdl import ops
from tests.draws import draw

W = draw(20, 6, 5)


def layer(x):
    """By hand-written rules: (6,) → (5,)."""
    return ops.tanh(ops.matmul(x, W))


def bottleneck(x):
    """(6,) → (5,) through 2 numbers."""
    return jnp.sin(jnp.tanh(x @ W[:, :2]) @ W[:2])


def branching(x):
    """A value used twice, a step that is not differentiable, constants beside."""
    a = jnp.tanh(x)
    return jnp.concatenate([a * x.sum(), jnp.where(x > 0, a**2, jnp.floor(x)), jnp.ones(2)])


def scanned(x):
    """Four steps of a recurrence."""
    step = lambda h, w: (jnp.tanh(h * w + x), h.sum())
    return jax.lax.scan(step, x, W.T[:4])[0]


def still(x):
    """Moves in steps only."""
    return jnp.zeros(3) + jnp.floor(x).sum()


def trees(p, scale, x):
    """Of a pytree, a number and an array to a pytree."""
    h = ops.tanh(ops.matmul(x, p["w"]) + p["b"])
    return {"h": h * scale, "norm": (h * h).sum()}


VECTOR = (layer, bottleneck, branching, scanned, still)
X = draw(21, 6)
TREES = ({"w": W, "b": draw(22, 5)}, jnp.float32(2.0), draw(23, 6))
