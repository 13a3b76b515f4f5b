"""Exponentials of numbers ≤ 0 in float32, for rules: fewer instructions than XLA's exp, and no underflow.

eˣ = 2ⁿeʳ with n the integer next to x/log 2, and a polynomial gives eʳ for |r| ≤ ½ log 2. The exponent may have parts,
with digits that one float32 cannot hold: they are added to r. The result is multiplied by 256, so that it is an
ordinary number also where eˣ times a large factor is one and eˣ itself is not.

`tests/ops/minimax.py` computes the coefficients.
"""

import math

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

SCALE = 256.0
LOWEST = -135 * math.log(2)  # there 256 eˣ in float32 is 0; the functions take no lower number
EXP = (
    1.00000000056, 1.00000003654, 0.499999920334, 0.166664191951, 0.0416682315563, 0.00837489808865, 0.00138367552627,
)  # fmt: skip
EXP2 = (
    1.00000000056, 0.693147205886, 0.240226468684, 0.0555032845235, 0.00961849033916, 0.00134000628763,
    0.000153457113770,
)  # fmt: skip
EXPM1 = (0.0, 1.00000001069, 0.49999998114, 0.166665055775, 0.0416671379167, 0.0083691400821, 0.00138888837786)
_LOG2_HIGH, _LOG2_LOW = 0.693145751953125, 1.42860682030941723212e-6  # n times the first is exact
_ROUNDING = 1.5 * 2**23  # a float32 of this size has no digits after the point: adding it rounds


def scaled_exp(x: Array, low: ArrayLike = 0.0) -> Array:
    """256 eˣ⁺ˡᵒʷ for LOWEST ≤ x ≤ 0 and a small `low`."""
    if x.dtype != jnp.float32:  # as a square, whose root does not underflow
        root = jnp.exp((x + low) / 2)
        return (SCALE * root) * root
    n, power = _power_of_2(x * (1 / math.log(2)), 8)
    return polynomial(EXP, ((x - n * _LOG2_HIGH) - n * _LOG2_LOW) + low) * power


def scaled_exp2(*parts: Array) -> Array:
    """256 · 2ˣ, where x is the sum of the parts, which are given from the largest to the smallest; −135 ≤ x ≤ 0."""
    first, *others = parts
    n, power = _power_of_2(sum(others, first), 8)
    return polynomial(EXP2, sum(others, first - n)) * power


def expm1(x: Array) -> Array:
    """eˣ − 1 for LOWEST ≤ x ≤ 0."""
    if x.dtype != jnp.float32:
        return jnp.expm1(x)
    n, power = _power_of_2(x * (1 / math.log(2)), 8)
    power = power / SCALE
    return polynomial(EXPM1, (x - n * _LOG2_HIGH) - n * _LOG2_LOW) * power + (power - 1)


def polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    """Σ coefficients[k] xᵏ"""
    y = jnp.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        y = y * x + c
    return y


def _power_of_2(x, shift):
    """The integer n next to x, and 2ⁿ⁺ˢʰⁱᶠᵗ; 0 for the smallest n.

    In x + offset, n is in the last bits. Subtracting the offset again would give n too, but XLA may cancel that.
    """
    offset = np.float32(_ROUNDING + 127 + shift)
    bits = lax.bitcast_convert_type(x + offset, jnp.int32)
    n = (bits - offset.view(np.int32)).astype(x.dtype)
    return n, lax.bitcast_convert_type(lax.shift_left(bits, jnp.int32(23)), x.dtype)
