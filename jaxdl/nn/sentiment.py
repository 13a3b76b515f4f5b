"""A classifier of texts by self-attention, as small as one can be."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.nn.layer import Layer
from jaxdl.nn.layers import dense, dropout, embedding, initializer
from jaxdl.nn.transformer import attention, attention_weights

PADDING = 0  # the token that fills short texts


def sentiment_classifier(
    vocabulary: int, *, width: int = 32, heads: int = 1, classes: int = 2, drop: float = 0.0
) -> Layer:
    """Integers (n, length) → logits (n, classes): words, one layer of self-attention, their mean, a linear layer.

    Token 0 is padding, which nothing attends to and the mean leaves out. Parameters: words, positions,
    attention, head.
    """
    words, mixing, head = embedding(vocabulary, width, init=_SMALL), attention(heads), dense(classes)
    dropped = dropout(drop)

    def init(key, shape):
        (length,) = shape.shape if isinstance(shape, jax.ShapeDtypeStruct) else shape
        keys = jax.random.split(key, 4)
        return {
            "words": words.init(keys[0], shape),
            "positions": initializer(_SMALL)(keys[1], (length, width), jnp.float32),
            "attention": mixing.init(keys[2], (length, width)),
            "head": head.init(keys[3], (width,)),
        }

    def apply(params, x, *, key=None):
        first, second = (None, None) if key is None else jax.random.split(key)
        embedded = dropped.apply((), embedded_words(params, x), key=first)
        mixed = embedded + mixing.apply(params["attention"], embedded, mask=_seen(x))
        present = (x != PADDING).astype(mixed.dtype)[..., None]
        mean = (mixed * present).sum(1) / jnp.maximum(present.sum(1), 1)
        return head.apply(params["head"], dropped.apply((), mean, key=second))

    return Layer(init, apply)


def sentiment_attention(params: Any, x: jax.Array, heads: int = 1) -> jax.Array:
    """How much each word attends to each other one: (n, length) → (n, heads, length, length)."""
    return attention_weights(params["attention"], embedded_words(params, x), heads, _seen(x))


def embedded_words(params: Any, x: jax.Array) -> jax.Array:
    """Words with their positions added: (n, length) → (n, length, width)."""
    if x.ndim != 2 or x.shape[1] != len(params["positions"]):
        raise ValueError(
            f"sentiment_classifier: tokens must be (n, {len(params['positions'])}), as the positions are, got {x.shape}"
        )
    table = params["words"]["table"]
    return embedding(*table.shape).apply(params["words"], x) + params["positions"][None]


_SMALL = jax.nn.initializers.normal(0.1)


def _seen(x):
    return (x != PADDING)[:, None, None]
