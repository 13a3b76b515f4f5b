"""Examples for `jaxdl graph`: the functions of `jaxdl.graph.examples` and two models, each with arguments."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.graph import examples
from jaxdl.nn import dense_autoencoder, lenet5


def _numbers(f, *numbers):
    return lambda: (f, tuple(jnp.float32(x) for x in numbers))


def _array(*rows):
    return jnp.array(rows, jnp.float32)


def _two_layers():
    return examples.two_layers, (_array([1, -1], [2, 0.5]), _array(1, -2), _array(1, 2), jnp.float32(1))


def _shared_weights():
    scaled = lambda x, w: w * x
    f = examples.shared_weights(scaled, lambda x, x1, w: w * (x + x1), lambda x1, x2, w: w * x1 * x2)
    return f, tuple(jnp.float32(x) for x in (2, -1, 3))


def _attention_head():
    weights = _array([1, 0], [0, 1]), _array([0, 1], [1, 0]), _array([2, 0], [0, -1])
    return examples.attention_head, (*weights, _array([1, 0], [0.5, 2]))


def _autoencoder():
    model = dense_autoencoder((8, 8, 1))
    params = model.init(jax.random.key(0), (8, 8, 1))

    def reconstruction_loss(params, image):
        """The squared error of a dense autoencoder's copy of one image"""
        copy = model.apply(params, image)
        loss = ((copy - image) ** 2).mean()
        return loss

    return reconstruction_loss, (params, jax.random.uniform(jax.random.key(1), (8, 8, 1)))


def _lenet():
    model = lenet5()
    params = model.init(jax.random.key(0), (28, 28, 1))

    def lenet(params, image):
        """LeNet-5 on one image: ten scores"""
        return model.apply(params, image)

    return lenet, (params, jax.random.uniform(jax.random.key(1), (28, 28, 1)))


# By name, each a function that returns a function and its arguments.
EXAMPLES: dict[str, Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]]] = {
    "product-and-sum": _numbers(examples.product_and_sum, -2, 5, -4),
    "sum-and-product": _numbers(examples.sum_and_product, -2, 5, -4),
    "sum-gate": _numbers(examples.sum_gate, 3, -1),
    "product-gate": _numbers(examples.product_gate, 3, -1),
    "max-gate": _numbers(examples.max_gate, 3, -1),
    "min-gate": _numbers(examples.min_gate, 3, -1),
    "sigmoid-gate": _numbers(examples.sigmoid_gate, 1),
    "shared-weights": _shared_weights,
    "xor": lambda: (examples.xor_network, (*examples.XOR.values(), examples.XOR_INPUTS[1])),
    "xor-loss": lambda: (examples.xor_loss, (*examples.XOR.values(), examples.XOR_INPUTS[1], examples.XOR_LABELS[1])),
    "two-layers": _two_layers,
    "attention-head": _attention_head,
    "autoencoder": _autoencoder,
    "lenet": _lenet,
}
