"""Classifiers: from one neuron to a small convolutional network. All take a batch and give logits."""

from jaxdl.nn.layer import Layer, serial
from jaxdl.nn.layers import avg_pool, conv, dense, dropout, flatten, relu, step


def perceptron() -> Layer:
    """y = 1 where wᵀx + b ≥ 0, else 0 (Rosenblatt 1957): (n, i) → (n, 1)."""
    return serial(dense(1, w_init="zeros"), step)


def linear_classifier(classes: int = 10) -> Layer:
    """Logits Wx + b, one a class: (n, …) → (n, classes)."""
    return serial(flatten, dense(classes))


def mlp(*widths: int, activation: Layer = relu, drop: float = 0.0) -> Layer:
    """A multi-layer perceptron: (n, …) → (n, widths[-1]); an activation between layers, none at the end.

    mlp(128, 128, 10) on 64 inputs has 64·128 + 128 + 128·128 + 128 + 128·10 + 10 = 26,122 parameters.
    """
    if not widths:
        raise ValueError("mlp: give at least one width, that of the output")
    hidden = [part for width in widths[:-1] for part in (dense(width), activation, dropout(drop))]
    return serial(flatten, *hidden, dense(widths[-1]))


def small_convnet(classes: int = 10) -> Layer:
    """Two convolutions and two linear layers: (n, h, w, c) → (n, classes), h and w even.

    On 8 × 8 × 1 images it has 160 + 4,640 + 32,832 + 650 = 38,282 parameters.
    """
    return serial(
        conv(16, 3, padding="SAME"), relu, avg_pool(2),
        conv(32, 3, padding="SAME"), relu,
        flatten, dense(64), relu, dropout(0.3), dense(classes))  # fmt: skip
