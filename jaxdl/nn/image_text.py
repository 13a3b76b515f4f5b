"""CLIP: A. Radford et al., Learning transferable visual models from natural language supervision, 2021."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import ops
from jaxdl.nn.combinators import serial
from jaxdl.nn.layer import Layer, aligned, axes, split_key
from jaxdl.nn.layers import dense, embedding, initializer, layer_norm
from jaxdl.nn.transformer import feed_forward, transformer_encoder
from jaxdl.nn.vision_transformers import first_token, image_tokens

EPSILON = 1e-5
HIGHEST_SCALE = 100.0  # so that the temperature is at least 0.01


def clip(image_tower: Layer, text_tower: Layer) -> Layer:
    """A model of pairs of images and texts, for `jaxdl.ops.contrastive_loss`.

    Args:
        image_tower: A model from images to features (n, d).
        text_tower: A model from tokens to features (n, d).

    Returns:
        A model from pairs (images, tokens) to (image features, text features, scale). The features (n, d) have length
        1. The scale is the inverse temperature e^log_scale, 100 at most. `init` takes a pair of shapes. Parameters:
        image, text, and log_scale, which starts at log 1/0.07.

    Examples:
        >>> images = nn.image_tower(8, patch=4, width=16, depth=1, heads=2)
        >>> texts = nn.text_tower(8, vocabulary=30, width=16, depth=1, heads=2)
        >>> model = clip(images, texts)
        >>> params = model.init(jax.random.key(0), ((8, 8, 1), (6,)))
        >>> pairs = jnp.ones((5, 8, 8, 1)), jnp.ones((5, 6), jnp.int32)
        >>> [x.shape for x in model.apply(params, pairs)]
        [(5, 8), (5, 8), ()]
    """

    def init(key, shape):
        image_shape, text_shape = shape
        first, second = jax.random.split(key)
        return {
            "image": image_tower.init(first, image_shape),
            "text": text_tower.init(second, text_shape),
            "log_scale": jnp.asarray(math.log(1 / 0.07)),
        }

    def apply(params, x, *, key=None):
        images, tokens = x
        first, second = split_key(key, 2)
        image = image_tower.apply(params["image"], images, key=first)
        text = text_tower.apply(params["text"], tokens, key=second)
        return unit(image), unit(text), ops.minimum(ops.exp(params["log_scale"]), HIGHEST_SCALE)

    return Layer(init, apply)


def unit(x: jax.Array) -> jax.Array:
    """Rows of length 1."""
    return x * jax.lax.rsqrt(jnp.maximum((x * x).sum(-1, keepdims=True), jnp.finfo(x.dtype).tiny))


def zero_shot(image_features: jax.Array, class_features: jax.Array) -> jax.Array:
    """Classifies images by the text that is nearest to each.

    Args:
        image_features: Those of the images, (n, d), of length 1.
        class_features: Those of a text for each class, (classes, d), of length 1.

    Returns:
        The index of the class of each image, (n,).

    Examples:
        >>> zero_shot(jnp.eye(3)[:2], jnp.eye(3)).tolist()
        [0, 1]
    """
    return (image_features @ class_features.T).argmax(-1)


def image_tower(features: int, *, patch: int, width: int, depth: int, heads: int) -> Layer:
    """The vision transformer of CLIP, which has a norm before its first block, too.

    Args:
        features: The number of features.
        patch: The side of a patch; it divides h and w.
        width: The length of a token.
        depth: The number of blocks.
        heads: The number of heads; it divides the width.

    Returns:
        A model from images (*n, h, w, c) to features (*n, features).

    Examples:
        >>> layer = image_tower(8, patch=4, width=16, depth=1, heads=2)
        >>> layer.apply(layer.init(jax.random.key(0), (8, 8, 3)), jnp.ones((5, 8, 8, 3))).shape
        (5, 8)
    """
    return serial(
        image_tokens(patch, width, b_init=None),
        layer_norm(epsilon=EPSILON),
        transformer_encoder(depth, heads, feed_forward(4 * width, ops.quick_gelu), epsilon=EPSILON),
        first_token,
        dense(features, w_init="lecun_normal", b_init=None),
    )


def text_tower(features: int, *, vocabulary: int, width: int, depth: int, heads: int) -> Layer:
    """The causal transformer of CLIP, whose features are those at the end token, the largest number of a text.

    Args:
        features: The number of features.
        vocabulary: The number of tokens.
        width: The length of an embedded token.
        depth: The number of blocks.
        heads: The number of heads; it divides the width.

    Returns:
        A model from integers (*n, length) to features (*n, features). Parameters: tokens (vocabulary, width), positions
        (length, width), encoder, projection.

    Raises:
        ValueError: By `apply`, for texts of another length than that of the parameters.

    Examples:
        >>> layer = text_tower(8, vocabulary=30, width=16, depth=1, heads=2)
        >>> layer.apply(layer.init(jax.random.key(0), (6,)), jnp.ones((5, 6), jnp.int32)).shape
        (5, 8)
    """
    tokens = embedding(vocabulary, width, init=jax.nn.initializers.normal(0.02))
    encoder = transformer_encoder(depth, heads, feed_forward(4 * width, ops.quick_gelu), causal=True, epsilon=EPSILON)
    projection = dense(features, w_init="lecun_normal", b_init=None)

    def init(key, shape):
        (length,) = axes(shape)
        keys = jax.random.split(key, 4)
        return {
            "tokens": tokens.init(keys[0], shape),
            "positions": initializer(jax.nn.initializers.normal(0.01))(keys[1], (length, width), jnp.float32),
            "encoder": encoder.init(keys[2], (length, width)),
            "projection": projection.init(keys[3], (width,)),
        }

    def apply(params, x, *, key=None):
        _check_length("text_tower", x, params["positions"])
        y = tokens.apply(params["tokens"], x)
        y = encoder.apply(params["encoder"], y + aligned(params["positions"], y), key=key)
        at_end = jnp.take_along_axis(y, x.argmax(-1)[..., None, None], -2)[..., 0, :]
        return projection.apply(params["projection"], at_end)

    return Layer(init, apply)


def clip_vit_b32() -> Layer:
    """CLIP ViT-B/32; 151,277,313 parameters.

    Returns:
        A model of pairs of images (n, 224, 224, 3) and tokens (n, 77), with 512 features; see `clip`.

    Examples:
        >>> model = clip_vit_b32()
        >>> nn.parameter_count(jax.eval_shape(lambda: model.init(jax.random.key(0), ((224, 224, 3), (77,)))))
        151277313
    """
    return clip(
        image_tower(512, patch=32, width=768, depth=12, heads=12),
        text_tower(512, vocabulary=49_408, width=512, depth=12, heads=8),
    )


def _check_length(name: str, tokens: Any, positions: jax.Array) -> None:
    if tokens.shape[-1:] != positions.shape[:1]:
        raise ValueError(
            f"{name}: tokens must be (*n, {len(positions)}), as the positions in the parameters are, got {tokens.shape}"
        )
