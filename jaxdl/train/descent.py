"""Gradient descent as the lectures write it."""

import jax
import optax


def gradient_descent(rate: float) -> optax.GradientTransformation:
    """W ← W − η ∂ℓ/∂W for every parameter W, with the learning rate η = `rate`."""

    def update(gradients, state, params=None):
        del params
        return jax.tree.map(lambda g: -rate * g, gradients), state

    return optax.GradientTransformation(lambda params: (), update)
