"""Multi-layer perceptrons, and what becomes of them without their activations."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.nn.layer import Layer, serial, with_params
from jaxdl.nn.layers import dense, dropout, flatten, relu


def mlp(*widths: int, activation: Layer = relu, drop: float = 0.0) -> Layer:
    """A multi-layer perceptron: (n, …) → (n, widths[-1]); an activation between layers, none at the end.

    Its output are numbers for regression (`jaxdl.ops.squared_error`), or logits for classification
    (`jaxdl.ops.softmax_cross_entropy_with_integer_labels`).
    mlp(128, 128, 10) on 64 inputs has 64·128 + 128 + 128·128 + 128 + 128·10 + 10 = 26,122 parameters.
    """
    if not widths:
        raise ValueError("mlp: give at least one width, that of the output")
    hidden = [part for width in widths[:-1] for part in (dense(width), activation, dropout(drop))]
    return serial(flatten, *hidden, dense(widths[-1]))


def mlp_params(*layers: tuple) -> tuple:
    """The parameters of an mlp of as many layers, each given as (w, b) with w (inputs, outputs)."""
    *hidden, last = ({"w": jnp.asarray(w, jnp.float32), "b": jnp.asarray(b, jnp.float32)} for w, b in layers)
    return ((), *(part for p in hidden for part in (p, (), ())), last)


def linear_network(*widths: int) -> Layer:
    """Dense layers with nothing between them: (n, i) → (n, widths[-1])."""
    return serial(*map(dense, widths))


def collapsed(params: Any) -> tuple[dict[str, jax.Array]]:
    """The one layer that a linear network is: w̃ = w₁ w₂ ⋯, b̃ = (b₁ w₂ + b₂) w₃ + ⋯, as `linear_network` takes it."""
    w, b = params[0]["w"], params[0]["b"]
    for p in params[1:]:
        w, b = w @ p["w"], b @ p["w"] + p["b"]
    return ({"w": w, "b": b},)


def xor_network() -> Layer:
    """XOR by two ReLUs, wᵀ max(0, Wᵀx + c) + b, with the weights known: (n, 2) → (n, 1).

    W = [[1, 1], [1, 1]], c = (0, −1), w = (1, −2), b = 0 (Goodfellow et al. 2016, 6.1).
    """
    return with_params(mlp(2, 1), mlp_params(([[1, 1], [1, 1]], [0, -1]), ([[1], [-2]], [0])))
