"""Plain gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax

from jaxdl.optional_packages import install_hint

if TYPE_CHECKING:
    import optax


def gradient_descent(rate: float) -> optax.GradientTransformation:
    """Gradient descent without momentum: W ← W − η ∂ℓ/∂W for every parameter W.

    Args:
        rate: The learning rate η.

    Returns:
        An optimiser for `fit`, equal to `optax.sgd(rate)`.

    Examples:
        >>> optimizer = gradient_descent(0.5)
        >>> updates, state = optimizer.update(jnp.ones(2), optimizer.init(jnp.ones(2)))
        >>> updates.tolist()
        [-0.5, -0.5]
    """
    with install_hint("optax", "jaxdl.train"):
        import optax

    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda g: -rate * g, updates), state

    return optax.GradientTransformation(lambda params: (), update)
