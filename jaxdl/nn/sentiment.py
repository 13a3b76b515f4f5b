"""A small classifier of texts by self-attention."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.nn.layer import Layer, aligned, axes, split_key
from jaxdl.nn.layers import dense, dropout, embedding, initializer
from jaxdl.nn.transformer import attention, attention_weights

PADDING = 0  # the token that fills short texts
_SMALL = jax.nn.initializers.normal(0.1)


def sentiment_classifier(
    vocabulary: int, *, width: int = 32, heads: int = 1, classes: int = 2, dropout_rate: float = 0.0
) -> Layer:
    """Embedded words, one layer of self-attention, their mean, and a dense layer.

    Token 0 is padding, to which nothing attends and which the mean leaves out.

    Args:
        vocabulary: The number of tokens.
        width: The length of an embedded word.
        heads: The number of heads; it divides the width.
        classes: The number of classes.
        dropout_rate: That of the embedded words and of their mean.

    Returns:
        A model from integers (*n, length) to logits (*n, classes). Parameters: words, positions, attention, head.

    Raises:
        ValueError: By `apply`, for texts of another length than that of the parameters.

    Examples:
        >>> layer = sentiment_classifier(1000, width=16, heads=2)
        >>> layer.apply(layer.init(jax.random.key(0), (10,)), jnp.ones((5, 10), jnp.int32)).shape
        (5, 2)
    """
    words, mixing, head = embedding(vocabulary, width, init=_SMALL), attention(heads), dense(classes)
    dropped = dropout(dropout_rate)

    def init(key, shape):
        (length,) = axes(shape)
        keys = jax.random.split(key, 4)
        return {
            "words": words.init(keys[0], shape),
            "positions": initializer(_SMALL)(keys[1], (length, width), jnp.float32),
            "attention": mixing.init(keys[2], (length, width)),
            "head": head.init(keys[3], (width,)),
        }

    def apply(params, x, *, key=None):
        first, second = split_key(key, 2)
        embedded = dropped.apply((), embedded_words(params, x), key=first)
        mixed = embedded + mixing.apply(params["attention"], embedded, mask=_seen(x))
        present = (x != PADDING).astype(mixed.dtype)[..., None]
        mean = (mixed * present).sum(-2) / jnp.maximum(present.sum(-2), 1)
        return head.apply(params["head"], dropped.apply((), mean, key=second))

    return Layer(init, apply)


def sentiment_attention(params: Any, x: jax.Array, heads: int = 1) -> jax.Array:
    """How much each word attends to each other word.

    Args:
        params: The parameters of `sentiment_classifier`.
        x: Tokens, (n, length).
        heads: The number of heads.

    Returns:
        The weights of the attention, (n, heads, length, length).

    Examples:
        >>> model = sentiment_classifier(1000, width=16, heads=2)
        >>> params = model.init(jax.random.key(0), (10,))
        >>> sentiment_attention(params, jnp.ones((5, 10), jnp.int32), heads=2).shape
        (5, 2, 10, 10)
    """
    return attention_weights(params["attention"], embedded_words(params, x), heads, _seen(x))


def embedded_words(params: Any, x: jax.Array) -> jax.Array:
    """Words with their positions added: (*n, length) → (*n, length, width)."""
    positions, table = params["positions"], params["words"]["table"]
    if x.shape[-1:] != positions.shape[:1]:
        raise ValueError(
            f"sentiment_classifier: tokens must be (*n, {len(positions)}), as the positions are, got {x.shape}"
        )
    words = embedding(*table.shape).apply(params["words"], x)
    return words + aligned(positions, words)


def _seen(x):
    return (x != PADDING)[..., None, None, :]
