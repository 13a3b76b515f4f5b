"""One layer of neurons: from the neuron of 1943 to logistic regression."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.nn.combinators import serial
from jaxdl.nn.layer import Layer, then, with_params
from jaxdl.nn.layers import dense, flatten, step


def mcculloch_pitts(weights: Sequence[float], threshold: float) -> Layer:
    """y = 1 where Σ wᵢ xᵢ ≥ threshold, else 0 (McCulloch and Pitts 1943).

    The weights are given, not learned. mcculloch_pitts([1, 1], 2) is AND, mcculloch_pitts([1, 1], 1) is OR, and
    mcculloch_pitts([-1], 0) is NOT.

    Args:
        weights: 1 for an input that excites, −1 for one that inhibits.
        threshold: The smallest sum for which the neuron fires.

    Returns:
        A model (n, len(weights)) → (n, 1).

    Examples:
        >>> x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> model = mcculloch_pitts([1, 1], 2)  # AND
        >>> model.apply(model.init(jax.random.key(0), (2,)), x)[:, 0].tolist()
        [0.0, 0.0, 1.0]
    """
    w = jnp.asarray(weights, jnp.float32)
    return with_params(perceptron(), ({"w": w[:, None], "b": jnp.full(1, -float(threshold))}, ()))


def perceptron() -> Layer:
    """y = 1 where wᵀx + b ≥ 0, else 0 (Rosenblatt 1957).

    Returns:
        A model (n, i) → (n, 1), whose weights `perceptron_rule` learns.

    Examples:
        >>> layer = perceptron()
        >>> layer.apply(layer.init(jax.random.key(0), (2,)), jnp.ones((5, 2))).shape
        (5, 1)
    """
    return serial(dense(1, w_init="zeros"), step)


def perceptron_rule(params: Any, x: jax.Array, y: jax.Array, *, rate: float = 1.0) -> tuple[Any, jax.Array]:
    """One pass of Rosenblatt's rule: w ← w + η (y − ŷ) x and b ← b + η (y − ŷ) for each example in turn.

    Args:
        params: The parameters of `perceptron()`.
        x: The inputs, (n, i).
        y: The labels, (n,), 0 or 1.
        rate: The learning rate η.

    Returns:
        The new parameters, and the number of mistakes on the way. It is 0 once the data are separated, after at most
        (R/γ)² mistakes in all for a margin of γ and inputs of length R, the bias's 1 included (Novikoff 1962).

    Raises:
        ValueError: x is not (n, i) or y not (n,).

    Examples:
        >>> from jaxdl import data
        >>> x, y = data.separated(100, margin=0.1, seed=0)
        >>> params = perceptron().init(jax.random.key(0), (2,))
        >>> for _ in range(50):
        ...     params, mistakes = perceptron_rule(params, x, y)
        >>> int(mistakes)
        0
    """
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise ValueError(f"perceptron_rule: x must be (n, i) and y (n,), got {x.shape} and {y.shape}")
    model = perceptron()

    def example(params, xy):
        x, y = xy
        error = y.astype(x.dtype) - model.apply(params, x)[0]
        p = params[0]
        return ({"w": p["w"] + rate * error * x[:, None], "b": p["b"] + rate * error}, ()), error != 0

    params, wrong = jax.lax.scan(example, params, (x, y))
    return params, wrong.sum()


def linear_classifier(classes: int = 10) -> Layer:
    """Logits Wx + b.

    Args:
        classes: The number of classes.

    Returns:
        A model (n, …) → (n, classes).

    Examples:
        >>> layer = linear_classifier(10)
        >>> layer.apply(layer.init(jax.random.key(0), (28, 28, 1)), jnp.ones((5, 28, 28, 1))).shape
        (5, 10)
    """
    return serial(flatten, dense(classes))


def logistic_regression() -> Layer:
    """The logit z = wᵀx + b of P(y = 1 | x) = σ(z). Its loss is `jaxdl.ops.logistic_loss`.

    Returns:
        A model (n, …) → (n,).

    Examples:
        >>> layer = logistic_regression()
        >>> layer.apply(layer.init(jax.random.key(0), (784,)), jnp.ones((5, 784))).shape
        (5,)
    """
    return then(serial(flatten, dense(1, w_init="zeros")), lambda z: z[..., 0])


def xor_features(x: jax.Array) -> jax.Array:
    """φ(x_u, x_v) = (x_u, x_v, x_u x_v), of which XOR is a linear function.

    Args:
        x: Pairs (*n, 2).

    Returns:
        The features, (*n, 3).

    Examples:
        >>> xor_features(jnp.array([[0.0, 1.0], [1.0, 1.0]])).tolist()
        [[0.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    """
    return jnp.concatenate([x, x[..., :1] * x[..., 1:]], -1)
