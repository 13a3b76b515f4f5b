"""Random small shifts, rotations and changes of scale of images, in training only."""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates

from jaxdl import nn


def moved(shift: float, turn: float, zoom: float) -> nn.Layer:
    """A layer that transforms each image at random if applied with a key, and is the identity without a key.

    Args:
        shift: The largest shift, relative to the sides of the image.
        turn: The largest rotation in radians.
        zoom: The scale is 1 / (1 ± zoom) at most. Pixels from outside of the image are 0.
    """
    largest = (shift, shift, turn, zoom)

    def move(key, x):
        draws = jax.random.uniform(key, (len(x), 4), x.dtype, -1, 1) * jnp.array([largest], x.dtype)
        return jax.vmap(resampled)(x, draws)

    return nn.in_training(move)


def resampled(image: jax.Array, draw: jax.Array) -> jax.Array:
    """An image (h, w, c) transformed by linear interpolation; draw is (down, across, angle, zoom)."""
    h, w, _ = image.shape
    down, across, angle, zoom = draw
    i, j = jnp.meshgrid(centred(h), centred(w), indexing="ij")
    cos, sin = (1 + zoom) * jnp.cos(angle), (1 + zoom) * jnp.sin(angle)
    rows, columns = cos * i - sin * j + down * h, sin * i + cos * j + across * w
    places = [rows + (h - 1) / 2, columns + (w - 1) / 2]
    return jax.vmap(lambda channel: map_coordinates(channel, places, order=1), -1, -1)(image)


def centred(n):
    return jnp.arange(n, dtype=jnp.float32) - (n - 1) / 2
