"""The three families of models, by depth, width and batch, on the lectures' digits of 28 × 28 pixels."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdl import data, nn, ops

SIDE, CLASSES, CODE = 28, 10, 8
CROSS_ENTROPY = ops.softmax_cross_entropy_with_integer_labels


class Point(NamedTuple):
    """One model of a family, and how many examples its gradient is taken on."""

    depth: int
    width: int
    batch: int


class Family(NamedTuple):
    """Models make(depth, width) around a base point; along each axis one number is changed."""

    make: Callable[[int, int], nn.Layer]
    about: str
    reconstructs: bool
    base: Point
    axes: dict[str, tuple[int, ...]]

    def points(self) -> list[Point]:
        """The base, and all points that differ from it in one number."""
        others = [self.base._replace(**{axis: value}) for axis, values in self.axes.items() for value in values]
        return list(dict.fromkeys([self.base, *others]))


def mlp(depth: int, width: int) -> nn.Layer:
    return nn.mlp(*[width] * depth, CLASSES)


def convolutional(depth: int, width: int) -> nn.Layer:
    blocks = [layer for _ in range(depth) for layer in (nn.conv(width, 3, padding="SAME"), nn.relu, nn.max_pool(2))]
    return nn.serial(*blocks, nn.flatten, nn.dense(CLASSES))


def autoencoder(depth: int, width: int) -> nn.Layer:
    """With a depth of 5 and a width of 32, `nn.conv_autoencoder`; with a smaller depth, fewer of its first layers."""
    sizes = [(5, 1)] * (depth - 3) + [(4, 2), (3, 2)]
    side = SIDE
    for size, stride in sizes:
        side = (side - size) // stride + 1
    encoder = [layer for size, stride in sizes for layer in (nn.conv(width, size, stride=stride), nn.relu)]
    decoder = [
        layer for size, stride in sizes[:0:-1] for layer in (nn.relu, nn.conv_transpose(width, size, stride=stride))
    ]
    first, (size, stride) = nn.conv_transpose(width, side), sizes[0]
    last = nn.conv_transpose(1, size, stride=stride)
    return nn.serial(*encoder, nn.conv(CODE, side), first, *decoder, nn.relu, last)


FAMILIES = {
    "MLPs": Family(
        mlp, "Dense layers with ReLUs, and the cross-entropy of ten classes. Depth counts hidden layers.",
        False, Point(3, 256, 64), {"depth": (1, 3, 9), "width": (64, 256, 1024), "batch": (16, 64, 256)},
    ),
    "convolutional networks": Family(
        convolutional, "Blocks of a 3 × 3 convolution, ReLU and 2 × 2 max pooling, a dense layer, and the "
        "cross-entropy of ten classes. Depth counts blocks, width their channels.",
        False, Point(2, 16, 64), {"depth": (1, 2, 3), "width": (8, 16, 32), "batch": (16, 64, 256)},
    ),
    "autoencoders": Family(
        autoencoder, "Convolutions to a code of 8 numbers, transposed convolutions back, with ReLUs between them, and "
        "the squared error. Depth counts the layers of each half, width their channels. (Dense autoencoders are MLPs.)",
        True, Point(3, 16, 32), {"depth": (3, 4, 5), "width": (8, 16, 32), "batch": (8, 32, 128)},
    ),
}  # fmt: skip
QUICK = {
    "MLPs": FAMILIES["MLPs"]._replace(base=Point(2, 8, 4), axes={}),
    "convolutional networks": FAMILIES["convolutional networks"]._replace(base=Point(1, 2, 4), axes={}),
}


def problem(family: Family, point: Point):
    """The training loss as a function of the parameters, and parameters none of which is 0."""
    model = family.make(point.depth, point.width)
    digits = data.load("digits", size=SIDE)
    x, labels = jnp.asarray(digits.train_x[: point.batch]), jnp.asarray(digits.train_y[: point.batch])
    leaves, tree = jax.tree.flatten(model.init(jax.random.key(0), x.shape[1:]))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [p + 0.02 * jax.random.normal(key, p.shape) for p, key in zip(leaves, keys, strict=True)]

    def loss(params):
        images = x.astype(jax.tree.leaves(params)[0].dtype)  # float64 in the run that is compared with
        y = model.apply(params, images)
        return (ops.squared_error(y, images) if family.reconstructs else CROSS_ENTROPY(y, labels)).mean()

    return loss, tree.unflatten(moved)
