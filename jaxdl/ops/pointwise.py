"""Elementwise operations, one entry each: name, definition, derivative.

The derivative is written in x, in y, or in what `saved` keeps of x, and only that one array is a
residual. Where the definition overflows or cancels, `value` computes the same y in a way that does
not. 16-bit numbers are computed in 32 bits and rounded once.
"""

import inspect
import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from jaxdl.ops.precision import is_differentiable, like, upper_half, widened
from jaxdl.rule import Op, op, saving

SELU_SCALE = 1.0507009873554804934193349852946  # Klambauer et al. 2017
SELU_ALPHA = 1.6732632423543772848170429916717


def elementwise(
    name: str,
    definition: Callable,
    derivative: Callable,
    *,
    about: str,
    value: Callable | None = None,
    saved: Callable | None = None,
    analytic: bool = False,
) -> Op:
    """An op y = f(x), on arrays of any shape, whose pullback multiplies ȳ by the derivative.

    `derivative` takes one array, and its name says what is kept: x, y, or any other for `saved(x)`.
    Keyword-only arguments of `definition` are the op's settings; all functions must take them. Only an
    `analytic` function takes complex numbers.
    """
    kept = next(iter(inspect.signature(derivative).parameters))

    def primal(x, **settings):
        if jnp.iscomplexobj(x) and not analytic:
            raise TypeError(f"{name}: x must be real, got {x.dtype}: the function is not holomorphic")
        return definition(x, **settings)

    def rule(x, **settings):
        y = like(x, (value or definition)(widened(x), **settings))
        residual = {"x": lambda: x, "y": lambda: y}.get(kept, lambda: saved(x))()
        smooth = is_differentiable(x.dtype)

        def pullback(residual, dy):
            if not smooth:
                return (None,)
            slope = derivative(widened(residual), **settings)
            return (like(dy, _times(widened(dy), slope)),)

        return y, saving(pullback, residual)

    kinds = {"x": "only the argument is kept", "y": "only the output is kept"}
    rule.__doc__ = f"Gain: {kinds.get(kept, 'of the argument only its side of the kink is kept')}."
    primal.__name__ = primal.__qualname__ = name
    primal.__doc__ = about
    primal.__signature__ = inspect.signature(definition)
    operation = op(primal)
    operation.rule(rule)
    return operation


def _times(dy, slope):
    """ȳ times a slope that may be a mask."""
    return jnp.where(slope, dy, 0) if jnp.result_type(slope) is jnp.dtype(bool) else dy * slope


# --- formulas in which nothing overflows, underflows or cancels --------------------------------------
#
# Values and slopes of one function share their exponential, so that compiled together they cost one.


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


def _sigmoid(x):
    """σ(x) = 1/(1+e) to the right, e/(1+e) to the left, e = e^−|x|"""
    if jnp.iscomplexobj(x):
        return 1 / (1 + jnp.exp(-x))
    e = jnp.exp(-jnp.abs(x))
    return jnp.where(x < 0, e, jnp.ones_like(x)) / (1 + e)


def _sigmoid_slope(x):
    """σ′ = σ(x)σ(−x) = e/(1+e)², e = e^−|x|; y(1−y) would cancel."""
    if jnp.iscomplexobj(x):
        return _sigmoid(x) * _sigmoid(-x)
    e = jnp.exp(-jnp.abs(x))
    return e / (1 + e * (2 + e))


def _tanh_slope(x):
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


def _silu(x):
    return _swish(x, *_exp_parts(-jnp.abs(x)))


def _silu_slope(x):
    return _swish_slope(x, x, *_exp_parts(-jnp.abs(x)))


def _elu(x, *, alpha=1.0):
    low = jnp.minimum(x, 0)
    if x.dtype != jnp.float32:
        return jnp.where(x > 0, x, alpha * jnp.expm1(low))
    t, s = _exp_parts(low)
    return jnp.where(x > 0, x, alpha * jnp.where(low > -0.5, _small_expm1(low), t * s - 1))


def _elu_slope(x, *, alpha=1.0):
    t, s = _exp_parts(jnp.minimum(x, 0))
    return jnp.where(x > 0, jnp.ones_like(x), (alpha * t) * s)


def _selu_slope(x):
    t, s = _exp_parts(jnp.minimum(x, 0))
    return jnp.where(x > 0, jnp.full_like(x, SELU_SCALE), (SELU_SCALE * SELU_ALPHA * t) * s)


def _normal_cdf(x):
    return lax.erfc(-x * math.sqrt(0.5)) / 2


def _density_times(x):
    """xφ(x) for the normal density φ(x) = e^−x²/2/√2π, |x| ≤ 14.

    x² is split into an exact square and a small rest, or its rounding error would be amplified by x²;
    the square root of e^−x²/2 is multiplied on twice, or it would underflow before x can raise it.
    """
    high = upper_half(x)
    root = jnp.exp(-high * high / 4)
    y = (x / math.sqrt(2 * math.pi) * root) * root
    return y + y * _small_expm1(-(x - high) * (x + high) / 2, 4)


def _gelu_slope(x):
    """y′ = Φ(x) + xφ(x); far to the left, where Φ underflows, Φ = −φ/x (1 − 1/x² + 3/x⁴ − 15/x⁶ + …)"""
    if x.dtype != jnp.float32:
        near = jnp.clip(x, -40, 40)
        return _normal_cdf(x) + near * jnp.exp(-near * near / 2) / math.sqrt(2 * math.pi)
    near = jnp.clip(x, -14, 14)
    xphi = _density_times(near)
    t = 1 / jnp.square(jnp.minimum(near, -9))
    beyond = 1 - t * (1 - t * (1 - t * (3 - t * (15 - t * (105 - t * 945)))))
    return jnp.where(x < -9, xphi * beyond, xphi + _normal_cdf(x))


# gelu_tanh is xσ(v) with v = x(c + c′x²), so σ = e^v to the left, and an error in v is a relative error
# of the result. v is therefore computed as high + low from factors whose products are exact.
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


def _gelu_tanh(x):
    return _swish(x, *_gelu_tanh_parts(x))


def _gelu_tanh_slope(x):
    near = jnp.clip(x, -30, 30)
    return _swish_slope(x, near * (_C + 3 * _C3 * near * near), *_gelu_tanh_parts(x))


# quick_gelu is xσ(cx); the product cx is computed as high + low for the same reason.
_Q = 1.702
_Q_HIGH = upper_half(_Q)


def _quick_gelu_parts(x):
    """e^−|cx| = t·s; beyond |x| = 900 it is 0 times the largest number, in float64 too"""
    x = jnp.clip(x, -900, 900)
    x_high = upper_half(x)
    high, low = x_high * _Q_HIGH, x_high * (_Q - _Q_HIGH) + (x - x_high) * _Q
    t, s = _exp_parts(-jnp.abs(high))
    return t + t * _small_expm1(jnp.where(x < 0, low, -low), 4 if x.dtype == jnp.float32 else 8), s


# --- the table ---------------------------------------------------------------------------------------

negate = elementwise("negate", lambda x: -x, lambda none: -1.0, saved=lambda x: (), analytic=True, about="y = −x")
square = elementwise("square", lambda x: x * x, lambda x: 2 * x, analytic=True, about="y = x²,  y′ = 2x")
sqrt = elementwise("sqrt", jnp.sqrt, lambda y: 0.5 / y, analytic=True, about="y = √x,  y′ = 1/2y")
exp = elementwise("exp", jnp.exp, lambda y: y, analytic=True, about="y = eˣ,  y′ = y")
log = elementwise("log", jnp.log, lambda x: 1 / x, analytic=True, about="y = log x,  y′ = 1/x")

step = elementwise(
    "step",
    lambda x: jnp.where(jnp.isnan(x), x, (x >= 0).astype(x.dtype)),
    lambda none: 0.0,
    saved=lambda x: (),
    about="y = 1 where x ≥ 0, else 0 (McCulloch and Pitts 1943).  y′ = 0, by convention also at 0",
)
sigmoid = elementwise(
    "sigmoid",
    lambda x: 1 / (1 + jnp.exp(-x)),
    _sigmoid_slope,
    value=_sigmoid,
    analytic=True,
    about="y = σ(x) = 1/(1 + e⁻ˣ),  y′ = σ(x)σ(−x)",
)
tanh = elementwise("tanh", jnp.tanh, _tanh_slope, analytic=True, about="y = tanh x,  y′ = 1/cosh² x")
relu = elementwise(
    "relu",
    lambda x: jnp.where(x <= 0, 0, x),
    lambda positive: positive,
    saved=lambda x: x > 0,
    about="y = max(x, 0),  y′ = 1 where x > 0, else 0; by convention 0 at the kink, x = 0",
)
leaky_relu = elementwise(
    "leaky_relu",
    lambda x, *, slope=0.01: jnp.where(x > 0, x, slope * x),
    lambda positive, *, slope=0.01: jnp.where(positive, 1.0, slope),
    saved=lambda x: x > 0,
    about="y = x where x > 0, else slope·x (Maas et al. 2013).  y′ = slope at the kink, x = 0",
)
elu = elementwise(
    "elu",
    lambda x, *, alpha=1.0: jnp.where(x > 0, x, alpha * jnp.expm1(x)),
    _elu_slope,
    value=_elu,
    about="y = x where x > 0, else α(eˣ − 1) (Clevert et al. 2016).  y′ = α at 0, a kink unless α = 1",
)
selu = elementwise(
    "selu",
    lambda x: SELU_SCALE * jnp.where(x > 0, x, SELU_ALPHA * jnp.expm1(x)),
    _selu_slope,
    value=lambda x: SELU_SCALE * _elu(x, alpha=SELU_ALPHA),
    about="y = λx where x > 0, else λα(eˣ − 1) (Klambauer et al. 2017).  y′ = λα at the kink, x = 0",
)
softplus = elementwise(
    "softplus",
    lambda x: jnp.logaddexp(x, jnp.zeros_like(x)),
    _sigmoid,
    value=lambda x: jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x))),
    about="y = ζ(x) = log(1 + eˣ),  y′ = σ(x)",
)
silu = elementwise(
    "silu",
    lambda x: x / (1 + jnp.exp(-x)),
    _silu_slope,
    value=_silu,
    about="y = xσ(x) (Hendrycks and Gimpel 2016),  y′ = σ(x)(1 + xσ(−x))",
)
gelu = elementwise(
    "gelu",
    lambda x: x * _normal_cdf(x),
    _gelu_slope,
    about="y = xΦ(x), Φ the normal distribution (Hendrycks and Gimpel 2016),  y′ = Φ(x) + xφ(x)",
)
gelu_tanh = elementwise(
    "gelu_tanh",
    lambda x: x * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    _gelu_tanh_slope,
    value=_gelu_tanh,
    about="y = x(1 + tanh u)/2 = xσ(2u), u = √(2/π)(x + 0.044715x³), which approximates gelu",
)
quick_gelu = elementwise(
    "quick_gelu",
    lambda x: x / (1 + jnp.exp(-_Q * x)),
    lambda x: _swish_slope(x, _Q * jnp.clip(x, -900, 900), *_quick_gelu_parts(x)),
    value=lambda x: _swish(x, *_quick_gelu_parts(x)),
    about="y = xσ(1.702x) (Hendrycks and Gimpel 2016), which approximates gelu,  y′ = σ(v)(1 + vσ(−v)), v = 1.702x",
)
