"""What `jaxdl contrast` and `jaxdl train` train: a model, its loss, and how long, by name."""

import difflib
from collections.abc import Callable
from typing import NamedTuple

import optax

from jaxdl import nn, ops
from jaxdl.data import Dataset


class Setup(NamedTuple):
    """`target` picks what the loss compares the output with, from inputs and labels.

    size: of images, to which others are resized; None for any.
    """

    title: str
    model: Callable[[Dataset], nn.Layer]
    loss: Callable
    target: Callable
    metrics: dict[str, Callable]
    epochs: int
    rate: float
    size: int | None = None

    def optimizer(self, steps: int) -> optax.GradientTransformation:
        """Adam, its rate going to zero by the half of a cosine over so many steps."""
        return optax.adam(optax.cosine_decay_schedule(self.rate, max(steps, 1)))


def accuracy(logits, labels):
    """The share of examples whose largest logit is that of the label."""
    return (logits.argmax(-1) == labels).mean()


def _classifier(title, model, epochs, rate, size=None):
    cross_entropy = ops.softmax_cross_entropy_with_integer_labels
    return Setup(title, model, cross_entropy, lambda x, y: y, {"accuracy": accuracy}, epochs, rate, size)


SETUPS = {
    "mlp": _classifier(
        "MLP of widths 128, 128, one output a class", lambda data: nn.mlp(128, 128, data.classes), 20, 2e-3
    ),
    "convnet": _classifier(
        "Convolutional classifier, 16 and 32 channels", lambda data: nn.small_convnet(data.classes), 20, 4e-3
    ),
    "autoencoder": Setup(
        "Dense autoencoder with a code of 16",
        lambda data: nn.dense_autoencoder(data.shape),
        ops.squared_error,
        lambda x, y: x,
        {},
        30,
        2e-3,
    ),
}


# Of the lectures, for `jaxdl train` and `jaxdl plan`.
LARGER = {
    "lenet5": _classifier("LeNet-5", lambda data: nn.lenet5(data.classes), 20, 2e-3, 28),
    "nin": _classifier("Network in network", lambda data: nn.nin_cifar10(data.classes), 60, 1e-3, 32),
    "vit": _classifier(
        "Vision transformer of 6 blocks, patches of 4",
        lambda data: nn.vit(data.classes, patch=4, width=128, depth=6, heads=4),
        60, 1e-3, 32,
    ),
    "alexnet": _classifier("AlexNet", lambda data: nn.alexnet(data.classes), 90, 1e-4, 224),
    "vit-b16": _classifier("ViT-B/16", lambda data: nn.vit_b16(data.classes), 90, 3e-4, 224),
}  # fmt: skip


def setups(name: str) -> dict[str, Setup]:
    """The setups of a name, or of "all"; ValueError for a name that there is not."""
    return SETUPS if name == "all" else {name: setup(name, SETUPS, " and all")}


def setup(name: str, known: dict[str, Setup] = SETUPS | LARGER, more: str = "") -> Setup:
    """One of those known; ValueError for a name that there is not."""
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"unknown model {name!r}: there are {', '.join(known)}{more}{hint}")
    return known[name]
