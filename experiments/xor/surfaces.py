"""The loss around a minimum, in two directions."""

import jax
import jax.numpy as jnp

from experiments.xor.training import STUCK_AND_SOLVED, logistic, squared
from jaxdl import data, nn

X, Y = data.xor()
SPAN = (-1.0, 1.0)  # in units of each layer's own norm
LINEAR_SPAN = ((-1.0, 1.0), (-0.5, 1.5))  # of w₁ = w₂ and of b


def measure(trained: dict, side: int) -> dict:
    """The linear model's squared error over (w₁ = w₂, b); slices through the best network and one with 3 of 4 right."""
    solved, stuck = int(trained["loss"].argmin()), int((trained["right"] == 3).argmax())
    at = lambda seed: jax.tree.map(lambda p: p[seed], trained["params"])
    return {
        "linear": linear_surface(side),
        "solved": {"seed": solved, "loss": trained["loss"][solved], "grid": slice_through(at(solved), side)},
        "stuck": {"seed": stuck, "loss": trained["loss"][stuck], "grid": slice_through(at(stuck), side)},
    }


def linear_surface(side: int) -> jax.Array:
    """Rows are b, columns w₁ = w₂."""
    model = nn.linear_network(1)
    loss = lambda w, b: squared(model.apply(({"w": jnp.full((2, 1), w), "b": b[None]},), X), Y)
    return over_grid(loss, *(jnp.linspace(*span, side) for span in LINEAR_SPAN))


def slice_through(params, side: int) -> jax.Array:
    """The logistic loss at params + s u + t v, u and v random and in each array as long as params' own."""
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
