"""Arithmetic on two arrays, broadcast against each other: the gates of the lectures.

One entry each: name, definition, what is saved, and the two cotangents. Cotangents are summed over
broadcast axes and brought to their argument's dtype.
"""

import jax
import jax.numpy as jnp

from jaxdl.ops.precision import fitted
from jaxdl.rule import op, saving


def binary(name, definition, saved, cotangents, *, about):
    """An op z = f(x, y): `saved(x, y, z)` are the residuals, `cotangents(*saved, dz)` gives x̄ and ȳ."""

    def primal(x, y):
        try:
            jnp.broadcast_shapes(x.shape, y.shape)
        except ValueError:
            raise ValueError(
                f"{name}: x and y must broadcast against each other, got {x.shape} and {y.shape}"
            ) from None
        return definition(x, y)

    def rule(x, y):
        z = definition(x, y)
        x_type, y_type = jax.typeof(x), jax.typeof(y)

        def pullback(*residuals_and_dz):
            dx, dy = cotangents(*residuals_and_dz)
            return fitted(dx, x_type), fitted(dy, y_type)

        return z, saving(pullback, *saved(x, y, z))

    primal.__name__ = primal.__qualname__ = name
    primal.__doc__ = about
    operation = op(primal)
    operation.rule(rule)
    return operation


def _power_cotangents(x, y, z, dz):
    """x̄ = z̄ y xʸ⁻¹,  ȳ = z̄ z log x; at x = 0 the second is 0, and so is the first if y = 0"""
    dx = y * jnp.power(jnp.where((x == 0) & (y == 0), 1, x), y - 1)
    dy = z * jnp.log(jnp.where(x == 0, 1, x))
    return dz * dx, dz * dy


def _shares(order, dz):
    """To each side what it determined; equal values share by halves. order = sign(x − y), as int8."""
    share = (1 + order).astype(dz.dtype) / 2
    return dz * share, dz * (1 - share)


def _order(x, y):
    return (x > y).astype(jnp.int8) - (x < y).astype(jnp.int8)


add = binary("add", lambda x, y: x + y, lambda x, y, z: (), lambda dz: (dz, dz), about="z = x + y")
subtract = binary("subtract", lambda x, y: x - y, lambda x, y, z: (), lambda dz: (dz, -dz), about="z = x − y")
multiply = binary(
    "multiply",
    lambda x, y: x * y,
    lambda x, y, z: (x, y),
    lambda x, y, dz: (dz * y, dz * x),
    about="z = xy.  x̄ = z̄y,  ȳ = z̄x",
)
divide = binary(
    "divide",
    lambda x, y: x / y,
    lambda x, y, z: (y, z),
    lambda y, z, dz: (dz / y, -(dz / y) * z),
    about="z = x/y.  x̄ = z̄/y,  ȳ = −(z̄/y)z: y is never squared, so it does not overflow",
)
power = binary(
    "power",
    lambda x, y: jnp.power(x, y),
    lambda x, y, z: (x, y, z),
    _power_cotangents,
    about="z = xʸ.  x̄ = z̄ y xʸ⁻¹,  ȳ = z̄ z log x, by convention 0 at x = 0",
)
maximum = binary(
    "maximum",
    lambda x, y: jnp.maximum(x, y),
    lambda x, y, z: (_order(x, y),),
    _shares,
    about="z = max(x, y).  z̄ flows to the larger; by convention equal values share it by halves",
)
minimum = binary(
    "minimum",
    lambda x, y: jnp.minimum(x, y),
    lambda x, y, z: (_order(y, x),),
    _shares,
    about="z = min(x, y).  z̄ flows to the smaller; by convention equal values share it by halves",
)
