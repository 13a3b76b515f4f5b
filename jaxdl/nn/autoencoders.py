"""Autoencoders: serial(encoder, decoder), which reconstructs its input.

Their parameters are the pair (encoder's, decoder's), so that each half can be used alone:
`encoder.apply(params[0], x)` and `decoder.apply(params[1], code)`.
"""

import math
from collections.abc import Callable
from numbers import Real

import jax

from jaxdl.nn.combinators import serial
from jaxdl.nn.images import conv, conv_transpose
from jaxdl.nn.layer import Layer
from jaxdl.nn.layers import dense, flatten, gaussian_noise, in_training, relu, reshape, sigmoid


def linear_encoder(code: int) -> Layer:
    """One dense layer.

    Args:
        code: The length of the code.

    Returns:
        A model (n, …) → (n, code).

    Examples:
        >>> model = linear_encoder(8)
        >>> model.apply(model.init(jax.random.key(0), (28, 28, 1)), jnp.ones((5, 28, 28, 1))).shape
        (5, 8)
    """
    return serial(flatten, dense(code, w_init="glorot_uniform"))


def linear_decoder(shape: tuple[int, ...]) -> Layer:
    """One dense layer.

    Args:
        shape: That of one example.

    Returns:
        A model (n, code) → (n, *shape).

    Examples:
        >>> model = linear_decoder((28, 28, 1))
        >>> model.apply(model.init(jax.random.key(0), (8,)), jnp.ones((5, 8))).shape
        (5, 28, 28, 1)
    """
    return serial(dense(math.prod(shape), w_init="glorot_uniform"), reshape(*shape))


def linear_autoencoder(shape: tuple[int, ...], code: int) -> Layer:
    """A linear encoder and decoder. The optimal code spans the first principal components (Baldi and Hornik 1989).

    Args:
        shape: That of one example.
        code: The length of the code.

    Returns:
        A model (n, *shape) → (n, *shape).

    Examples:
        >>> model = linear_autoencoder((28, 28, 1), 8)
        >>> model.apply(model.init(jax.random.key(0), (28, 28, 1)), jnp.ones((5, 28, 28, 1))).shape
        (5, 28, 28, 1)
    """
    return serial(linear_encoder(code), linear_decoder(shape))


def dense_encoder(code: int, widths: tuple[int, ...] = (128,)) -> Layer:
    """Hidden layers of ReLUs and a linear code.

    Args:
        code: The length of the code.
        widths: Those of the hidden layers.

    Returns:
        A model (n, …) → (n, code).

    Examples:
        >>> model = dense_encoder(8)
        >>> model.apply(model.init(jax.random.key(0), (28, 28, 1)), jnp.ones((5, 28, 28, 1))).shape
        (5, 8)
    """
    return serial(flatten, *_hidden(widths), dense(code))


def dense_decoder(shape: tuple[int, ...], widths: tuple[int, ...] = (128,)) -> Layer:
    """Hidden layers of ReLUs and a sigmoid, for outputs in [0, 1].

    Args:
        shape: That of one example.
        widths: Those of the hidden layers.

    Returns:
        A model (n, code) → (n, *shape).

    Examples:
        >>> model = dense_decoder((28, 28, 1))
        >>> model.apply(model.init(jax.random.key(0), (8,)), jnp.ones((5, 8))).shape
        (5, 28, 28, 1)
    """
    return serial(*_hidden(widths), dense(math.prod(shape)), sigmoid, reshape(*shape))


def dense_autoencoder(shape: tuple[int, ...], code: int = 16, widths: tuple[int, ...] = (128,)) -> Layer:
    """A dense encoder and decoder, for inputs in [0, 1].

    Args:
        shape: That of one example.
        code: The length of the code.
        widths: Those of the encoder's hidden layers; the decoder has them in reverse order. () is one linear layer to
            the code, (512, 256, 128) a deep autoencoder.

    Returns:
        A model (n, *shape) → (n, *shape).

    Examples:
        >>> model = dense_autoencoder((28, 28, 1), 8, (256, 64))
        >>> model.apply(model.init(jax.random.key(0), (28, 28, 1)), jnp.ones((5, 28, 28, 1))).shape
        (5, 28, 28, 1)
    """
    return serial(dense_encoder(code, widths), dense_decoder(shape, widths[::-1]))


def _hidden(widths):
    return [layer for width in widths for layer in (dense(width), relu)]


def conv_encoder(code: int = 8) -> Layer:
    """Convolutions from images of 28 × 28 pixels to 24, 20, 9, 4 and 1 pixel a side.

    Args:
        code: The length of the code.

    Returns:
        A model (n, 28, 28, 1) → (n, 1, 1, code).

    Examples:
        >>> model = conv_encoder(8)
        >>> params = model.init(jax.random.key(0), (28, 28, 1))
        >>> jax.eval_shape(model.apply, params, jnp.ones((5, 28, 28, 1))).shape
        (5, 1, 1, 8)
    """
    return serial(
        conv(32, 5), relu, conv(32, 5), relu, conv(32, 4, stride=2), relu, conv(32, 3, stride=2), relu,
        conv(code, 4))  # fmt: skip


def conv_decoder(channels: int = 1) -> Layer:
    """Transposed convolutions from one pixel to 4, 9, 20, 24 and 28 pixels a side.

    Args:
        channels: Those of the images.

    Returns:
        A model (n, 1, 1, code) → (n, 28, 28, channels).

    Examples:
        >>> model = conv_decoder()
        >>> params = model.init(jax.random.key(0), (1, 1, 8))
        >>> jax.eval_shape(model.apply, params, jnp.ones((5, 1, 1, 8))).shape
        (5, 28, 28, 1)
    """
    return serial(
        conv_transpose(32, 4), relu, conv_transpose(32, 3, stride=2), relu, conv_transpose(32, 4, stride=2), relu,
        conv_transpose(32, 5), relu, conv_transpose(channels, 5))  # fmt: skip


def conv_autoencoder(code: int = 8) -> Layer:
    """The deep autoencoder of F. Fleuret's course; 112,457 parameters with a code of 8.

    Args:
        code: The length of the code.

    Returns:
        A model (n, 28, 28, 1) → (n, 28, 28, 1).

    Examples:
        >>> nn.parameter_count(conv_autoencoder(8).init(jax.random.key(0), (28, 28, 1)))
        112457
    """
    return serial(conv_encoder(code), conv_decoder())


def denoising(autoencoder: Layer, corrupt: float | Callable[[jax.Array, jax.Array], jax.Array]) -> Layer:
    """Corrupts the input of an autoencoder when applied with a key (Vincent et al. 2008).

    It is trained to reconstruct the inputs as they were before: noise is removed, missing parts are restored.

    Args:
        autoencoder: A model whose outputs have the shape of its inputs.
        corrupt: The standard deviation of Gaussian noise that is added; or a function `corrupt(key, x)` that returns
            the corrupted batch, an array of the shape and dtype of x.

    Returns:
        A model; its parameters are ((), the autoencoder's).

    Raises:
        TypeError: `corrupt` is neither a number nor a function.
        ValueError: By `apply`, where `corrupt` changes the shape or the dtype.

    Examples:
        >>> erase = lambda key, x: jnp.where(jax.random.bernoulli(key, 0.5, x.shape), -1, x)  # −1: missing
        >>> model = denoising(nn.dense_autoencoder((8, 8, 1)), erase)  # or denoising(…, 0.3)
        >>> params = model.init(jax.random.key(0), (8, 8, 1))
        >>> in_training = model.apply(params, jnp.ones((5, 8, 8, 1)), key=jax.random.key(1))
        >>> restored = model.apply(params, -jnp.ones((5, 8, 8, 1)))  # nothing is corrupted without a key
    """
    if callable(corrupt):
        return serial(in_training(corrupt), autoencoder)
    if not isinstance(corrupt, Real | jax.Array):
        raise TypeError(
            f"denoising: corrupt must be a standard deviation or a function corrupt(key, x), "
            f"got {type(corrupt).__name__}; a layer is put in front by serial(layer, autoencoder)"
        )
    return serial(gaussian_noise(corrupt), autoencoder)
