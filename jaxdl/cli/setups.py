"""What `jaxdl contrast` trains: a model, its loss, and how long, by name."""

import difflib
from collections.abc import Callable
from typing import NamedTuple

import optax

from jaxdl import nn, ops
from jaxdl.data import Dataset


class Setup(NamedTuple):
    """`target` picks what the loss compares the output with, from inputs and labels."""

    title: str
    model: Callable[[Dataset], nn.Layer]
    loss: Callable
    target: Callable
    metrics: dict[str, Callable]
    epochs: int
    rate: float

    def optimizer(self, steps: int) -> optax.GradientTransformation:
        """Adam, its rate going to zero by the half of a cosine over so many steps."""
        return optax.adam(optax.cosine_decay_schedule(self.rate, max(steps, 1)))


def accuracy(logits, labels):
    """The share of examples whose largest logit is that of the label."""
    return (logits.argmax(-1) == labels).mean()


def _classifier(title, model, epochs, rate):
    cross_entropy = ops.softmax_cross_entropy_with_integer_labels
    return Setup(title, model, cross_entropy, lambda x, y: y, {"accuracy": accuracy}, epochs, rate)


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


def setups(name: str) -> dict[str, Setup]:
    """The setups of a name, or of "all"; ValueError for a name that there is not."""
    if name == "all":
        return SETUPS
    if name not in SETUPS:
        close = difflib.get_close_matches(name, SETUPS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ValueError(f"unknown model {name!r}: there are {', '.join(SETUPS)} and all{hint}")
    return {name: SETUPS[name]}
