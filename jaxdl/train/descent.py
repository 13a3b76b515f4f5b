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
    """
    with install_hint("optax", "jaxdl.train"):
        import optax

    def update(updates, state, params=None):
        del params
        return jax.tree.map(lambda g: -rate * g, updates), state

    return optax.GradientTransformation(lambda params: (), update)
