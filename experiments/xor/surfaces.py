"""The loss around a minimum, in two directions."""

import jax
import jax.numpy as jnp

from experiments.xor.training import STUCK_AND_SOLVED, logistic, squared
from jaxdl import data, nn

X, Y = data.xor()
SPAN = (-1.0, 1.0)  # in units of the norm of each array
LINEAR_SPAN = ((-1.0, 1.0), (-0.5, 1.5))  # w₁ = w₂, and b


def measure(trained: dict, side: int) -> dict:
    """The squared error of the linear model over (w₁ = w₂, b), and slices around a solved and a stuck network."""
    solved, stuck = int(trained["loss"].argmin()), int((trained["right"] == 3).argmax())
    at = lambda seed: jax.tree.map(lambda p: p[seed], trained["params"])
    return {
        "linear": linear_surface(side),
        "solved": {"seed": solved, "loss": trained["loss"][solved], "grid": slice_through(at(solved), side)},
        "stuck": {"seed": stuck, "loss": trained["loss"][stuck], "grid": slice_through(at(stuck), side)},
    }


def linear_surface(side: int) -> jax.Array:
    """Rows are values of b, columns values of w₁ = w₂."""
    model = nn.linear_network(1)
    loss = lambda w, b: squared(model.apply(({"w": jnp.full((2, 1), w), "b": b[None]},), X), Y)
    return over_grid(loss, *(jnp.linspace(*span, side) for span in LINEAR_SPAN))


def slice_through(params, side: int) -> jax.Array:
    """The logistic loss at params + s u + t v, for random u and v with the norm of params in each array."""
    model = nn.mlp(STUCK_AND_SOLVED, 1)
    u, v = (direction(params, jax.random.key(seed)) for seed in (1, 2))
    moved = lambda s, t: jax.tree.map(lambda p, u, v: p + s * u + t * v, params, u, v)
    steps = jnp.linspace(*SPAN, side)
    return over_grid(lambda s, t: logistic(model.apply(moved(s, t), X), Y), steps, steps)


def direction(params, key):
    leaves, structure = jax.tree.flatten(params)
    drawn = [jax.random.normal(k, p.shape) for k, p in zip(jax.random.split(key, len(leaves)), leaves, strict=True)]
    scaled = [d * jnp.linalg.norm(p) / jnp.linalg.norm(d) for d, p in zip(drawn, leaves, strict=True)]
    return jax.tree.unflatten(structure, scaled)


def over_grid(f, across, up):
    return jax.vmap(lambda b: jax.vmap(lambda a: f(a, b))(across))(up)
