"""Examples for `jaxdl graph`: the functions of `jaxdl.graph.examples` and LeNet-5, each with arguments."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.graph import examples
from jaxdl.nn import lenet5


def _numbers(f, *numbers):
    return lambda: (f, tuple(jnp.float32(x) for x in numbers))


def _two_layers():
    random = jax.random.split(jax.random.key(0), 2)
    weights = [jax.random.normal(k, shape) for k, shape in zip(random, [(4, 3), (1, 4)], strict=True)]
    return examples.two_layers, (weights, jnp.array([1.0, -0.5, 2.0]))


def _lenet():
    model = lenet5()
    params = model.init(jax.random.key(0), (28, 28, 1))

    def lenet(params, images):
        """LeNet-5 on one image: ten scores."""
        return model.apply(params, images)

    return lenet, (params, jax.random.uniform(jax.random.key(1), (1, 28, 28, 1)))


# By name, each a function that returns a function and its arguments.
EXAMPLES: dict[str, Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]]] = {
    "product-and-sum": _numbers(examples.product_and_sum, -2, 5, -4),
    "sum-and-product": _numbers(examples.sum_and_product, -2, 5, -4),
    "xor": lambda: (examples.xor_network, (*examples.XOR.values(), examples.XOR_INPUTS[1])),
    "xor-loss": lambda: (examples.xor_loss, (*examples.XOR.values(), examples.XOR_INPUTS[1], examples.XOR_LABELS[1])),
    "two-layers": _two_layers,
    "lenet": _lenet,
}
