"""The functions with which the lectures explain back-propagation, and their numbers."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import nn
from jax.ad_checkpoint import checkpoint_name as named

_array = lambda *numbers: np.array(numbers, np.float32)
XOR: dict[str, Any] = {"W": _array([1, 1], [1, 1]), "c": _array(0, -1), "w": _array(1, -2), "b": np.float32(0)}
XOR_INPUTS = _array([0, 0], [1, 0], [0, 1], [1, 1])
XOR_LABELS = _array(0, 1, 1, 0)


def product_and_sum(x: jax.Array, y: jax.Array, z: jax.Array) -> jax.Array:
    """f = xy + z"""
    return named(x * y, "g") + z


def sum_and_product(x: jax.Array, y: jax.Array, z: jax.Array) -> jax.Array:
    """f = (x + y) z"""
    return named(x + y, "g") * z


def xor_network(W: jax.Array, c: jax.Array, w: jax.Array, b: jax.Array, x: jax.Array) -> jax.Array:
    """z = wᵀ max(0, Wᵀx + c) + b"""
    h = named(nn.relu(W.T @ x + c), "h")
    return named(w @ h + b, "z")


def xor_loss(W: jax.Array, c: jax.Array, w: jax.Array, b: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """L = ζ((1 − 2y) z), the logistic loss of label y, with ζ(r) = log(1 + eʳ)."""
    return named(nn.softplus((1 - 2 * y) * xor_network(W, c, w, b, x)), "L")


def two_layers(params: Sequence[jax.Array], x: jax.Array) -> jax.Array:
    """w⁽²⁾ σ(w⁽¹⁾ x)"""
    first, second = params
    return (second @ named(nn.sigmoid(first @ x), "h")).sum()


def shared_weights(
    phi1: Callable[..., Any], phi2: Callable[..., Any], phi3: Callable[..., Any]
) -> Callable[..., jax.Array]:
    """x⁽¹⁾ = φ⁽¹⁾(x; w⁽¹⁾), x⁽²⁾ = φ⁽²⁾(x, x⁽¹⁾; w⁽²⁾), x⁽³⁾ = φ⁽³⁾(x⁽¹⁾, x⁽²⁾; w⁽¹⁾): w⁽¹⁾ is used twice."""

    def f(w1, w2, x):
        x1 = named(phi1(x, w1), "x1")
        x2 = named(phi2(x, x1, w2), "x2")
        return named(phi3(x1, x2, w1), "x3")

    return f
