"""The programs of `benchmarks.tune`: models of jaxdl at a size for two cores, and functions of other libraries."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen

from jaxdl import data, nn, ops
from jaxdl.train.steps import averaged

BATCH = 64
WORDS, TEXT = 50, 24
CROSS_ENTROPY = ops.softmax_cross_entropy_with_integer_labels
AT = jax.random.key


@dataclass(frozen=True)
class Program:
    """A scalar function of parameters and other arguments; `make` returns both."""

    name: str
    make: Callable[[], tuple[Callable[..., jax.Array], tuple[Any, ...]]]


def programs() -> Iterator[Program]:
    """All programs, the models of jaxdl first."""
    image = nn.image_tower(32, patch=2, width=64, depth=2, heads=4)
    clip = nn.clip(image, nn.text_tower(32, vocabulary=WORDS, width=64, depth=2, heads=4))
    yield _classifier("logistic regression", nn.logistic_regression(), 8, _binary)
    yield _classifier("linear classifier", nn.linear_classifier(), 8)
    yield _classifier("MLP 128–128", nn.mlp(128, 128, 10), 8)
    yield _classifier("MLP of 8 layers, tanh", nn.mlp(*[256] * 7, 10, activation=nn.tanh), 8)
    yield _classifier("small convnet", nn.small_convnet(10), 8)
    yield _classifier("LeNet-5", nn.lenet5(), 28)
    yield _classifier("network in network", nn.nin_cifar10(), 8)
    yield _classifier("network in network, 32 × 32, batch 16", nn.nin_cifar10(), 32, batch=16)
    inception = nn.serial(nn.inception(16, (8, 16), (4, 8), 8), nn.max_pool(2), nn.flatten, nn.dense(10))
    yield _classifier("inception block", inception, 28)
    yield _classifier("fully convolutional", nn.then(nn.fully_convolutional(), ops.global_avg_pool), 16)
    yield _autoencoder("linear autoencoder", nn.linear_autoencoder((8, 8, 1), 8), 8)
    yield _autoencoder("dense autoencoder", nn.dense_autoencoder((28, 28, 1), 32, (256, 128)), 28)
    yield _autoencoder("convolutional autoencoder", nn.conv_autoencoder(8), 28)
    yield _classifier("sentiment classifier", nn.sentiment_classifier(WORDS), None)
    yield _classifier("vision transformer", nn.vit(10, patch=2, width=64, depth=2, heads=4), 8)
    yield Program("CLIP", lambda: _made(clip, (_digits(8)[0], _tokens()), _digits(8)[1], _contrastive))
    yield Program("transformer of 12 layers by scan", transformer_by_scan)
    yield from _of_other_libraries()


def large_programs() -> Iterator[Program]:
    """The models for ImageNet, with a few random images."""
    for name, model, batch in [
        ("AlexNet", nn.alexnet(), 8),
        ("GoogLeNet", nn.googlenet(), 2),
        ("network in network, ImageNet", nn.nin_imagenet(), 4),
        ("ViT-B/16", nn.vit_b16(), 2),
    ]:
        x = jax.random.normal(AT(1), (batch, 224, 224, 3))
        yield Program(name, lambda m=model, x=x: _made(m, x, jnp.arange(len(x)), CROSS_ENTROPY))


def transformer_by_scan():
    """Twelve blocks of width 128 as one scan over their parameters, on 4 texts of 128 tokens."""
    block, head = nn.transformer_block(4, nn.gelu_feed_forward(512)), nn.dense(64)
    layers = jax.vmap(lambda key: block.init(key, (128, 128)))(jax.random.split(AT(0), 12))
    params = {"layers": layers, "head": head.init(AT(1), (128, 128))}
    x, y = jax.random.normal(AT(2), (4, 128, 128)), jnp.arange(512).reshape(4, 128) % 64

    def loss(params, x, y):
        x, _ = jax.lax.scan(lambda x, p: (block.apply(p, x), None), x, params["layers"])
        return CROSS_ENTROPY(head.apply(params["head"], x), y).mean()

    return loss, (params, x, y)


def _of_other_libraries():
    draw = lambda i, *shape: jax.random.normal(AT(i), shape)
    yield Program("Flax: LSTM", lambda: _linen(linen.RNN(linen.LSTMCell(64)), draw(0, 32, 24, 32)))
    yield Program("Flax: transformer block", lambda: _linen(_Block(), draw(0, 8, 64, 128)))
    yield Program("Flax: convolutions", lambda: _linen(_Convolutions(), draw(0, 32, 28, 28, 8)))
    lengths = jnp.arange(64)[None] > jnp.arange(33, 65)[:32, None]
    labels = jnp.arange(32 * 12).reshape(32, 12) % 30 + 1
    ctc = lambda logits: optax.ctc_loss(logits, lengths * 1.0, labels, jnp.zeros((32, 12))).mean()
    yield Program("optax: ctc_loss", lambda: (ctc, (draw(0, 32, 64, 31),)))
    focal = lambda logits: optax.sigmoid_focal_loss(logits, (draw(1, 512, 512) > 0) * 1.0, alpha=0.25).mean()
    yield Program("optax: sigmoid_focal_loss", lambda: (focal, (draw(0, 512, 512),)))
    attended = lambda q, k, v: jax.nn.dot_product_attention(q, k, v, is_causal=True).mean()
    yield Program("jax.nn: dot_product_attention", lambda: (attended, tuple(draw(i, 2, 512, 4, 32) for i in range(3))))


class _Block(linen.Module):
    @linen.compact
    def __call__(self, x):
        y = linen.LayerNorm()(x)
        x = x + linen.MultiHeadDotProductAttention(4)(y, y)
        return x + linen.Dense(128)(linen.gelu(linen.Dense(512)(linen.LayerNorm()(x))))


class _Convolutions(linen.Module):
    @linen.compact
    def __call__(self, x):
        x = linen.max_pool(linen.silu(linen.Conv(32, (3, 3))(x)), (2, 2), (2, 2))
        return linen.Dense(10)(linen.silu(linen.Conv(32, (3, 3))(x)).mean((1, 2)))


def _linen(module, x):
    params = module.init(AT(0), x)
    return lambda params, x: (module.apply(params, x) ** 2).mean(), (params, x)


def _classifier(name, model, side, loss=CROSS_ENTROPY, batch=BATCH):
    inputs = lambda: _digits(side, batch) if side else (_tokens(), _digits(8)[1] % 2)
    return Program(name, lambda: _made(model, *inputs(), loss))


def _autoencoder(name, model, side):
    return Program(name, lambda: _made(model, _digits(side)[0], _digits(side)[0], ops.squared_error))


def _made(model, x, y, loss):
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), x)
    params = jax.jit(lambda key: model.init(key, shapes))(AT(0))
    noise = iter(jax.random.split(AT(1), 1000))
    params = jax.tree.map(lambda p: p + 0.02 * jax.random.normal(next(noise), p.shape), params)  # none is zero
    return lambda params, x, y: averaged(loss)(model.apply(params, x), y), (params, x, y)


def _digits(side, batch=BATCH):
    digits = data.load("digits", size=side)
    return jnp.asarray(digits.train_x[:batch]), jnp.asarray(digits.train_y[:batch], jnp.int32)


def _tokens():
    return jnp.asarray(np.random.default_rng(0).integers(1, WORDS, (BATCH, TEXT)), jnp.int32)


def _binary(logits, y):
    return ops.logistic_loss(logits, y % 2)


def _contrastive(output, y):
    del y
    return ops.contrastive_loss(*output)
