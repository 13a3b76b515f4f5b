"""Images moved, turned and magnified a little at random, in training only."""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from jaxdl import nn


def moved(shift: float, turn: float, zoom: float) -> nn.Layer:
    """Each image moved down and across by up to `shift` of its sides, turned by up to `turn` radians and magnified
    by 1 / (1 ± zoom), when applied with a key; the identity without. What comes in from outside is 0.
    """
    largest = (shift, shift, turn, zoom)

    def apply(params, x, *, key=None):
        del params
        if key is None:
            return x
        draws = jax.random.uniform(key, (len(x), 4), x.dtype, -1, 1) * jnp.array([largest], x.dtype)
        return jax.vmap(resampled)(x, draws)

    return nn.Layer(lambda key, shape: (), apply)


def resampled(image: jax.Array, draw: jax.Array) -> jax.Array:
    """(h, w, c) with each pixel taken from elsewhere, by linear interpolation: draw is (down, across, angle, zoom)."""
    h, w, _ = image.shape
    down, across, angle, zoom = draw
    i, j = jnp.meshgrid(centred(h), centred(w), indexing="ij")
    cos, sin = (1 + zoom) * jnp.cos(angle), (1 + zoom) * jnp.sin(angle)
    rows, columns = cos * i - sin * j + down * h, sin * i + cos * j + across * w
    places = [rows + (h - 1) / 2, columns + (w - 1) / 2]
    return jax.vmap(lambda channel: map_coordinates(channel, places, order=1), -1, -1)(image)


def centred(n):
    return jnp.arange(n, dtype=jnp.float32) - (n - 1) / 2
