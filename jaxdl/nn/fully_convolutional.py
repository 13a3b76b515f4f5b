"""Fully convolutional classifiers: E. Shelhamer, J. Long, T. Darrell, Fully convolutional networks, 2015."""

from typing import Any

import jax

from jaxdl.nn.images import conv, max_pool
from jaxdl.nn.layer import Layer, serial
from jaxdl.nn.layers import relu


def fully_convolutional(classes: int = 10) -> Layer:
    """(n, h, w, c) → a map of logits (n, h/2 − 3, w/2 − 3, classes): for 8 × 8 one pixel, for larger images more.

    No layer pads, so each pixel of the map is what the classifier gives for the 8 × 8 window of the image
    there, every second pixel, with the work for overlapping windows done once. On 8 × 8 × 1 images it has
    160 + 4,640 + 8,256 + 650 = 13,706 parameters.
    """
    return serial(
        conv(16, 3), relu, conv(32, 3), relu, max_pool(2),
        conv(64, 2), relu, conv(classes, 1))  # fmt: skip


def convolutional_head(params: Any, window: tuple[int, int]) -> dict[str, jax.Array]:
    """The weights of a dense layer after `flatten`, as a convolution over windows of that size.

    params are those of `dense` on images (h, w, c) of the window's size; the result is for
    `conv(width, window)`, which gives on such an image what the dense layer gives, and on a larger one
    a map of it.
    """
    (h, w), (inputs, width) = window, params["w"].shape
    if inputs % (h * w):
        raise ValueError(f"convolutional_head: {inputs} inputs are no image of {h} × {w} pixels")
    return {**params, "w": params["w"].reshape(h, w, inputs // (h * w), width)}
