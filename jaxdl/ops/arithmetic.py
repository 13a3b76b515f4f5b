"""Arithmetic on two arrays, broadcast against each other.

One entry each: what is saved, the two cotangents, then the definition. Cotangents are summed over broadcast axes and
brought to their argument's dtype.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from jaxdl.ops.precision import unbroadcast
from jaxdl.rule import Op, op, saving

COMMON = """

Args:
    x: Array of any shape and dtype.
    y: Array that x broadcasts against, of the same dtype.

Returns:
    Array of the shape to which x and y broadcast.

Raises:
    ValueError: x and y do not broadcast against each other.
"""


def binary_op(
    saved: Callable[[Array, Array, Array], tuple], cotangents: Callable[..., tuple[Any, Any]]
) -> Callable[[Callable[[Array, Array], Array]], Op[[ArrayLike, ArrayLike], Array]]:
    """A decorator that makes an op of a function z = f(x, y).

    Args:
        saved: The residuals, `saved(x, y, z)`.
        cotangents: x̄ and ȳ, `cotangents(*residuals, dz)`.
    """

    def decorate(definition: Callable[[Array, Array], Array]) -> Op[[ArrayLike, ArrayLike], Array]:
        @functools.wraps(definition)
        def primal(x, y):
            try:
                jnp.broadcast_shapes(x.shape, y.shape)
            except ValueError:
                raise ValueError(
                    f"{definition.__name__}: x and y must broadcast against each other, got {x.shape} and {y.shape}"
                ) from None
            return definition(x, y)

        def rule(x, y):
            z = definition(x, y)
            x_type, y_type = jax.typeof(x), jax.typeof(y)

            def pullback(*residuals_and_dz):
                dx, dy = cotangents(*residuals_and_dz)
                return unbroadcast(dx, x_type), unbroadcast(dy, y_type)

            return z, saving(pullback, *saved(x, y, z))

        primal.__doc__ = f"{definition.__doc__}{COMMON}"
        operation = op(primal)
        operation.rule(rule)
        return operation

    return decorate


def _power_cotangents(x, y, z, dz):
    """x̄ = z̄ y xʸ⁻¹,  ȳ = z̄ z log x; at x = 0 the second is 0, and so is the first if y = 0"""
    dx = y * jnp.power(jnp.where((x == 0) & (y == 0), 1, x), y - 1)
    dy = z * jnp.log(jnp.where(x == 0, 1, x))
    return dz * dx, dz * dy


def _to_the_selected(order, dz):
    """z̄ to the argument that z is equal to, half of it to each where they are equal. order = sign(x − y), as int8."""
    share = (1 + order).astype(dz.dtype) / 2
    return dz * share, dz * (1 - share)


def _order(x, y):
    return (x > y).astype(jnp.int8) - (x < y).astype(jnp.int8)


@binary_op(lambda x, y, z: (), lambda dz: (dz, dz))
def add(x: Array, y: Array) -> Array:
    """z = x + y"""
    return x + y


@binary_op(lambda x, y, z: (), lambda dz: (dz, -dz))
def subtract(x: Array, y: Array) -> Array:
    """z = x − y"""
    return x - y


@binary_op(lambda x, y, z: (x, y), lambda x, y, dz: (dz * y, dz * x))
def multiply(x: Array, y: Array) -> Array:
    """z = xy.  x̄ = z̄y,  ȳ = z̄x"""
    return x * y


@binary_op(lambda x, y, z: (y, z), lambda y, z, dz: (dz / y, -(dz / y) * z))
def divide(x: Array, y: Array) -> Array:
    """z = x/y.  x̄ = z̄/y,  ȳ = −(z̄/y)z: y is never squared, so it does not overflow."""
    return x / y


@binary_op(lambda x, y, z: (x, y, z), _power_cotangents)
def power(x: Array, y: Array) -> Array:
    """z = xʸ.  x̄ = z̄ y xʸ⁻¹,  ȳ = z̄ z log x, by convention 0 at x = 0."""
    return jnp.power(x, y)


@binary_op(lambda x, y, z: (_order(x, y),), _to_the_selected)
def maximum(x: Array, y: Array) -> Array:
    """z = max(x, y).  z̄ flows to the larger; by convention equal values get half of it each."""
    return jnp.maximum(x, y)


@binary_op(lambda x, y, z: (_order(y, x),), _to_the_selected)
def minimum(x: Array, y: Array) -> Array:
    """z = min(x, y).  z̄ flows to the smaller; by convention equal values get half of it each."""
    return jnp.minimum(x, y)
