"""The models that the commands train, by name, each with its loss, learning rate and number of epochs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from jaxdl import nn, ops
from jaxdl.cli.usage_errors import no_such
from jaxdl.data import Dataset


class Recipe(NamedTuple):
    """How a model is trained.

    Attributes:
        title: The model in words.
        model: Makes the model for a data set.
        loss: A loss of outputs and targets.
        target: The targets, as a function of inputs and labels.
        metrics: Other functions of outputs and targets, by name.
        epochs: Number of epochs.
        rate: Learning rate.
        size: Height and width to which images are resized; None for any.
    """

    title: str
    model: Callable[[Dataset], nn.Layer]
    loss: Callable[..., Any]
    target: Callable[..., Any]
    metrics: dict[str, Callable[..., Any]]
    epochs: int
    rate: float
    size: int | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of an image that the model was made for, or that of the digits."""
        size = self.size or 8
        return size, size, 1 if size <= 28 else 3

    def optimizer(self, steps: int) -> optax.GradientTransformation:
        """Adam with a cosine schedule that decays to zero over a number of steps."""
        return optax.adam(optax.cosine_decay_schedule(self.rate, max(steps, 1)))


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """The fraction of examples whose largest logit is that of the label."""
    return (logits.argmax(-1) == labels).mean()


def _classifier(title, model, epochs, rate, size=None):
    cross_entropy = ops.softmax_cross_entropy_with_integer_labels
    return Recipe(title, model, cross_entropy, lambda x, y: y, {"accuracy": accuracy}, epochs, rate, size)


SMALL = {
    "mlp": _classifier(
        "MLP of widths 128, 128, one output for each class", lambda data: nn.mlp(128, 128, data.classes), 20, 2e-3
    ),
    "convnet": _classifier(
        "Convolutional classifier, 16 and 32 channels", lambda data: nn.small_convnet(data.classes), 20, 4e-3
    ),
    "autoencoder": Recipe(
        "Dense autoencoder with a code of 16",
        lambda data: nn.dense_autoencoder(data.shape),
        ops.squared_error,
        lambda x, y: x,
        {},
        30,
        2e-3,
    ),
}


# Only for `jaxdl train` and `jaxdl plan`.
LARGE = {
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


def recipes(name: str) -> dict[str, Recipe]:
    """The recipe of a small model, or all of them for the name "all"; ValueError for an unknown name."""
    return SMALL if name == "all" else {name: recipe(name, SMALL, " and all")}


def recipe(name: str, known: dict[str, Recipe] = SMALL | LARGE, more: str = "") -> Recipe:
    """The recipe of a model; ValueError for an unknown name."""
    if name not in known:
        raise ValueError(no_such("model", name, known, more))
    return known[name]
