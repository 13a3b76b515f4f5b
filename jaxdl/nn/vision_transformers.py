"""The vision transformer: A. Dosovitskiy et al., An image is worth 16×16 words, 2021 (arXiv:2010.11929)."""

import jax
import jax.numpy as jnp

from jaxdl.nn.combinators import serial
from jaxdl.nn.images import conv
from jaxdl.nn.layer import Layer, aligned, function
from jaxdl.nn.layers import Initializer, dense, dropout, initializer
from jaxdl.nn.transformer import gelu_feed_forward, transformer_encoder

first_token: Layer = function(lambda x: x[..., 0, :])


def image_tokens(patch: int, width: int, *, b_init: str | Initializer | None = "zeros") -> Layer:
    """A token for the class, then one for each patch, each with its position added.

    Args:
        patch: The side of a patch; it divides h and w.
        width: The length of a token.
        b_init: The initialiser of the patches' bias; None for none.

    Returns:
        A layer (*n, h, w, c) → (*n, 1 + patches, width). Parameters: patches, those of a convolution whose stride is
        its size; class_token (width,); positions (1 + patches, width).

    Raises:
        ValueError: By `init`, where the patch does not divide the image; by `apply`, where an image has another number
            of patches than the parameters.

    Examples:
        >>> layer = image_tokens(4, 16)
        >>> layer.apply(layer.init(jax.random.key(0), (8, 8, 3)), jnp.ones((5, 8, 8, 3))).shape
        (5, 5, 16)
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
        tokens = patches.apply(params["patches"], x).reshape(*x.shape[:-3], -1, width)
        if tokens.shape[-2] + 1 != len(params["positions"]):
            raise ValueError(
                f"image_tokens: images of shape {x.shape[-3:]} have {tokens.shape[-2]} patches, "
                f"the parameters are for {len(params['positions']) - 1}"
            )
        first = jnp.broadcast_to(params["class_token"].astype(tokens.dtype), (*x.shape[:-3], 1, width))
        tokens = jnp.concatenate([first, tokens], -2)
        return tokens + aligned(params["positions"], tokens)

    return Layer(init, apply)


def vit(
    classes: int,
    *,
    patch: int,
    width: int,
    depth: int,
    heads: int,
    hidden: int | None = None,
    dropout_rate: float = 0.0,
    epsilon: float = 1e-6,
) -> Layer:
    """A vision transformer, which classifies images from the token for the class.

    Args:
        classes: The number of classes.
        patch: The side of a patch; it divides h and w.
        width: The length of a token.
        depth: The number of blocks.
        heads: The number of heads; it divides the width.
        hidden: The number of hidden units of the feed-forward parts; by default 4·width.
        dropout_rate: That of the tokens and of the outputs of both parts of a block.
        epsilon: Added to the variance by the norms.

    Returns:
        A model from images (n, h, w, c) to logits (n, classes).

    Examples:
        >>> layer = vit(10, patch=4, width=16, depth=2, heads=2)
        >>> layer.apply(layer.init(jax.random.key(0), (8, 8, 3)), jnp.ones((5, 8, 8, 3))).shape
        (5, 10)
    """
    middle = gelu_feed_forward(4 * width if hidden is None else hidden)
    return serial(
        image_tokens(patch, width),
        dropout(dropout_rate),
        transformer_encoder(depth, heads, middle, dropout_rate=dropout_rate, epsilon=epsilon),
        first_token,
        dense(classes, w_init="zeros"),
    )


def vit_b16(classes: int = 1000, *, dropout_rate: float = 0.0, epsilon: float = 1e-6) -> Layer:
    """ViT-B/16: (n, 224, 224, 3) → (n, classes); 86,567,656 parameters with 1000 classes.

    Args:
        classes: The number of classes.
        dropout_rate: That of the tokens and of the outputs of both parts of a block.
        epsilon: Added to the variance by the norms; 1e-12 for Hugging Face's weights.

    Returns:
        A model from images to logits.

    Examples:
        >>> model = vit_b16()
        >>> nn.parameter_count(jax.eval_shape(lambda: model.init(jax.random.key(0), (224, 224, 3))))
        86567656
    """
    return vit(classes, patch=16, width=768, depth=12, heads=12, dropout_rate=dropout_rate, epsilon=epsilon)
