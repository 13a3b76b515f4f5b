"""Rotations by angle and axis: v turns by ‖v‖ about v/‖v‖. v must not be zero."""

import jax.numpy as jnp


def rotated(v, x):
    """R(v) x by Rodrigues' formula: x cos θ + (a × x) sin θ + a (a·x)(1 − cos θ); (3,), (3,) → (3,)."""
    angle = jnp.sqrt((v**2).sum())
    axis, c, s = v / angle, jnp.cos(angle), jnp.sin(angle)
    return x * c + jnp.cross(axis, x) * s + axis * (axis @ x) * (1 - c)


def matrix(v):
    """R(v) = I cos θ + [a]× sin θ + a aᵀ (1 − cos θ): (3,) → (3, 3)."""
    angle = jnp.sqrt((v**2).sum())
    axis, c, s = v / angle, jnp.cos(angle), jnp.sin(angle)
    return jnp.eye(3, dtype=v.dtype) * c + cross(axis) * s + jnp.outer(axis, axis) * (1 - c)


def cross(v):
    """[v]×, with [v]× x = v × x."""
    zero = jnp.zeros_like(v[0])
    return jnp.array([[zero, -v[2], v[1]], [v[2], zero, -v[0]], [-v[1], v[0], zero]])


def derivative_parts(v):
    """R(v) and the matrix D with ∂R(v)x/∂v = −R [x]× D.

    D = (v vᵀ + (Rᵀ − I)[v]×) / ‖v‖² (Gallego and Yezzi 2015, "A compact formula for the derivative of a 3-D rotation
    in exponential coordinates").
    """
    r = matrix(v)
    return r, (jnp.outer(v, v) + (r.T - jnp.eye(3, dtype=v.dtype)) @ cross(v)) / (v**2).sum()
