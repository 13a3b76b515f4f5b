"""The vision transformer: A. Dosovitskiy et al., An image is worth 16×16 words, 2021 (arXiv:2010.11929)."""

import jax
import jax.numpy as jnp

from jaxdl.nn.images import conv
from jaxdl.nn.layer import Layer, function, serial
from jaxdl.nn.layers import dense, dropout, initializer
from jaxdl.nn.transformer import gelu_feed_forward, transformer_encoder

first_token = function(lambda x: x[:, 0])


def image_tokens(patch: int, width: int, *, b_init: str | None = "zeros") -> Layer:
    """A token for the class, then one a patch, each with its position added: (n, h, w, c) → (n, 1 + patches, width).

    Parameters: patches, a convolution whose stride is its size; class_token (width,); positions
    (1 + patches, width). h and w are multiples of `patch`.
    """
    patches = conv(width, patch, stride=patch, w_init="lecun_normal", b_init=b_init)

    def init(key, shape):
        if len(shape) != 3 or shape[0] % patch or shape[1] % patch:
            raise ValueError(f"image_tokens: images must be cut into patches of {patch} × {patch}, got shape {shape}")
        count = (shape[0] // patch) * (shape[1] // patch)
        keys, small = jax.random.split(key, 3), initializer(jax.nn.initializers.normal(0.02))
        return {
            "patches": patches.init(keys[0], shape),
            "class_token": small(keys[1], (width,), jnp.float32),
            "positions": small(keys[2], (1 + count, width), jnp.float32),
        }

    def apply(params, x, *, key=None):
        del key
        tokens = patches.apply(params["patches"], x).reshape(x.shape[0], -1, width)
        if tokens.shape[1] + 1 != len(params["positions"]):
            raise ValueError(
                f"image_tokens: images of shape {x.shape[1:]} have {tokens.shape[1]} patches, "
                f"the parameters are for {len(params['positions']) - 1}"
            )
        first = jnp.broadcast_to(params["class_token"].astype(tokens.dtype), (x.shape[0], 1, width))
        return jnp.concatenate([first, tokens], 1) + params["positions"][None]

    return Layer(init, apply)


def vit(
    classes: int,
    *,
    patch: int,
    width: int,
    depth: int,
    heads: int,
    hidden: int | None = None,
    drop: float = 0.0,
    epsilon: float = 1e-6,
) -> Layer:
    """(n, h, w, c) → (n, classes), from the class's token; hidden, by default 4·width, is that of the feed-forward."""
    middle = gelu_feed_forward(4 * width if hidden is None else hidden)
    return serial(
        image_tokens(patch, width),
        dropout(drop),
        transformer_encoder(depth, heads, middle, drop=drop, epsilon=epsilon),
        first_token,
        dense(classes, w_init="zeros"),
    )


def vit_b16(classes: int = 1000, *, drop: float = 0.0, epsilon: float = 1e-6) -> Layer:
    """ViT-B/16: (n, 224, 224, 3) → (n, classes); 86,567,656 parameters. epsilon is 1e-12 in Hugging Face's weights."""
    return vit(classes, patch=16, width=768, depth=12, heads=12, drop=drop, epsilon=epsilon)
