"""Elementwise primitives: each a function of mpmath numbers, by its mathematical definition.

A maker takes the context and the equation's parameters and gives the function of the entries. Real functions are
NaN out of their domain; what mpmath raises at a pole is NaN too, where no limit is written here.
"""

import operator

import mpmath

from jaxdl import jaxpr as jx
from jaxdl.exact import special
from jaxdl.exact.numbers import each, is_complex, truths

# Beyond 2 to the power of this, exp and the circular functions take their argument for infinite:
# the exponent of the result alone would fill the memory.
LARGEST = 1 << 14


def rule(mp, eqn, *args):
    f = ELEMENTWISE[eqn.primitive.name](mp, jx.parameters(eqn))
    return each(guarded(mp, f, is_complex(eqn.outvars[0].aval)), *args)


def guarded(mp, f, may_be_complex):
    """f that gives NaN where it has no value, or none among the real numbers."""

    def safe(*args):
        try:
            y = f(*args)
        except (ValueError, ArithmeticError, mpmath.libmp.NoConvergence):
            return mp.nan
        return mp.nan if hasattr(y, "_mpc_") and not may_be_complex else y

    return safe


def of(name):
    """The function of this name in mpmath."""
    return lambda mp, params: getattr(mp, name)


def bounded(make):
    """A function whose argument counts as infinite where it is beyond all measure."""

    def maker(mp, params):
        f = make(mp, params)
        return lambda x: f(x * mp.inf) if mp.isfinite(x) and mp.mag(x) > LARGEST else f(x)

    return maker


def simple(f):
    """A function of the context and the entries that has no parameters."""
    return lambda mp, params: lambda *args: f(mp, *args)


# --- arithmetic ------------------------------------------------------------------------------------


def divide(mp, x, y):
    if y != 0:
        return x / y
    return mp.nan if hasattr(x, "_mpc_") or x == 0 else x * mp.inf


def remainder(mp, x, y):
    """x − y · trunc(x / y), with the sign of x."""
    if y == 0 or not mp.isfinite(x) or mp.isnan(y):
        return mp.nan
    return x if mp.isinf(y) else mp.sign(x) * (abs(x) % abs(y))


def power(mp, x, y):
    """xʸ; of a negative x for whole y only, as among real numbers."""
    if isinstance(y, int) or hasattr(x, "_mpc_") or hasattr(y, "_mpc_"):
        return whole_power(mp, x, y) if isinstance(y, int) else mp.power(x, y)
    if y == 0 or x == 1:
        return mp.one
    if x == 0:
        return mp.inf if y < 0 else mp.zero
    if x < 0 and mp.isfinite(x) and mp.isfinite(y):
        return power(mp, -x, y) * (-1) ** int(y % 2) if mp.isint(y) else mp.nan
    if x < 0 or not mp.isfinite(y) or mp.mag(y) + mp.mag(mp.log(x)) > LARGEST:
        return extreme_power(mp, x, y)
    return mp.power(x, y)


def extreme_power(mp, x, y):
    """The limits of xʸ where x or y is infinite."""
    if mp.isnan(x) or mp.isnan(y):
        return mp.nan
    if x == -1 and mp.isinf(y):
        return mp.one
    size = mp.inf if (abs(x) > 1) == (y > 0) else mp.zero
    return -size if x < 0 and mp.isfinite(y) and mp.isint(y) and y % 2 else size


def whole_power(mp, x, n):
    if x == 0 and n < 0:
        return mp.nan if hasattr(x, "_mpc_") else mp.inf
    return x**n


def sign(mp, x):
    return mp.mpc(0) if x == 0 and hasattr(x, "_mpc_") else mp.sign(x)


def rounding(mp, params):
    if int(params["rounding_method"]):
        return mp.nint
    return lambda x: mp.sign(x) * mp.floor(abs(x) + mp.mpf(1) / 2)


def cube_root(mp, x):
    return -mp.cbrt(-x) if x < 0 else mp.cbrt(x)


def order(x):
    """A key to compare by: real numbers as they are, complex ones by their parts in turn."""
    return (x.real, x.imag) if hasattr(x, "_mpc_") else x


def larger(mp, x, y):
    """max(x, y), NaN if either is."""
    return x if x != x or (y == y and order(x) >= order(y)) else y


def smaller(mp, x, y):
    return x if x != x or (y == y and order(x) <= order(y)) else y


def clamp(mp, low, x, high):
    return smaller(mp, larger(mp, x, low), high)


def logistic(mp, x):
    return 1 / (1 + mp.exp(-x))


def inverse_hyperbolic_tangent(mp, x):
    return mp.nan if not hasattr(x, "_mpc_") and abs(x) > 1 else mp.atanh(x)


ELEMENTWISE = {
    "abs": simple(lambda mp, x: abs(x)),
    "add": simple(lambda mp, x, y: x + y),
    "add_any": simple(lambda mp, x, y: x + y),
    "sub": simple(lambda mp, x, y: x - y),
    "mul": simple(lambda mp, x, y: x * y),
    "neg": simple(lambda mp, x: -x),
    "square": simple(lambda mp, x: x * x),
    "one_minus_square": simple(lambda mp, x: (1 + x) * (1 - x)),
    "polynomial": simple(special.polynomial),
    "div": simple(divide),
    "rem": simple(remainder),
    "pow": simple(power),
    "integer_pow": lambda mp, params: lambda x: whole_power(mp, x, params["y"]),
    "max": simple(larger),
    "min": simple(smaller),
    "clamp": simple(clamp),
    "sign": simple(sign),
    "floor": of("floor"),
    "ceil": of("ceil"),
    "round": rounding,
    "real": of("re"),
    "imag": of("im"),
    "conj": of("conj"),
    "complex": of("mpc"),
    "sqrt": of("sqrt"),
    "rsqrt": simple(lambda mp, x: divide(mp, mp.one, mp.sqrt(x))),
    "cbrt": simple(cube_root),
    "exp": bounded(of("exp")),
    "exp2": bounded(simple(lambda mp, x: power(mp, mp.mpf(2), x))),
    "expm1": bounded(of("expm1")),
    "log": of("log"),
    "log2": simple(lambda mp, x: mp.log(x, 2)),
    "log1p": of("log1p"),
    "logistic": bounded(simple(logistic)),
    **{name: bounded(of(name)) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{name: of(name) for name in ("asin", "acos", "atan", "asinh", "acosh", "atan2")},
    "atanh": simple(inverse_hyperbolic_tangent),
    "erf": of("erf"),
    "erfc": of("erfc"),
    **{name: bounded(simple(f)) for name, f in special.OF_ONE.items()},
    **{name: simple(f) for name, f in special.OF_MANY.items()},
}


# --- comparisons -----------------------------------------------------------------------------------


def compare(f):
    return lambda mp, eqn, *args: truths(f, *args)


def in_total_order(f):
    """A comparison that takes NaN for larger than all numbers and equal to itself."""
    key = lambda x: (x != x, 0 if x != x else order(x))
    return lambda mp, eqn, *args: truths(lambda x, y: f(key(x), key(y)), *args)


COMPARISONS = {
    **{name: compare(getattr(operator, name)) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    **{f"{name}_to": in_total_order(getattr(operator, name)) for name in ("eq", "lt", "le")},
    "is_finite": lambda mp, eqn, x: truths(mp.isfinite, x),
}

RULES = {**dict.fromkeys(ELEMENTWISE, rule), **COMPARISONS}
