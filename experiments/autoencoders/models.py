"""The trained models that several questions share; each is trained once in a run."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sklearn.decomposition import PCA

from jaxdl import data, nn, ops, train


def convolutional_codes(quick: bool) -> tuple[int, ...]:
    """The code sizes of the convolutional autoencoders."""
    return (8,) if quick else (8, 16)


class Coder(NamedTuple):
    """A trained autoencoder in its two halves: encode(images) → codes, decode(codes) → images."""

    encode: Callable[[Any], jax.Array]
    decode: Callable[[Any], jax.Array]

    def reconstruct(self, images) -> np.ndarray:
        return np.asarray(self.decode(self.encode(images)))

    def error(self, images) -> float:
        """The mean squared error per pixel."""
        return float(((self.reconstruct(images) - images) ** 2).mean())


def trained(
    model: nn.Layer, x, y, *, epochs: int, batch: int = 64, rate: float = 2e-3, loss: Callable = ops.squared_error
) -> Any:
    """The parameters after `epochs` of Adam with a linear warm-up over a tenth of the steps and a cosine decay to 0."""
    steps = epochs * (len(x) // batch)
    schedule = optax.warmup_cosine_decay_schedule(0, rate, steps // 10, steps)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes the types of its numbers
        return train.fit(model, loss, (x, y), optax.adam(schedule), epochs, jax.random.key(0), batch=batch).params


def halves(encoder: nn.Layer, decoder: nn.Layer, params: tuple) -> Coder:
    """The two halves of the autoencoder serial(encoder, decoder) with its parameters."""
    return Coder(
        jax.jit(lambda x: encoder.apply(params[0], x)),
        jax.jit(lambda code: decoder.apply(params[1], code)),
    )


@functools.cache
def digits(size: int | None = None) -> data.Dataset:
    """The digits, 8 × 8 or enlarged."""
    return data.load("digits", size=size)


@functools.cache
def deep(code: int, quick: bool, size: int | None = None, widths: tuple[int, ...] = (256, 128)) -> Coder:
    """A dense autoencoder with hidden layers of these widths in the encoder, and reversed in the decoder."""
    x = digits(size).train_x
    params = trained(nn.dense_autoencoder(x.shape[1:], code, widths), x, x, epochs=10 if quick else 120)
    return halves(nn.dense_encoder(code, widths), nn.dense_decoder(x.shape[1:], widths[::-1]), params)


@functools.cache
def linear(code: int, quick: bool, size: int | None = None) -> Coder:
    """A linear autoencoder."""
    x = digits(size).train_x
    params = trained(nn.linear_autoencoder(x.shape[1:], code), x, x, epochs=30 if quick else 300, rate=5e-3)
    return halves(nn.linear_encoder(code), nn.linear_decoder(x.shape[1:]), params)


@functools.cache
def convolutional(code: int, quick: bool) -> Coder:
    """The lectures' deep autoencoder, on digits of 28 × 28. Batches are small, as there are few digits."""
    x = digits(28).train_x
    epochs, batch = (1, 4) if quick else (20, 16)
    params = trained(nn.conv_autoencoder(code), x, x, epochs=epochs, batch=batch)
    return halves(nn.conv_encoder(code), nn.conv_decoder(), params)


@functools.cache
def certainty(quick: bool) -> Callable[[Any], np.ndarray]:
    """The largest class probability that a classifier of 28 × 28 digits gives each image."""
    d = digits(28)
    model = nn.mlp(128, 128, 10)
    loss = ops.softmax_cross_entropy_with_integer_labels
    params = trained(model, d.train_x, d.train_y, epochs=5 if quick else 30, loss=loss)
    return jax.jit(lambda x: ops.softmax(model.apply(params, x)).max(-1))


def pca_error(code: int, images, size: int | None = None) -> float:
    """The mean squared error per pixel of PCA, the best linear autoencoder of the training digits."""
    x = digits(size).train_x
    pca = PCA(code, svd_solver="full").fit(x.reshape(len(x), -1))
    flat = images.reshape(len(images), -1)
    return float(((pca.inverse_transform(pca.transform(flat)) - flat) ** 2).mean())


def distance_to_training(images, size: int | None = None) -> np.ndarray:
    """For each image the root mean square difference per pixel from the nearest training digit."""
    known = jnp.asarray(digits(size).train_x).reshape(len(digits(size).train_x), -1)
    x = jnp.asarray(images).reshape(len(images), -1)
    squares = (x**2).sum(1)[:, None] - 2 * ops.matmul(x, known.T) + (known**2).sum(1)[None]
    return np.sqrt(np.maximum(np.asarray(squares.min(1)), 0) / x.shape[1])
