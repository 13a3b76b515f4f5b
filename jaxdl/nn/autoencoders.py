"""Autoencoders: a batch in, its reconstruction out."""

import math

from jaxdl.nn.layer import Layer, serial
from jaxdl.nn.layers import dense, flatten, relu, reshape, sigmoid


def dense_autoencoder(shape: tuple[int, ...], code: int = 16, width: int = 128) -> Layer:
    """A code of `code` numbers for each example of `shape`, through one hidden layer each way, to [0, 1]."""
    return serial(
        flatten, dense(width), relu, dense(code),
        dense(width), relu, dense(math.prod(shape)), sigmoid, reshape(*shape))  # fmt: skip
