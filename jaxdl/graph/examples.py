"""The functions with which lectures explain back-propagation, and their numbers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import nn

_array = lambda *numbers: np.array(numbers, np.float32)
XOR: dict[str, Any] = {"W": _array([1, 1], [1, 1]), "c": _array(0, -1), "w": _array(1, -2), "b": np.float32(0)}
XOR_INPUTS = _array([0, 0], [1, 0], [0, 1], [1, 1])
XOR_LABELS = _array(0, 1, 1, 0)


def product_and_sum(x: jax.Array, y: jax.Array, z: jax.Array) -> jax.Array:
    """f = xy + z"""
    g = x * y
    f = g + z
    return f


def sum_and_product(x: jax.Array, y: jax.Array, z: jax.Array) -> jax.Array:
    """L = (x + y) z"""
    g = x + y
    L = g * z
    return L


def sum_gate(x1: jax.Array, x2: jax.Array) -> jax.Array:
    """z = x1 + x2, L = 2z: a sum distributes, ∂z/∂xᵢ = 1; every input gets the upstream gradient"""
    z = x1 + x2
    L = 2 * z
    return L


def product_gate(x1: jax.Array, x2: jax.Array) -> jax.Array:
    """z = x1 x2, L = 2z: a product swaps, ∂z/∂xᵢ = z/xᵢ; each input gets the other one times the upstream gradient"""
    z = x1 * x2
    L = 2 * z
    return L


def max_gate(x1: jax.Array, x2: jax.Array) -> jax.Array:
    """z = max(x1, x2), L = 2z: a maximum routes, ∂z/∂xᵢ = 1 for xᵢ = z, else 0; the largest input gets it all"""
    z = jnp.maximum(x1, x2)
    L = 2 * z
    return L


def min_gate(x1: jax.Array, x2: jax.Array) -> jax.Array:
    """z = min(x1, x2), L = 2z: a minimum routes, ∂z/∂xᵢ = 1 for xᵢ = z, else 0; the smallest input gets it all"""
    z = jnp.minimum(x1, x2)
    L = 2 * z
    return L


def sigmoid_gate(x: jax.Array) -> jax.Array:
    """z = σ(x), L = 2z: a sigmoid scales, ∂z/∂x = z (1 − z), at most a quarter"""
    z = nn.sigmoid(x)
    L = 2 * z
    return L


def xor_network(W: jax.Array, c: jax.Array, w: jax.Array, b: jax.Array, x: jax.Array) -> jax.Array:
    """z = wᵀ max(0, Wᵀx + c) + b"""
    u1 = W.T @ x
    u2 = u1 + c
    h = nn.relu(u2)
    u3 = w @ h
    z = u3 + b
    return z


def xor_loss(W: jax.Array, c: jax.Array, w: jax.Array, b: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """L = ζ((1 − 2y) z), the logistic loss of label y, with ζ(r) = log(1 + eʳ)."""
    z = xor_network(W, c, w, b, x)
    u4 = (1 - 2 * y) * z
    L = nn.softplus(u4)
    return L


def two_layers(w1: jax.Array, w2: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
    """L = (ŷ − y)², ŷ = w2 A, A = σ(z), z = w1 x: two layers; ∂L/∂ŷ is part of both gradients"""
    z = w1 @ x
    A = nn.sigmoid(z)
    y_hat = w2 @ A
    L = (y_hat - y) ** 2
    return L


def shared_weights(
    phi1: Callable[..., Any], phi2: Callable[..., Any], phi3: Callable[..., Any]
) -> Callable[..., jax.Array]:
    """x⁽¹⁾ = φ⁽¹⁾(x; w⁽¹⁾), x⁽²⁾ = φ⁽²⁾(x, x⁽¹⁾; w⁽²⁾), x⁽³⁾ = φ⁽³⁾(x⁽¹⁾, x⁽²⁾; w⁽¹⁾): w⁽¹⁾ is used twice."""

    def network(w1, w2, x):
        """x1 = φ1(x; w1), x2 = φ2(x, x1; w2), x3 = φ3(x1, x2; w1): the gradients of the two uses of w1 add up"""
        x1 = phi1(x, w1)
        x2 = phi2(x, x1, w2)
        x3 = phi3(x1, x2, w1)
        return x3

    return network


def attention_head(W_q: jax.Array, W_k: jax.Array, W_v: jax.Array, x: jax.Array) -> jax.Array:
    """softmax(q kᵀ / √d) v with q = x W_q, k = x W_k, v = x W_v: one attention head"""
    q = x @ W_q
    k = x @ W_k
    v = x @ W_v
    scores = q @ k.T / q.shape[-1] ** 0.5
    weights = nn.softmax(scores)
    return weights @ v
