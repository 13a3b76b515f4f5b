"""A convolutional classifier for small images."""

from jaxdl.nn.combinators import serial
from jaxdl.nn.images import avg_pool, conv
from jaxdl.nn.layer import Layer
from jaxdl.nn.layers import dense, dropout, flatten, relu


def small_convnet(classes: int = 10) -> Layer:
    """Two convolutions and two dense layers.

    For 8 × 8 × 1 images it has 160 + 4,640 + 32,832 + 650 = 38,282 parameters.

    Args:
        classes: The number of classes.

    Returns:
        A model from images (n, h, w, c), h and w even, to logits (n, classes).

    Examples:
        >>> layer = small_convnet()
        >>> layer.apply(layer.init(jax.random.key(0), (8, 8, 1)), jnp.ones((5, 8, 8, 1))).shape
        (5, 10)
    """
    return serial(
        conv(16, 3, padding="SAME"), relu, avg_pool(2),
        conv(32, 3, padding="SAME"), relu,
        flatten, dense(64), relu, dropout(0.3), dense(classes))  # fmt: skip
