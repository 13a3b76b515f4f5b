"""Faults in elementwise rules: wrong values, often only in the tails, at a kink or at second order."""

import math

import jax.numpy as jnp
from jax import lax

from benchmarks.audit_functions.fault import Rule, by_jvp, by_op, by_vjp, normal, positive
from jaxdl.ops.precision import upper_half

X = normal((2, 3))
TWO = normal((2, 3), (2, 3))
fixed = lax.stop_gradient


# --- the functions, in forms that neither overflow nor cancel -------------------------------------------


def tanh(x):
    return jnp.tanh(x)


def sigmoid(x):
    return lax.logistic(x)


def softplus(x):
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


def silu(x):
    return x * lax.logistic(x)


def gelu(x):
    return x * lax.erfc(-x * math.sqrt(0.5)) / 2


def log_cosh(x):
    return jnp.abs(x) + jnp.log1p(jnp.exp(-2 * jnp.abs(x))) - math.log(2)


def clip3(x):
    """Clipped to [−3, 3], bounds outside the range of usual test points."""
    return jnp.clip(x, -3, 3)


def huber2(x):
    """x²/2 up to |x| = 2, then linear (Huber 1964)."""
    return jnp.where(jnp.abs(x) < 2, x * x / 2, 2 * jnp.abs(x) - 2)


def leaky_relu(x):
    return jnp.where(x > 0, x, x / 4)


def relu(x):
    return jnp.maximum(x, 0)


def signed_square(x):
    return x * jnp.abs(x)


def softsign(x):
    return x / (1 + jnp.abs(x))


def absolute(x):
    return jnp.abs(x)


def sine(x):
    return jnp.sin(x)


def cube(x):
    return x * x * x


def expm1(x):
    return jnp.expm1(x)


def log1p(x):
    return jnp.log1p(x)


def sqrt(x):
    return jnp.sqrt(x)


def rsqrt(x):
    return lax.rsqrt(x)


def log_from(x):
    """log(x + ε)"""
    return jnp.log(x + 1e-3)


def product(a, b):
    return a * b


def quotient(a, b):
    return a / b


def rounded(x):
    return jnp.round(x)


def heaviside(x):
    return jnp.where(x > 0, jnp.ones_like(x), jnp.zeros_like(x))


def chosen(a, b):
    return jnp.where(a + b > 0, 2 * a, b)


# --- their slopes, as accurate as the functions ------------------------------------------------------------


def bell(x):
    """1/cosh² x by e = e^−|x|: 1 − tanh² cancels, cosh overflows."""
    e = jnp.exp(-jnp.abs(x))
    sech = 2 * e / (1 + e * e)
    return sech * sech


sech2 = by_jvp(bell, lambda x, y, x_dot: -2 * smooth_tanh(x) * y * x_dot)
smooth_tanh = by_jvp(tanh, lambda x, y, x_dot: sech2(x) * x_dot)
bump = lambda x: sech2(x / 2) / 4  # σ(x) σ(−x)
σ = by_jvp(sigmoid, lambda x, y, x_dot: bump(x) * x_dot)


def times_sigmoid(z, x):
    """z σ(x), also where σ(x) alone underflows."""
    root = jnp.exp(-jnp.abs(x) / 2)
    return jnp.where(x < 0, root * (root * z), z) / (1 + root * root)


zσ = by_jvp(times_sigmoid, lambda z, x, y, z_dot, x_dot: z_dot * σ(x) + x_dot * zσ(z * σ(-x), x))


def normal_root(x):
    """e^(−x²/4), with x² exact: h² and (x − h)(x + h), h the upper half of x; 0 long before x² overflows."""
    x = jnp.clip(x, -1e4, 1e4)
    h = upper_half(x)
    e = jnp.exp(-h * h / 4)
    return e + e * jnp.expm1(-(x - h) * (x + h) / 4)


φ_root = by_jvp(normal_root, lambda x, y, x_dot: -x / 2 * y * x_dot)


def gelu_slope(x):
    """Φ + x φ"""
    return lax.erfc(-x * math.sqrt(0.5)) / 2 + φ_root(x) * (x * φ_root(x)) * (1 / math.sqrt(2 * math.pi))


def gelu_tanh_slope(x):
    """The slope of the approximation by tanh, which differs by up to 1e-3."""
    c = math.sqrt(2 / math.pi)
    t = jnp.tanh(c * (x + 0.044715 * x**3))
    return (1 + t) / 2 + x / 2 * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)


inside = lambda x, bound: jnp.where(jnp.abs(x) < bound, jnp.ones_like(x), jnp.zeros_like(x))
keep = lambda mask, dy: jnp.where(mask, dy, 0)

# --- the right rules, some in two forms ------------------------------------------------------------------

TANH = Rule(by_vjp, tanh, lambda x, y, dy: dy * sech2(x), X)
TANH_JVP = Rule(by_jvp, tanh, lambda x, y, x_dot: x_dot * sech2(x), X)
SIGMOID = Rule(by_op, sigmoid, lambda x, y, dy: dy * bump(x), X)
SIGMOID_VJP = Rule(by_vjp, sigmoid, lambda x, y, dy: dy * bump(x), X)
SOFTPLUS = Rule(by_op, softplus, lambda x, y, dy: dy * σ(x), X)
SOFTPLUS_JVP = Rule(by_jvp, softplus, lambda x, y, x_dot: x_dot * σ(x), X)
SILU = Rule(by_vjp, silu, lambda x, y, dy: dy * zσ(1 + x * σ(-x), x), X)
SILU_JVP = Rule(by_jvp, silu, lambda x, y, x_dot: x_dot * zσ(1 + x * σ(-x), x), X)
GELU = Rule(by_vjp, gelu, lambda x, y, dy: dy * gelu_slope(x), X)
GELU_OP = Rule(by_op, gelu, lambda x, y, dy: dy * gelu_slope(x), X)
LOG_COSH = Rule(by_vjp, log_cosh, lambda x, y, dy: dy * smooth_tanh(x), X)
CLIP = Rule(by_vjp, clip3, lambda x, y, dy: keep(jnp.abs(x) <= 3, dy), X)
HUBER = Rule(by_op, huber2, lambda x, y, dy: dy * jnp.clip(x, -2, 2), X)
LEAKY_RELU = Rule(by_vjp, leaky_relu, lambda x, y, dy: jnp.where(x > 0, dy, dy / 4), X)
RELU = Rule(by_op, relu, lambda x, y, dy: keep(x > 0, dy), X)
SIGNED_SQUARE = Rule(by_jvp, signed_square, lambda x, y, x_dot: 2 * jnp.abs(x) * x_dot, X)
SOFTSIGN = Rule(by_vjp, softsign, lambda x, y, dy: dy / (1 + jnp.abs(x)) / (1 + jnp.abs(x)), X)
ABSOLUTE = Rule(by_jvp, absolute, lambda x, y, x_dot: jnp.sign(x) * x_dot, X)
SINE = Rule(by_vjp, sine, lambda x, y, dy: dy * jnp.cos(x), X)
CUBE = Rule(by_op, cube, lambda x, y, dy: 3 * x * x * dy, X)
EXPM1 = Rule(by_jvp, expm1, lambda x, y, x_dot: jnp.exp(x) * x_dot, X)
LOG1P = Rule(by_jvp, log1p, lambda x, y, x_dot: x_dot / (1 + x), positive((2, 3)))
SQRT = Rule(by_op, sqrt, lambda x, y, dy: dy / (2 * y), positive((2, 3)))
RSQRT = Rule(by_vjp, rsqrt, lambda x, y, dy: -y / x / 2 * dy, positive((2, 3)))
LOG = Rule(by_jvp, log_from, lambda x, y, x_dot: x_dot / (x + 1e-3), positive((2, 3)))
PRODUCT = Rule(by_vjp, product, lambda a, b, y, dy: (dy * b, dy * a), TWO)
QUOTIENT = Rule(by_op, quotient, lambda a, b, y, dy: (dy / b, -(dy / b) * y), positive((2, 3), (2, 3)))
ROUNDED = Rule(by_vjp, rounded, lambda x, y, dy: jnp.zeros_like(dy), X)
HEAVISIDE = Rule(by_jvp, heaviside, lambda x, y, x_dot: jnp.zeros_like(x_dot), X)
CHOSEN = Rule(by_vjp, chosen, lambda a, b, y, dy: (keep(a + b > 0, 2 * dy), keep(a + b <= 0, dy)), TWO)

ORDER_TWO = "wrong at second order"
NOT_LINEAR = "not linear"

FAULTS = (
    TANH_JVP.fault("twice the slope", "factor", lambda x, y, x_dot: 2 * x_dot * sech2(x)),
    TANH.fault("1 − x² in place of 1 − y²", "input in place of output", lambda x, y, dy: dy * (1 - x * x)),
    TANH.fault("1 − y²", "zero where the truth is tiny", lambda x, y, dy: dy * (1 - y * y), "inaccurate"),
    SIGMOID.fault("y (1 − y)", "zero where the truth is tiny", lambda x, y, dy: dy * y * (1 - y), "inaccurate"),
    EXPM1.fault("y + 1", "zero where the truth is tiny", lambda x, y, x_dot: (y + 1) * x_dot, "inaccurate"),
    SIGMOID_VJP.fault("slope held fixed", "second order wrong only", lambda x, y, dy: dy * fixed(bump(x)), ORDER_TWO),
    SILU_JVP.fault(
        "σ held fixed",
        "second order wrong only",
        lambda x, y, x_dot: x_dot * zσ(1 + x * fixed(σ(-x)), fixed(x)),
        ORDER_TWO,
    ),
    SINE.fault("residual held fixed", "second order wrong only", lambda x, y, dy: dy * jnp.cos(fixed(x)), ORDER_TWO),
    CUBE.fault("one factor held fixed", "second order wrong only", lambda x, y, dy: 3 * x * fixed(x) * dy, ORDER_TWO),
    LOG1P.fault("residual held fixed", "second order wrong only", lambda x, y, d: d / fixed(1 + x), ORDER_TWO),
    SOFTPLUS_JVP.fault(
        "eˣ/(1 + eˣ)", "overflow in the rule", lambda x, y, x_dot: x_dot * jnp.exp(x) / (1 + jnp.exp(x)), "non-finite"
    ),
    LOG_COSH.fault("sinh/cosh", "overflow in the rule", lambda x, y, dy: dy * jnp.sinh(x) / jnp.cosh(x), "non-finite"),
    SOFTSIGN.fault("y²/x²", "NaN at an edge", lambda x, y, dy: dy * y * y / (x * x), "non-finite"),
    ABSOLUTE.fault("x/|x|", "NaN at an edge", lambda x, y, x_dot: x / jnp.abs(x) * x_dot, "non-finite"),
    SIGNED_SQUARE.fault("2x²/|x|", "NaN at an edge", lambda x, y, x_dot: 2 * x * x / jnp.abs(x) * x_dot, "non-finite"),
    SOFTPLUS.fault("σ(−x)", "sign", lambda x, y, dy: dy * σ(-x)),
    SILU.fault("y in place of x", "stale or swapped residual", lambda x, y, dy: dy * zσ(1 + y * σ(-x), x)),
    SILU_JVP.fault("second term forgotten", "missing term", lambda x, y, x_dot: x_dot * σ(x)),
    GELU.fault(
        "1/√2 in place of 1/√2π",
        "factor",
        lambda x, y, dy: dy * (lax.erfc(-x * math.sqrt(0.5)) / 2 + x * jnp.exp(-x * x / 2) * math.sqrt(0.5)),
    ),
    GELU_OP.fault(
        "the slope of the approximation", "factor", lambda x, y, dy: dy * gelu_tanh_slope(x), "wrong", "inaccurate"
    ),
    CLIP.fault("nothing held back", "wrong only beyond a threshold", lambda x, y, dy: dy),
    HUBER.fault("x everywhere", "wrong only beyond a threshold", lambda x, y, dy: dy * x),
    GELU.fault(
        "1 beyond 5", "wrong only beyond a threshold", lambda x, y, dy: dy * jnp.where(jnp.abs(x) > 5, 1, gelu_slope(x))
    ),
    HUBER.fault("the bound's sign lost", "wrong only beyond a threshold", lambda x, y, dy: dy * jnp.minimum(x, 2)),
    LEAKY_RELU.fault("both sides at 0", "wrong at ties", lambda x, y, dy: keep(x >= 0, dy) + keep(x <= 0, dy / 4)),
    CLIP.fault(
        "both sides at the bounds",
        "wrong at ties",
        lambda x, y, dy: keep(jnp.abs(x) <= 3, dy) + keep(jnp.abs(x) == 3, dy),
    ),
    RELU.fault("slope 1 at 0", "wrong at ties", lambda x, y, dy: keep(x >= 0, dy), "convention"),
    SQRT.fault("1/2x in place of 1/2y", "input in place of output", lambda x, y, dy: dy / (2 * x)),
    RSQRT.fault("1/x forgotten", "factor", lambda x, y, dy: -y / 2 * dy),
    LOG.fault("1/x", "forgotten epsilon", lambda x, y, x_dot: x_dot / x, "wrong", "non-finite"),
    PRODUCT.fault("the same factor twice", "stale or swapped residual", lambda a, b, y, dy: (dy * a, dy * b)),
    QUOTIENT.fault("b̄ = ȳ y/b", "sign", lambda a, b, y, dy: (dy / b, dy / b * y)),
    QUOTIENT.fault("b̄ = −ȳ a/b", "input in place of output", lambda a, b, y, dy: (dy / b, -(dy / b) * a)),
    CHOSEN.fault(
        "branches swapped",
        "stale or swapped residual",
        lambda a, b, y, dy: (keep(a + b <= 0, 2 * dy), keep(a + b > 0, dy)),
    ),
    ROUNDED.fault("the identity's slope", "straight-through", lambda x, y, dy: dy),
    HEAVISIDE.fault("the identity's within ±1", "straight-through", lambda x, y, x_dot: x_dot * inside(x, 1)),
    GELU.fault(
        "the approximation's value",
        "output differs from the primal",
        value=lambda x: x / 2 * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    ),
    SOFTPLUS.fault("the value of relu", "output differs from the primal", value=lambda x: jnp.maximum(x, 0)),
    TANH_JVP.fault("the value of x − x³/3", "output differs from the primal", value=lambda x: x - x**3 / 3),
    SINE.fault("the size of ȳ", "nonlinear in the cotangent", lambda x, y, dy: jnp.abs(dy) * jnp.cos(x), NOT_LINEAR),
    TANH.fault(
        "clipped to ±1", "nonlinear in the cotangent", lambda x, y, dy: jnp.clip(dy * sech2(x), -1, 1), NOT_LINEAR
    ),
    SIGMOID_VJP.fault("decay added", "nonlinear in the cotangent", lambda x, y, dy: dy * bump(x) + x / 100, NOT_LINEAR),
)
