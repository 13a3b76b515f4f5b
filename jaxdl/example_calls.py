"""Examples for `jaxdl graph`: the functions of `jaxdl.graph.examples` and two models, each with arguments."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.graph import examples
from jaxdl.nn import dense_autoencoder, lenet5


@dataclass(frozen=True)
class Example:
    """A function that returns a function and its arguments, and what that function computes, known before it is made.

    Attributes:
        make: The function.
        about: What the function that it returns computes, in a line.
    """

    make: Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]]
    about: str

    def __call__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.make()


def _example(make, described=None):
    """An example that is described by the first line of a docstring: of the function given, or of `make`."""
    return Example(make, ((described or make).__doc__ or "").split("\n")[0])


def _numbers(f, *numbers):
    return _example(lambda: (f, tuple(jnp.float32(x) for x in numbers)), f)


def _xor(f, *inputs):
    return _example(lambda: (f, (*examples.XOR.values(), *(x[1] for x in inputs))), f)


def _array(*rows):
    return jnp.array(rows, jnp.float32)


def _two_layers():
    return examples.two_layers, (_array([1, -1], [2, 0.5]), _array(1, -2), _array(1, 2), jnp.float32(1))


def _shared_weights():
    """x1 = φ1(x; w1), x2 = φ2(x, x1; w2), x3 = φ3(x1, x2; w1): the gradients of the two uses of w1 add up"""
    scaled = lambda x, w: w * x
    f = examples.shared_weights(scaled, lambda x, x1, w: w * (x + x1), lambda x1, x2, w: w * x1 * x2)
    return f, tuple(jnp.float32(x) for x in (2, -1, 3))


def _attention_head():
    weights = _array([1, 0], [0, 1]), _array([0, 1], [1, 0]), _array([2, 0], [0, -1])
    return examples.attention_head, (*weights, _array([1, 0], [0.5, 2]))


def _autoencoder():
    """The squared error of a dense autoencoder's copy of one image"""
    model = dense_autoencoder((8, 8, 1))
    params = model.init(jax.random.key(0), (8, 8, 1))

    def reconstruction_loss(params, image):
        copy = model.apply(params, image)
        loss = ((copy - image) ** 2).mean()
        return loss

    return reconstruction_loss, (params, jax.random.uniform(jax.random.key(1), (8, 8, 1)))


def _lenet():
    """LeNet-5 on one image: ten scores"""
    model = lenet5()
    params = model.init(jax.random.key(0), (28, 28, 1))

    def lenet(params, image):
        return model.apply(params, image)

    return lenet, (params, jax.random.uniform(jax.random.key(1), (28, 28, 1)))


EXAMPLES: dict[str, Example] = {
    "product-and-sum": _numbers(examples.product_and_sum, -2, 5, -4),
    "sum-and-product": _numbers(examples.sum_and_product, -2, 5, -4),
    "sum-gate": _numbers(examples.sum_gate, 3, -1),
    "product-gate": _numbers(examples.product_gate, 3, -1),
    "max-gate": _numbers(examples.max_gate, 3, -1),
    "min-gate": _numbers(examples.min_gate, 3, -1),
    "sigmoid-gate": _numbers(examples.sigmoid_gate, 1),
    "shared-weights": _example(_shared_weights),
    "xor": _xor(examples.xor_network, examples.XOR_INPUTS),
    "xor-loss": _xor(examples.xor_loss, examples.XOR_INPUTS, examples.XOR_LABELS),
    "two-layers": _example(_two_layers, examples.two_layers),
    "attention-head": _example(_attention_head, examples.attention_head),
    "autoencoder": _example(_autoencoder),
    "lenet": _example(_lenet),
}
