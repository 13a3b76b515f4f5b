"""Fully convolutional classifiers: E. Shelhamer, J. Long, T. Darrell, Fully convolutional networks, 2015."""

from typing import Any

import jax

from jaxdl.nn.combinators import serial
from jaxdl.nn.images import conv, max_pool
from jaxdl.nn.layer import Layer
from jaxdl.nn.layers import relu


def fully_convolutional(classes: int = 10) -> Layer:
    """A classifier of 8 × 8 images that gives a map of logits for larger ones.

    No layer pads, so each pixel of the map is the output for the 8 × 8 window there, at every second pixel of the
    image; the work for overlapping windows is done once. For 8 × 8 × 1 images it has 160 + 4,640 + 8,256 + 650 =
    13,706 parameters.

    Args:
        classes: The number of classes.

    Returns:
        A model from images (n, h, w, c) to logits (n, h/2 − 3, w/2 − 3, classes).

    Examples:
        >>> layer = fully_convolutional()
        >>> layer.apply(layer.init(jax.random.key(0), (28, 28, 1)), jnp.ones((5, 28, 28, 1))).shape
        (5, 11, 11, 10)
    """
    return serial(
        conv(16, 3), relu, conv(32, 3), relu, max_pool(2),
        conv(64, 2), relu, conv(classes, 1))  # fmt: skip


def convolutional_head(params: Any, window: tuple[int, int]) -> dict[str, jax.Array]:
    """Turns the weights of a dense layer after `flatten` into those of a convolution.

    `conv(width, window)` with the result gives for an image of the window's size what the dense layer gives, and for a
    larger one a map of it.

    Args:
        params: The parameters of `dense` on flattened images (h, w, c).
        window: (h, w).

    Returns:
        The parameters of the convolution.

    Raises:
        ValueError: The number of inputs is not a multiple of h·w.

    Examples:
        >>> params = nn.dense(10).init(jax.random.key(0), (6 * 6 * 16,))
        >>> convolutional_head(params, (6, 6))["w"].shape
        (6, 6, 16, 10)
    """
    (h, w), (inputs, width) = window, params["w"].shape
    if inputs % (h * w):
        raise ValueError(f"convolutional_head: {inputs} inputs are not a multiple of {h} × {w} pixels")
    return {**params, "w": params["w"].reshape(h, w, inputs // (h * w), width)}
