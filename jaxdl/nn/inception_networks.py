"""GoogLeNet, or Inception v1: C. Szegedy et al., Going deeper with convolutions, 2015 (arXiv:1409.4842)."""

from jaxdl.nn.combinators import concatenate, parallel, serial
from jaxdl.nn.images import avg_pool, conv, global_avg_pool, local_response_norm, max_pool
from jaxdl.nn.layer import Layer, function, then
from jaxdl.nn.layers import dense, dropout, flatten, relu
from jaxdl.ops.windows import CEIL


def conv_relu(width: int, size: int, *, stride: int = 1) -> Layer:
    """A convolution that keeps the size of an image, or divides it by the stride, and a ReLU."""
    low = (size - 1) // 2
    return serial(conv(width, size, stride=stride, padding=((low, low), (low, low))), relu)


def inception(one: int, three: tuple[int, int], five: tuple[int, int], pooled: int, *, largest: int = 5) -> Layer:
    """The inception block: four branches, concatenated.

    Args:
        one: The channels of the 1 × 1 convolution.
        three: The channels to which a 1 × 1 convolution reduces, and those of the 3 × 3 convolution after it.
        five: The same for 5 × 5.
        pooled: The channels of the 1 × 1 convolution after max pooling.
        largest: The size of the kernel in place of 5.

    Returns:
        A layer (n, h, w, c) → (n, h, w, one + three[1] + five[1] + pooled).

    Examples:
        >>> layer = inception(4, (6, 8), (1, 2), 2)
        >>> layer.apply(layer.init(jax.random.key(0), (8, 8, 12)), jnp.ones((5, 8, 8, 12))).shape
        (5, 8, 8, 16)
    """
    return concatenate(
        conv_relu(one, 1),
        serial(conv_relu(three[0], 1), conv_relu(three[1], 3)),
        serial(conv_relu(five[0], 1), conv_relu(five[1], largest)),
        serial(max_pool(3, 1, "SAME"), conv_relu(pooled, 1)))  # fmt: skip


def googlenet(
    classes: int = 1000,
    *,
    auxiliary: bool = False,
    largest: int = 5,
    last_pool: int = 3,
    response_norm: bool = True,
) -> Layer:
    """GoogLeNet: (n, 224, 224, 3) → (n, classes); 6,998,552 parameters with 1000 classes.

    torchvision's weights, with batch normalisation folded into the convolutions, need largest=3, last_pool=2 and
    response_norm=False.

    Args:
        classes: The number of classes.
        auxiliary: Adds heads after 4a and 4d for training; 13,378,280 parameters. The losses of the three outputs are
            weighted 1, 0.3 and 0.3.
        largest: The size of the largest kernels.
        last_pool: The size of the window of the last max pooling.
        response_norm: Whether there is local response normalisation.

    Returns:
        A model from images to logits; with `auxiliary`, to (logits, logits of 4a, logits of 4d).

    Examples:
        >>> model = googlenet()
        >>> nn.parameter_count(jax.eval_shape(lambda: model.init(jax.random.key(0), (224, 224, 3))))
        6998552
    """
    block = lambda *widths: inception(*widths, largest=largest)
    norm = local_response_norm(size=5, k=1.0, alpha=1e-4, beta=0.75) if response_norm else function(lambda x: x)
    to_4a = serial(
        conv_relu(64, 7, stride=2), max_pool(3, 2, CEIL), norm,
        conv_relu(64, 1), conv_relu(192, 3), norm, max_pool(3, 2, CEIL),
        block(64, (96, 128), (16, 32), 32), block(128, (128, 192), (32, 96), 64), max_pool(3, 2, CEIL),
        block(192, (96, 208), (16, 48), 64))  # fmt: skip
    to_4d = serial(
        block(160, (112, 224), (24, 64), 64), block(128, (128, 256), (24, 64), 64),
        block(112, (144, 288), (32, 64), 64))  # fmt: skip
    to_logits = serial(
        block(256, (160, 320), (32, 128), 128), max_pool(last_pool, 2, CEIL),
        block(256, (160, 320), (32, 128), 128), block(384, (192, 384), (48, 128), 128),
        global_avg_pool, dropout(0.4), dense(classes))  # fmt: skip
    if not auxiliary:
        return serial(to_4a, to_4d, to_logits)
    head = _auxiliary_head(classes)
    nested = serial(to_4a, parallel(head, serial(to_4d, parallel(head, to_logits))))
    return then(nested, lambda y: (y[1][1], y[0], y[1][0]))


def _auxiliary_head(classes):
    return serial(
        avg_pool(5, 3), conv_relu(128, 1), flatten, dense(1024), relu, dropout(0.7), dense(classes))  # fmt: skip
