"""Multi-layer perceptrons, and linear networks, which are equal to one layer."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.nn.combinators import serial
from jaxdl.nn.layer import Layer, with_params
from jaxdl.nn.layers import dense, dropout, flatten, relu


def mlp(*widths: int, activation: Layer = relu, dropout_rate: float = 0.0) -> Layer:
    """A multi-layer perceptron, with an activation between layers and none at the end.

    Its outputs are numbers for regression (`jaxdl.ops.squared_error`) or logits for classification
    (`jaxdl.ops.softmax_cross_entropy_with_integer_labels`). mlp(128, 128, 10) with 64 inputs has
    64·128 + 128 + 128·128 + 128 + 128·10 + 10 = 26,122 parameters.

    Args:
        *widths: Those of the hidden layers and of the output.
        activation: A layer that is applied after each hidden layer.
        dropout_rate: That of the hidden layers.

    Returns:
        A model (n, …) → (n, widths[-1]).

    Raises:
        ValueError: No width is given.

    Examples:
        >>> params = mlp(128, 128, 10).init(jax.random.key(0), (64,))
        >>> nn.parameter_count(params)
        26122
    """
    if not widths:
        raise ValueError("mlp: give at least one width, that of the output")
    hidden = [part for width in widths[:-1] for part in (dense(width), activation, dropout(dropout_rate))]
    return serial(flatten, *hidden, dense(widths[-1]))


def mlp_params(*layers: tuple[Any, Any]) -> tuple[Any, ...]:
    """Makes the parameters of an `mlp`.

    Args:
        *layers: A pair (w, b) for each layer, w (inputs, outputs) and b (outputs,).

    Returns:
        The parameters of an `mlp` with as many layers.

    Examples:
        >>> params = mlp_params((jnp.ones((2, 1)), jnp.zeros(1)))
        >>> mlp(1).apply(params, jnp.ones((5, 2))).shape
        (5, 1)
    """
    *hidden, last = ({"w": jnp.asarray(w, jnp.float32), "b": jnp.asarray(b, jnp.float32)} for w, b in layers)
    return ((), *(part for p in hidden for part in (p, (), ())), last)


def linear_network(*widths: int) -> Layer:
    """Dense layers with no activation between them.

    Args:
        *widths: Those of the layers.

    Returns:
        A model (n, i) → (n, widths[-1]).

    Examples:
        >>> layer = linear_network(8, 4, 2)
        >>> layer.apply(layer.init(jax.random.key(0), (3,)), jnp.ones((5, 3))).shape
        (5, 2)
    """
    return serial(*map(dense, widths))


def collapsed(params: Any) -> tuple[dict[str, jax.Array]]:
    """The one layer that is equal to a linear network: w̃ = w₁ w₂ ⋯, b̃ = (b₁ w₂ + b₂) w₃ + ⋯.

    Args:
        params: The parameters of a `linear_network`.

    Returns:
        The parameters of a `linear_network` of one layer.

    Examples:
        >>> params = linear_network(8, 4, 2).init(jax.random.key(0), (3,))
        >>> collapsed(params)[0]["w"].shape
        (3, 2)
    """
    w, b = params[0]["w"], params[0]["b"]
    for p in params[1:]:
        w, b = w @ p["w"], b @ p["w"] + p["b"]
    return ({"w": w, "b": b},)


def xor_network() -> Layer:
    """XOR by two ReLUs, wᵀ max(0, Wᵀx + c) + b, with given weights: (n, 2) → (n, 1).

    W = [[1, 1], [1, 1]], c = (0, −1), w = (1, −2), b = 0 (Goodfellow et al. 2016, 6.1).

    Returns:
        A model with these parameters.

    Examples:
        >>> model = xor_network()
        >>> x = jnp.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> model.apply(model.init(jax.random.key(0), (2,)), x)[:, 0].tolist()
        [0.0, 1.0, 1.0, 0.0]
    """
    return with_params(mlp(2, 1), mlp_params(([[1, 1], [1, 1]], [0, -1]), ([[1], [-2]], [0])))
