"""Values and derivatives of elementwise functions, computed so that nothing overflows, underflows or cancels.

The value and the derivative of one function share their exponential: compiled together, they cost one.
"""

import math

import jax.numpy as jnp
from jax import Array, lax

from jaxdl.ops.precision import upper_half

SELU_SCALE = 1.0507009873554804934193349852946  # Klambauer et al. 2017
SELU_ALPHA = 1.6732632423543772848170429916717


def _exp_parts(x):
    """eˣ = t·s for x ≤ 0, so that (factor·t)·s is right also where eˣ is below the smallest normal number."""
    far = x < -80
    return jnp.exp(jnp.where(far, x + 64, x)), jnp.where(far, math.exp(-64), 1.0).astype(x.dtype)


def _small_expm1(x, terms=8):
    """eˣ − 1 by its series: to float32's precision for |x| ≤ ½ with 8 terms, |x| ≤ 0.05 with 4."""
    y = jnp.ones_like(x)
    for n in range(terms, 1, -1):
        y = 1 + x / n * y
    return x * y


def sigmoid(x: Array) -> Array:
    """σ(x) = 1/(1+e) to the right, e/(1+e) to the left, e = e^−|x|"""
    if jnp.iscomplexobj(x):
        return 1 / (1 + jnp.exp(-x))
    e = jnp.exp(-jnp.abs(x))
    return jnp.where(x < 0, e, jnp.ones_like(x)) / (1 + e)


def sigmoid_slope(x: Array) -> Array:
    """σ′ = σ(x)σ(−x) = e/(1+e)², e = e^−|x|; y(1−y) would cancel."""
    if jnp.iscomplexobj(x):
        return sigmoid(x) * sigmoid(-x)
    e = jnp.exp(-jnp.abs(x))
    return e / (1 + e * (2 + e))


def tanh_slope(x: Array) -> Array:
    """tanh′ = 1/cosh² = 4e/(1+e)², e = e^−2|x|; 1−y² would cancel."""
    if jnp.iscomplexobj(x):
        return 1 / jnp.cosh(x) ** 2
    t, s = _exp_parts(-2 * jnp.abs(x))
    e = t * s
    return (4 * t) * s / (1 + e * (2 + e))


def _swish(x, t, s):
    """xσ(v), e^−|v| = t·s, for v with the sign of x"""
    return x * jnp.where(x < 0, t * s, jnp.ones_like(x)) / (1 + t * s)


def _swish_slope(x, w, t, s):
    """(xσ(v))′ = σ(v)(1 + wσ(−v)), w = xv′: e(1+w+e)/(1+e)² to the left, 1 + e(w−1−e)/(1+e)² to the right"""
    e = t * s
    square = 1 + e * (2 + e)
    return jnp.where(x < 0, (((1 + w) + e) * t) * s / square, 1 + e * ((w - 1) - e) / square)


def silu(x: Array) -> Array:
    return _swish(x, *_exp_parts(-jnp.abs(x)))


def silu_slope(x: Array) -> Array:
    return _swish_slope(x, x, *_exp_parts(-jnp.abs(x)))


def elu(x: Array, *, alpha: float = 1.0) -> Array:
    low = jnp.minimum(x, 0)
    if x.dtype != jnp.float32:
        return jnp.where(x > 0, x, alpha * jnp.expm1(low))
    t, s = _exp_parts(low)
    return jnp.where(x > 0, x, alpha * jnp.where(low > -0.5, _small_expm1(low), t * s - 1))


def elu_slope(x: Array, *, alpha: float = 1.0) -> Array:
    t, s = _exp_parts(jnp.minimum(x, 0))
    return jnp.where(x > 0, jnp.ones_like(x), (alpha * t) * s)


def selu(x: Array) -> Array:
    return SELU_SCALE * elu(x, alpha=SELU_ALPHA)


def selu_slope(x: Array) -> Array:
    t, s = _exp_parts(jnp.minimum(x, 0))
    return jnp.where(x > 0, jnp.full_like(x, SELU_SCALE), (SELU_SCALE * SELU_ALPHA * t) * s)


def normal_cdf(x: Array) -> Array:
    return lax.erfc(-x * math.sqrt(0.5)) / 2


def _density_times(x):
    """xφ(x) for the normal density φ(x) = e^−x²/2/√2π, |x| ≤ 14.

    x² is split into an exact square and a small remainder; else e^−x²/2 would amplify its rounding error by x². The
    factor e^−x²/4 is multiplied twice; else e^−x²/2 could underflow before it is multiplied by x.
    """
    high = upper_half(x)
    root = jnp.exp(-high * high / 4)
    y = (x / math.sqrt(2 * math.pi) * root) * root
    return y + y * _small_expm1(-(x - high) * (x + high) / 2, 4)


def gelu_slope(x: Array) -> Array:
    """y′ = Φ(x) + xφ(x); far to the left, where Φ underflows, Φ = −φ/x (1 − 1/x² + 3/x⁴ − 15/x⁶ + …)"""
    if x.dtype != jnp.float32:
        near = jnp.clip(x, -40, 40)
        return normal_cdf(x) + near * jnp.exp(-near * near / 2) / math.sqrt(2 * math.pi)
    near = jnp.clip(x, -14, 14)
    xphi = _density_times(near)
    t = 1 / jnp.square(jnp.minimum(near, -9))
    beyond = 1 - t * (1 - t * (1 - t * (3 - t * (15 - t * (105 - t * 945)))))
    return jnp.where(x < -9, xphi * beyond, xphi + normal_cdf(x))


# gelu_tanh is xσ(v) with v = x(c + c′x²), so σ = e^v to the left, and an absolute error of v is a relative error
# of the result. So v is computed as high + low, from factors whose products are exact.
_C = 2 * math.sqrt(2 / math.pi)
_C3 = 0.044715 * _C
_C_HIGH, _C3_HIGH = upper_half(_C), upper_half(_C3)


def _gelu_tanh_exponent(x):
    x_high = upper_half(x)
    x_low = x - x_high
    square = x * x
    square_high = upper_half(square)
    square_low = (x_high * x_high - square_high) + 2 * x_high * x_low + x_low * x_low
    factor = _C + _C3 * square
    factor_high = upper_half(factor)
    factor_low = ((_C_HIGH - factor_high) + _C3_HIGH * square_high) + (
        (_C - _C_HIGH) + _C3_HIGH * square_low + (_C3 - _C3_HIGH) * square
    )
    high = upper_half(x * factor)
    return high, (x_high * factor_high - high) + (x_high * factor_low + x_low * factor)


def _gelu_tanh_parts(x):
    """e^−|v| = t·s; beyond |x| = 30 it is 0 times the largest number, in float64 too"""
    high, low = _gelu_tanh_exponent(jnp.clip(x, -30, 30))
    t, s = _exp_parts(-jnp.abs(high))
    return t + t * _small_expm1(jnp.where(x < 0, low, -low), 4), s


def gelu_tanh(x: Array) -> Array:
    return _swish(x, *_gelu_tanh_parts(x))


def gelu_tanh_slope(x: Array) -> Array:
    near = jnp.clip(x, -30, 30)
    return _swish_slope(x, near * (_C + 3 * _C3 * near * near), *_gelu_tanh_parts(x))


# quick_gelu is xσ(cx); the product cx is computed as high + low for the same reason.
QUICK = 1.702
_QUICK_HIGH = upper_half(QUICK)


def _quick_gelu_parts(x):
    """e^−|cx| = t·s; beyond |x| = 900 it is 0 times the largest number, in float64 too"""
    x = jnp.clip(x, -900, 900)
    x_high = upper_half(x)
    high, low = x_high * _QUICK_HIGH, x_high * (QUICK - _QUICK_HIGH) + (x - x_high) * QUICK
    t, s = _exp_parts(-jnp.abs(high))
    return t + t * _small_expm1(jnp.where(x < 0, low, -low), 4 if x.dtype == jnp.float32 else 8), s


def quick_gelu(x: Array) -> Array:
    return _swish(x, *_quick_gelu_parts(x))


def quick_gelu_slope(x: Array) -> Array:
    return _swish_slope(x, QUICK * jnp.clip(x, -900, 900), *_quick_gelu_parts(x))


def softplus(x: Array) -> Array:
    """log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|)"""
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))
