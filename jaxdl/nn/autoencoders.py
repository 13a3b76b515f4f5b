"""Autoencoders: serial(encoder, decoder), a batch in, its reconstruction out.

Their parameters are the pair (encoder's, decoder's), so that both are used alone as
encoder.apply(params[0], x) and decoder.apply(params[1], code).
"""

import math

from jaxdl.nn.images import conv, conv_transpose
from jaxdl.nn.layer import Layer, serial
from jaxdl.nn.layers import dense, flatten, gaussian_noise, relu, reshape, sigmoid


def linear_encoder(code: int) -> Layer:
    """A linear code: (n, …) → (n, code)."""
    return serial(flatten, dense(code, w_init="glorot_uniform"))


def linear_decoder(shape: tuple[int, ...]) -> Layer:
    """(n, code) → (n, *shape), linear."""
    return serial(dense(math.prod(shape), w_init="glorot_uniform"), reshape(*shape))


def linear_autoencoder(shape: tuple[int, ...], code: int) -> Layer:
    """Both linear: at its best the code spans the first principal components (Baldi and Hornik 1989)."""
    return serial(linear_encoder(code), linear_decoder(shape))


def dense_encoder(code: int, widths: tuple[int, ...] = (128,)) -> Layer:
    """(n, …) → (n, code) by way of hidden layers of ReLUs; the code is linear."""
    return serial(flatten, *_hidden(widths), dense(code))


def dense_decoder(shape: tuple[int, ...], widths: tuple[int, ...] = (128,)) -> Layer:
    """(n, code) → (n, *shape), in [0, 1], by way of hidden layers of ReLUs."""
    return serial(*_hidden(widths), dense(math.prod(shape)), sigmoid, reshape(*shape))


def dense_autoencoder(shape: tuple[int, ...], code: int = 16, widths: tuple[int, ...] = (128,)) -> Layer:
    """A code of `code` numbers for each example of `shape`, through `widths` and back, to [0, 1].

    widths=() is the one linear layer of the lectures, of 32 numbers there; (512, 256, 128) is deep.
    """
    return serial(dense_encoder(code, widths), dense_decoder(shape, widths[::-1]))


def _hidden(widths):
    return [layer for width in widths for layer in (dense(width), relu)]


def conv_encoder(code: int = 8) -> Layer:
    """(n, 28, 28, 1) → (n, 1, 1, code), by way of 24, 20, 9 and 4 pixels a side."""
    return serial(
        conv(32, 5), relu, conv(32, 5), relu, conv(32, 4, stride=2), relu, conv(32, 3, stride=2), relu,
        conv(code, 4))  # fmt: skip


def conv_decoder(channels: int = 1) -> Layer:
    """(n, 1, 1, code) → (n, 28, 28, channels), by way of 4, 9, 20 and 24 pixels a side."""
    return serial(
        conv_transpose(32, 4), relu, conv_transpose(32, 3, stride=2), relu, conv_transpose(32, 4, stride=2), relu,
        conv_transpose(32, 5), relu, conv_transpose(channels, 5))  # fmt: skip


def conv_autoencoder(code: int = 8) -> Layer:
    """(n, 28, 28, 1) → code → (n, 28, 28, 1), the deep autoencoder of F. Fleuret's course; 112,457 parameters."""
    return serial(conv_encoder(code), conv_decoder())


def denoising(autoencoder: Layer, std: float) -> Layer:
    """The same with noise of that standard deviation on what goes in, when applied with a key (Vincent et al. 2008).

    Trained against the images without noise. Parameters: ((), the autoencoder's).
    """
    return serial(gaussian_noise(std), autoencoder)
