"""Network in network: M. Lin, Q. Chen, S. Yan, Network in network, 2013 (arXiv:1312.4400)."""

from jaxdl.nn.combinators import serial
from jaxdl.nn.images import avg_pool, conv, global_avg_pool, max_pool
from jaxdl.nn.layer import Layer
from jaxdl.nn.layers import dropout, relu
from jaxdl.ops.windows import CEIL, Padding


def mlpconv(widths: tuple[int, ...], size: int, *, stride: int = 1, padding: Padding = "VALID") -> Layer:
    """A convolution with widths[0] channels, then 1 × 1 convolutions with the others: a small MLP at each pixel."""
    first, *others = widths
    parts = [conv(first, size, stride=stride, padding=padding), *(conv(width, 1) for width in others)]
    return serial(*(layer for part in parts for layer in (part, relu)))


def nin_imagenet(classes: int = 1000) -> Layer:
    """Network in network for ImageNet: (n, 224, 224, 3) → (n, classes); 7,595,176 parameters with 1000 classes.

    Args:
        classes: The number of classes.

    Returns:
        A model from images to logits.

    Examples:
        >>> model = nin_imagenet()
        >>> nn.parameter_count(jax.eval_shape(lambda: model.init(jax.random.key(0), (224, 224, 3))))
        7595176
    """
    return serial(
        mlpconv((96, 96, 96), 11, stride=4), max_pool(3, 2, CEIL),
        mlpconv((256, 256, 256), 5, padding="SAME"), max_pool(3, 2, CEIL),
        mlpconv((384, 384, 384), 3, padding="SAME"), max_pool(3, 2, CEIL), dropout(0.5),
        mlpconv((1024, 1024, classes), 3, padding="SAME"), global_avg_pool)  # fmt: skip


def nin_cifar10(classes: int = 10) -> Layer:
    """Network in network for CIFAR-10: (n, 32, 32, 3) → (n, classes); 966,986 parameters with 10 classes.

    Args:
        classes: The number of classes.

    Returns:
        A model from images to logits.

    Examples:
        >>> model = nin_cifar10()
        >>> nn.parameter_count(jax.eval_shape(lambda: model.init(jax.random.key(0), (32, 32, 3))))
        966986
    """
    return serial(
        mlpconv((192, 160, 96), 5, padding="SAME"), max_pool(3, 2, CEIL), dropout(0.5),
        mlpconv((192, 192, 192), 5, padding="SAME"), avg_pool(3, 2, CEIL), dropout(0.5),
        mlpconv((192, 192, classes), 3, padding="SAME"), global_avg_pool)  # fmt: skip
