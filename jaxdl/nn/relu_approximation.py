"""Functions on an interval as sums of ReLUs: the theorem of universal approximation, by construction."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxdl.nn.layer import Layer, with_params
from jaxdl.nn.multilayer_perceptrons import mlp, mlp_params


def six_relus() -> Layer:
    """−n₁ − n₂ − n₃ + n₄ + n₅ + n₆, about x³ + x² − x − 1 on [−2, 2] (6.7 for 9 at x = 2): (n, 1) → (n, 1).

    n₁ = relu(−5x − 7.7), n₂ = relu(−1.2x − 1.3), n₃ = relu(1.2x + 1), n₄ = relu(1.2x − 0.2),
    n₅ = relu(2x − 1.1), n₆ = relu(5x − 5) (example of B. Fortuner).

    Returns:
        A model with these parameters.

    Examples:
        >>> layer = six_relus()
        >>> layer.apply(layer.init(jax.random.key(0), (1,)), jnp.ones((5, 1))).shape
        (5, 1)
    """
    w, b = [[-5, -1.2, 1.2, 1.2, 2, 5]], [-7.7, -1.3, 1, -0.2, -1.1, -5]
    return with_params(mlp(6, 1), mlp_params((w, b), ([[-1], [-1], [-1], [1], [1], [1]], [0])))


def relu_interpolation(f: Callable[[jax.Array], jax.Array], a: float, b: float, width: int) -> Layer:
    """The sum of `width` ReLUs that equals f at width + 1 equidistant points of [a, b] and is linear between them.

    With h = (b − a)/width the error is at most h²/8 max |f″| for a smooth f: doubling the width divides it by 4.

    Args:
        f: A function of an array of numbers, applied to each.
        a: The first point.
        b: The last point.
        width: The number of ReLUs.

    Returns:
        A model (n, 1) → (n, 1) with known parameters.

    Raises:
        ValueError: The width is less than 1, or a not less than b.

    Examples:
        >>> layer = relu_interpolation(jnp.sin, 0.0, 3.0, 64)
        >>> params = layer.init(jax.random.key(0), (1,))
        >>> bool(abs(layer.apply(params, jnp.array([[1.0]])) - jnp.sin(1.0)) < 1e-3)
        True
    """
    if width < 1 or not a < b:
        raise ValueError(f"relu_interpolation: width must be 1 or more and a < b, got {width}, [{a}, {b}]")
    knots = jnp.linspace(a, b, width + 1)
    y = f(knots)
    slopes = jnp.diff(y) / jnp.diff(knots)
    bends = jnp.diff(slopes, prepend=0.0)
    return with_params(mlp(width, 1), mlp_params((jnp.ones((1, width)), -knots[:-1]), (bends[:, None], y[:1])))
