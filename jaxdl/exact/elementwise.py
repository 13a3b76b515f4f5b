"""Elementwise primitives as functions of mpmath's numbers, by their mathematical definitions.

The tables map a primitive to a function of the mpmath context and the equation's parameters that returns the function
of the entries. Real functions are NaN outside their domain, and where mpmath raises an error, unless a limit is defined
here.
"""

import operator
from collections.abc import Callable
from typing import Any

from mpmath.libmp import NoConvergence

from jaxdl import jaxpr as jx
from jaxdl.exact import special
from jaxdl.exact.numbers import each, is_complex, truths
from jaxdl.exact.types import Array, Context, Number, Rules

# exp and the circular functions treat arguments beyond 2 to the power of this as infinite: the exponent of the result
# alone would fill the memory.
LARGEST_EXPONENT = 1 << 14


def elementwise_rule(mp: Context, eqn: jx.Equation, *args: Any) -> Array:
    f = ELEMENTWISE[eqn.primitive.name](mp, jx.parameters(eqn))
    return each(nan_on_error(mp, f, is_complex(eqn.outvars[0].aval)), *args)


def nan_on_error(mp: Context, f: Callable[..., Any], may_be_complex: bool) -> Callable[..., Any]:
    """f with NaN in place of errors, and of complex values unless they are allowed."""

    def safe(*args):
        try:
            y = f(*args)
        except (ValueError, ArithmeticError, NoConvergence):
            return mp.nan
        return mp.nan if hasattr(y, "_mpc_") and not may_be_complex else y

    return safe


def mpmath_function(name: str) -> Callable[..., Any]:
    return lambda mp, params: getattr(mp, name)


def bounded(make: Callable[..., Any]) -> Callable[..., Any]:
    """A function that treats very large arguments as infinite."""

    def maker(mp, params):
        f = make(mp, params)
        return lambda x: f(x * mp.inf) if mp.isfinite(x) and mp.mag(x) > LARGEST_EXPONENT else f(x)

    return maker


def without_parameters(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda mp, params: lambda *args: f(mp, *args)


# --- arithmetic ------------------------------------------------------------------------------------


def quotient(mp: Context, x: Number, y: Number) -> Number:
    if y != 0:
        return x / y
    return mp.nan if hasattr(x, "_mpc_") or x == 0 else x * mp.inf


def remainder(mp: Context, x: Number, y: Number) -> Number:
    """x − y · trunc(x / y), with the sign of x."""
    if y == 0 or not mp.isfinite(x) or mp.isnan(y):
        return mp.nan
    return x if mp.isinf(y) else mp.sign(x) * (abs(x) % abs(y))


def real_power(mp: Context, x: Number, y: Number) -> Number:
    """xʸ; for a negative real x only if y is an integer."""
    if isinstance(y, int) or hasattr(x, "_mpc_") or hasattr(y, "_mpc_"):
        return integer_power(mp, x, y) if isinstance(y, int) else mp.power(x, y)
    if y == 0 or x == 1:
        return mp.one
    if x == 0:
        return mp.inf if y < 0 else mp.zero
    if x < 0 and mp.isfinite(x) and mp.isfinite(y):
        return real_power(mp, -x, y) * (-1) ** int(y % 2) if mp.isint(y) else mp.nan
    if x < 0 or not mp.isfinite(y) or mp.mag(y) + mp.mag(mp.log(x)) > LARGEST_EXPONENT:
        return extreme_power(mp, x, y)
    return mp.power(x, y)


def extreme_power(mp: Context, x: Number, y: Number) -> Number:
    """The limits of xʸ where x or y is infinite."""
    if mp.isnan(x) or mp.isnan(y):
        return mp.nan
    if x == -1 and mp.isinf(y):
        return mp.one
    size = mp.inf if (abs(x) > 1) == (y > 0) else mp.zero
    return -size if x < 0 and mp.isfinite(y) and mp.isint(y) and y % 2 else size


def integer_power(mp: Context, x: Number, n: int) -> Number:
    if x == 0 and n < 0:
        return mp.nan if hasattr(x, "_mpc_") else mp.inf
    return x**n


def sign(mp: Context, x: Number) -> Number:
    return mp.mpc(0) if x == 0 and hasattr(x, "_mpc_") else mp.sign(x)


def rounding(mp: Context, params: Any) -> Callable[..., Any]:
    if int(params["rounding_method"]):
        return mp.nint
    return lambda x: mp.sign(x) * mp.floor(abs(x) + mp.mpf(1) / 2)


def cube_root(mp: Context, x: Number) -> Number:
    return -mp.cbrt(-x) if x < 0 else mp.cbrt(x)


def comparison_key(x: Number) -> Any:
    """The key by which numbers are compared: a complex one by its real part, then its imaginary part."""
    return (x.real, x.imag) if hasattr(x, "_mpc_") else x


def larger(mp: Context, x: Number, y: Number) -> Number:
    """max(x, y), NaN if either is."""
    return x if x != x or (y == y and comparison_key(x) >= comparison_key(y)) else y


def smaller(mp: Context, x: Number, y: Number) -> Number:
    return x if x != x or (y == y and comparison_key(x) <= comparison_key(y)) else y


def clamp(mp: Context, low: Number, x: Number, high: Number) -> Number:
    return smaller(mp, larger(mp, x, low), high)


def logistic(mp: Context, x: Number) -> Number:
    return 1 / (1 + mp.exp(-x))


def inverse_hyperbolic_tangent(mp: Context, x: Number) -> Number:
    return mp.nan if not hasattr(x, "_mpc_") and abs(x) > 1 else mp.atanh(x)


ELEMENTWISE: Rules = {
    "abs": without_parameters(lambda mp, x: abs(x)),
    "add": without_parameters(lambda mp, x, y: x + y),
    "add_any": without_parameters(lambda mp, x, y: x + y),
    "sub": without_parameters(lambda mp, x, y: x - y),
    "mul": without_parameters(lambda mp, x, y: x * y),
    "neg": without_parameters(lambda mp, x: -x),
    "square": without_parameters(lambda mp, x: x * x),
    "one_minus_square": without_parameters(lambda mp, x: (1 + x) * (1 - x)),
    "polynomial": without_parameters(special.polynomial),
    "div": without_parameters(quotient),
    "rem": without_parameters(remainder),
    "pow": without_parameters(real_power),
    "integer_pow": lambda mp, params: lambda x: integer_power(mp, x, params["y"]),
    "max": without_parameters(larger),
    "min": without_parameters(smaller),
    "clamp": without_parameters(clamp),
    "sign": without_parameters(sign),
    "floor": mpmath_function("floor"),
    "ceil": mpmath_function("ceil"),
    "round": rounding,
    "real": mpmath_function("re"),
    "imag": mpmath_function("im"),
    "conj": mpmath_function("conj"),
    "complex": mpmath_function("mpc"),
    "sqrt": mpmath_function("sqrt"),
    "rsqrt": without_parameters(lambda mp, x: quotient(mp, mp.one, mp.sqrt(x))),
    "cbrt": without_parameters(cube_root),
    "exp": bounded(mpmath_function("exp")),
    "exp2": bounded(without_parameters(lambda mp, x: real_power(mp, mp.mpf(2), x))),
    "expm1": bounded(mpmath_function("expm1")),
    "log": mpmath_function("log"),
    "log2": without_parameters(lambda mp, x: mp.log(x, 2)),
    "log1p": mpmath_function("log1p"),
    "logistic": bounded(without_parameters(logistic)),
    **{name: bounded(mpmath_function(name)) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{name: mpmath_function(name) for name in ("asin", "acos", "atan", "asinh", "acosh", "atan2")},
    "atanh": without_parameters(inverse_hyperbolic_tangent),
    "erf": mpmath_function("erf"),
    "erfc": mpmath_function("erfc"),
    **{name: bounded(without_parameters(f)) for name, f in special.OF_ONE.items()},
    **{name: without_parameters(f) for name, f in special.OF_MANY.items()},
}


# --- comparisons -----------------------------------------------------------------------------------


def compare(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda mp, eqn, *args: truths(f, *args)


def in_total_order(f: Callable[..., Any]) -> Callable[..., Any]:
    """A comparison in which NaN is larger than all numbers and equal to itself."""
    key = lambda x: (x != x, 0 if x != x else comparison_key(x))
    return lambda mp, eqn, *args: truths(lambda x, y: f(key(x), key(y)), *args)


COMPARISONS: Rules = {
    **{name: compare(getattr(operator, name)) for name in ("eq", "ne", "lt", "le", "gt", "ge")},
    **{f"{name}_to": in_total_order(getattr(operator, name)) for name in ("eq", "lt", "le")},
    "is_finite": lambda mp, eqn, x: truths(mp.isfinite, x),
}

ELEMENTWISE_RULES: Rules = {**dict.fromkeys(ELEMENTWISE, elementwise_rule), **COMPARISONS}
