"""Functions evaluated in arbitrary precision, with as many digits as the result needs."""

from collections.abc import Callable
from typing import Any

import jax

from jaxdl import jaxpr as jx
from jaxdl.exact.interpreter import run
from jaxdl.exact.numbers import SMALLEST_EXPONENT, agree, exact, is_exact, new_context, parts, shared
from jaxdl.exact.types import Array, Context

# f is evaluated with this many digits more than requested, until two results agree.
MORE_DIGITS = (10, 70, 400, 1000)
ENOUGH_FOR_ZERO = 400


def evaluate(f: Callable[..., Any], digits: int = 50) -> Callable[..., Any]:
    """f in arbitrary precision, as a function of the same arguments.

    Every primitive of f is evaluated by its mathematical definition, on the values as given. No number is rounded to
    f's dtypes, not even by a conversion; a conversion to integers truncates. Hand-written derivative rules play no
    part. Integers, booleans, bits and random numbers are those of JAX.

    Cancellation is compensated: f is evaluated with more digits until two results agree, up to 1000 more. A result that
    should be 0 by cancellation may be a number below 10⁻³³⁰.

    NaN and ±∞ propagate. A real function outside its domain gives NaN (√−1, log −1); log 0 = −∞ and 1/0 = ∞. mpmath has
    no −0, so 1/−0 is ∞ too. exp, power, sine and the like treat arguments beyond 2^16384 as infinite. Where mpmath's
    series of a special function does not converge, the value is NaN. About 10⁵ operations on numbers take a second, so
    arrays must be small.

    Args:
        f: A JAX function of arrays.
        digits: Decimal digits of the result.

    Returns:
        A function of f's arguments: pytrees of arrays as JAX takes them (float64 counts as float32 unless JAX is in
        64-bit mode), or NumPy object arrays of mpmath's numbers, for which f sees the default float or complex dtype.
        Its result is f's, with object arrays of mpf or mpc of the same shapes in place of real and complex arrays.

    Raises:
        UnknownPrimitive: From the returned function, if f has a primitive, or a parameter of a primitive, that is not
            known here. The error names it and its line of source code.
        ArithmeticError: From the returned function, for a while loop of more than 100,000 steps.

    Examples:
        >>> import mpmath
        >>> y = jaxdl.exact.evaluate(lambda x: jnp.exp(x) - 1)(jnp.float32(2.0**-30))
        >>> mpmath.nstr(y.item(), 20)
        '9.3132257504915938475e-10'
    """

    def exactly(*args):
        jaxpr, shape = trace_exactly(f, args)
        mp = new_context(digits)
        values = [exact(mp, x, v.aval) for x, v in zip(jax.tree.leaves(args), inputs(jaxpr), strict=True)]
        found = certain(lambda: run(jaxpr, values, mp), mp, digits)
        return jax.tree.structure(shape).unflatten(map(shared, found))

    return exactly


def certain(compute: Callable[..., Any], mp: Context, digits: int) -> list[Array]:
    """The arrays that `compute` returns, with so many digits that more do not change the result."""
    arrays = []
    for extra in MORE_DIGITS:
        mp.dps = digits + extra
        before, arrays = arrays, compute()
        if before and all(agree_on(mp, x, y, digits, extra) for x, y in zip(before, arrays, strict=True)):
            break
    return arrays


def agree_on(mp: Context, x: Array, y: Array, digits: int, extra: int) -> bool:
    """Whether all entries of two arrays agree. Numbers that float64 cannot hold agree only with enough digits."""
    tolerance = mp.mpf(10) ** -digits
    tiny = lambda v: extra >= ENOUGH_FOR_ZERO and mp.mag(v) < SMALLEST_EXPONENT
    same = lambda v, w: (v != v and w != w) or (tiny(v) and tiny(w)) or (w != 0 and agree(mp, v, w, tolerance))
    pairs = zip(x.flat, y.flat, strict=True) if is_exact(y) else ()
    return all(same(*two) for v, w in pairs for two in zip(parts(v), parts(w), strict=True))


def trace_exactly(f: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, Any]:
    """The jaxpr of f and the shapes of its result; object arrays have the default float or complex dtype."""
    return jx.trace(f, *jax.tree.map(lambda x: stand_in(x) if is_exact(x) else x, args))


def stand_in(x: Array) -> jax.ShapeDtypeStruct:
    complex_entries = any(hasattr(v, "_mpc_") for v in x.ravel())
    return jax.ShapeDtypeStruct(x.shape, jax.numpy.result_type(complex if complex_entries else float))


def inputs(jaxpr: jx.AnyJaxpr) -> list[Any]:
    return jx.opened(jaxpr).invars
