"""AlexNet: A. Krizhevsky, I. Sutskever, G. Hinton, ImageNet classification with deep CNNs, 2012.

The single tower: A. Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014.
"""

from jaxdl.nn.combinators import serial
from jaxdl.nn.images import conv, local_response_norm, max_pool
from jaxdl.nn.layer import Layer
from jaxdl.nn.layers import dense, dropout, flatten, relu


def alexnet(classes: int = 1000, *, grouped: bool = False) -> Layer:
    """AlexNet in one tower: (n, 224, 224, 3) → (n, classes); 61,100,840 parameters with 1000 classes.

    Args:
        classes: The number of classes.
        grouped: The network of 2012 instead: (n, 227, 227, 3) → (n, classes). It was split over two devices, so that
            three convolutions have two groups, and has local response normalisation; 60,965,224 parameters.

    Returns:
        A model from images to logits.

    Examples:
        >>> model = alexnet()
        >>> nn.parameter_count(jax.eval_shape(lambda: model.init(jax.random.key(0), (224, 224, 3))))
        61100840
    """
    return serial(*(_two_towers() if grouped else _one_tower()), *_head(classes, drop_first=not grouped))


def _two_towers():
    norm = local_response_norm(size=5, k=2.0, alpha=1e-4, beta=0.75)
    return (
        conv(96, 11, stride=4), relu, norm, max_pool(3, 2),
        conv(256, 5, padding=((2, 2), (2, 2)), groups=2), relu, norm, max_pool(3, 2),
        conv(384, 3, padding="SAME"), relu,
        conv(384, 3, padding="SAME", groups=2), relu,
        conv(256, 3, padding="SAME", groups=2), relu, max_pool(3, 2))  # fmt: skip


def _one_tower():
    return (
        conv(64, 11, stride=4, padding=((2, 2), (2, 2))), relu, max_pool(3, 2),
        conv(192, 5, padding=((2, 2), (2, 2))), relu, max_pool(3, 2),
        conv(384, 3, padding="SAME"), relu,
        conv(256, 3, padding="SAME"), relu,
        conv(256, 3, padding="SAME"), relu, max_pool(3, 2))  # fmt: skip


def _head(classes, drop_first):
    one, two = dense(4096), dense(4096)
    drop = dropout(0.5)
    hidden = (drop, one, relu, drop, two, relu) if drop_first else (one, relu, drop, two, relu, drop)
    return flatten, *hidden, dense(classes)
