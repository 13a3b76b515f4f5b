"""Values and derivatives of elementwise functions, computed so that nothing overflows, underflows or cancels.

The value and the derivative of one function share their expensive part: compiled together, they cost one. That part is
256 times a small number, so that its products with large ones are right (see `exponential`).
"""

import math

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxdl.ops.exponential import LOWEST, SCALE, expm1, polynomial, scaled_exp, scaled_exp2
from jaxdl.ops.precision import upper_bits, upper_half

SELU_SCALE = 1.0507009873554804934193349852946  # Klambauer et al. 2017
SELU_ALPHA = 1.6732632423543772848170429916717


def _size(x, largest=1000.0, largest_double=1000.0):
    """|x|, or a bound for it: that from which on an exponential is 0, or one that keeps 0 · |x| from being NaN.

    These bounds differ. XLA would compute and store |x| for all kernels that use the same bound of it.
    """
    a, bound = jnp.abs(x), largest if x.dtype == jnp.float32 else largest_double
    return jnp.where(a > bound, bound, a)


def _decay(x, rate=1):
    """256 e^−rate·|x|"""
    return scaled_exp(-rate * _size(x, -LOWEST / rate, 750 / rate))


def _tail(e):
    """256 σ(−v) for e = 256 e⁻ᵛ"""
    return e / (1 + e / SCALE)


def sigmoid(x: Array) -> Array:
    """σ(x) = σ(−|x|) to the left, 1 − σ(−|x|) to the right"""
    if jnp.iscomplexobj(x):
        return 1 / (1 + jnp.exp(-x))
    tail = _tail(_decay(x))
    return jnp.where(x < 0, tail, SCALE - tail) / SCALE


def sigmoid_slope(x: Array) -> Array:
    """σ′ = σ(−|x|)(1 − σ(−|x|)); y(1−y) would cancel."""
    if jnp.iscomplexobj(x):
        return sigmoid(x) * sigmoid(-x)
    tail = _tail(_decay(x))
    return tail * (1 - tail / SCALE) / SCALE


@jax.custom_jvp
def one_minus_square(y: Array) -> Array:
    """1 − y² as a product, which cancels less; the derivative of that product would cancel at 0."""
    return (1 - y) * (1 + y)


@jax.custom_jvp
def tanh_slope(x: Array) -> Array:
    """tanh′ = 1/cosh² = 4e/(1+e)², e = e^−2|x|; 1−y² would cancel."""
    if jnp.iscomplexobj(x):
        return 1 / jnp.cosh(x) ** 2
    e = _decay(x, 2)
    return e / jnp.square(8 + e / 32)


one_minus_square.defjvps(lambda y_dot, _, y: -2 * y * y_dot)
tanh_slope.defjvps(lambda x_dot, slope, x: -2 * jnp.tanh(x) * slope * x_dot)


# log(1 + e)/e for 0 ≤ e ≤ 1, with a relative error of 2⁻²⁵
LOG1P = (
    (0.999999981008, 0.867188375266, 0.123762323916),
    (1.0, 1.36718642793, 0.47405434316, 0.031093956375),
)


def softplus(x: Array) -> Array:
    """log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|)"""
    if x.dtype != jnp.float32:
        return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))
    e = _decay(x) / SCALE
    return jnp.where(x < 0, 0, x) + e * polynomial(LOG1P[0], e) / polynomial(LOG1P[1], e)


def _below_0(x):
    """min(x, 0), or a bound for it. Its derivative at 0 is that from the left, where −|x| has that from the right."""
    lowest = LOWEST if x.dtype == jnp.float32 else -750.0
    return jnp.where(x > 0, 0, jnp.where(x < lowest, lowest, x))


def elu(x: Array, *, alpha: float = 1.0) -> Array:
    return jnp.where(x > 0, x, alpha * expm1(_below_0(x)))


def elu_slope(x: Array, *, alpha: float = 1.0) -> Array:
    return jnp.where(x > 0, jnp.ones_like(x), alpha * scaled_exp(_below_0(x)) / SCALE)


def selu(x: Array) -> Array:
    return SELU_SCALE * elu(x, alpha=SELU_ALPHA)


def selu_slope(x: Array) -> Array:
    return jnp.where(x > 0, jnp.full_like(x, SELU_SCALE), SELU_SCALE * SELU_ALPHA * scaled_exp(_below_0(x)) / SCALE)


# The functions y = xF(x) for a distribution F that is symmetric about 0: with a = |x| and the tail t = 256 F(−a),
# y = max(x, 0) − at/256.


def _gated(x, tail):
    """xF(x)"""
    return jnp.where(x < 0, 0, x) - _size(x) * tail / SCALE


def _logistic_slope(x, w, one_minus_w, tail):
    """(xσ(v))′ for w = |x|v′(x): σ(−|v|)(1 − wσ(|v|)) to the left, 1 minus that to the right"""
    left = tail * (one_minus_w + w * (tail / SCALE)) / SCALE
    return jnp.where(x < 0, left, 1 - left)


def _silu_tail(x):
    return _tail(_decay(x))


def silu(x: Array) -> Array:
    return _gated(x, _silu_tail(x))


def silu_slope(x: Array) -> Array:
    w = _size(x)
    return _logistic_slope(x, w, 1 - w, _silu_tail(x))


# gelu_tanh is xσ(v) with v = x(c + c′x²), and an absolute error of v is a relative error of σ(−v). So −v is computed as
# a sum of two parts in units of log 2. The first, h(c + c′h²) with the first 6 bits h of a = |x| and the first 16 and 5
# bits of the constants, is almost exact.
_C = 2 * math.sqrt(2 / math.pi)
_C3 = 0.044715 * _C
_B, _B3 = -_C / math.log(2), -_C3 / math.log(2)
_B_HIGH, _B3_HIGH = upper_bits(_B, 16), upper_bits(_B3, 5)
_B_LOW, _B3_LOW = _B - _B_HIGH, _B3 - _B3_HIGH


def _gelu_tanh_tail(x):
    a = _size(x, 10.2656, 21.6)
    if x.dtype != jnp.float32:
        return _tail(scaled_exp(-a * (_C + _C3 * (a * a))))
    return _tail(scaled_exp2(*_gelu_tanh_exponent(a)))


def _gelu_tanh_exponent(a):
    h = upper_bits(a, 6)
    square = h * h
    rest = (a - h) * (_B + _B3 * (square + a * (a + h)))
    return h * (_B_HIGH + _B3_HIGH * square), rest + h * (_B_LOW + _B3_LOW * square)


def gelu_tanh(x: Array) -> Array:
    return _gated(x, _gelu_tanh_tail(x))


def gelu_tanh_slope(x: Array) -> Array:
    a = _size(x)
    w = a * (_C + 3 * _C3 * (a * a))
    return _logistic_slope(x, w, 1 - w, _gelu_tanh_tail(x))


# quick_gelu is xσ(cx); the product c|x| is computed as high + low for the same reason.
QUICK = 1.702
_QUICK_HIGH = upper_half(QUICK)
_QUICK_LOW = QUICK - _QUICK_HIGH


def _quick_gelu_exponent(a):
    first = upper_half(a)
    return first * _QUICK_HIGH, first * _QUICK_LOW + (a - first) * QUICK


def _quick_gelu_tail(x):
    high, low = _quick_gelu_exponent(_size(x, 54.9793, 440.0))
    return _tail(scaled_exp(-high, -low))


def quick_gelu(x: Array) -> Array:
    return _gated(x, _quick_gelu_tail(x))


def quick_gelu_slope(x: Array) -> Array:
    high, low = _quick_gelu_exponent(_size(x))
    return _logistic_slope(x, high + low, (1 - high) - low, _quick_gelu_tail(x))


# gelu is xΦ(x). Φ(−a)/e^−a²/2 is a smooth function of a, here a ratio of two polynomials, with a relative error of
# 2⁻²⁷ for 0 ≤ a ≤ 13.7. The square of a, whose absolute error is a relative error of Φ(−a), is computed as high + low.
MILLS = (
    (0.50000000266, 0.43657598754, 0.18196314911, 0.040204777165, 0.0040527853252),
    (1.0, 1.6710369157, 1.197216496, 0.46611280636, 0.10078548394, 0.010158691428),
)


def _gelu_parts(x):
    """256 Φ(−|x|) and 256 φ(x) for the normal density φ(x) = e^−x²/2/√2π"""
    a = _size(x, 13.68, 40.0)
    if x.dtype != jnp.float32:
        return SCALE / 2 * lax.erfc(a * math.sqrt(0.5)), scaled_exp(-a * a / 2) / math.sqrt(2 * math.pi)
    high = upper_half(a)
    e = scaled_exp(-(high * high) / 2, (high - a) * (high + a) / 2)
    return e * polynomial(MILLS[0], a) / polynomial(MILLS[1], a), e / math.sqrt(2 * math.pi)


def gelu(x: Array) -> Array:
    return _gated(x, _gelu_parts(x)[0])


def gelu_slope(x: Array) -> Array:
    """y′ = Φ(x) + xφ(x): Φ(−a) − aφ(a) to the left, 1 minus that to the right"""
    tail, density = _gelu_parts(x)
    left = (tail - _size(x) * density) / SCALE
    return jnp.where(x < 0, left, 1 - left)
