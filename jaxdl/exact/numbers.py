"""Arrays of exact numbers: NumPy object arrays of mpmath's numbers, and conversions to and from them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
from mpmath.libmp import from_float

from jaxdl.exact.types import Array, Context, Kind, Number

# A number below 2 to the power of this, 10⁻³³⁰, counts as 0 if it is not certain; it is 0 in float64.
SMALLEST_EXPONENT = -1096


def new_context(digits: int) -> Context:
    """A new mpmath context, whose precision is independent of all others.

    Raises:
        ValueError: If digits is not 1 or more.
    """
    if not hasattr(digits, "__index__") or digits < 1:
        raise ValueError(f"exact: digits must be a whole number, 1 or more, got {digits!r}")
    mp = mpmath.mp.clone()
    mp.dps = digits
    return mp


def is_exact(x: Any) -> bool:
    """Whether an array holds mpmath's numbers."""
    return isinstance(x, np.ndarray) and x.dtype.hasobject


def is_inexact(kind: Kind) -> bool:
    """Whether a dtype is real or complex; its values are kept as mpmath's numbers."""
    return jnp.issubdtype(kind.dtype, jnp.inexact)


def is_complex(kind: Kind) -> bool:
    return jnp.issubdtype(kind.dtype, jnp.complexfloating)


def is_opaque(kind: Kind) -> bool:
    """Whether a dtype is unknown to NumPy (random keys); its arrays are not converted."""
    return jnp.issubdtype(kind.dtype, jax.dtypes.extended)


def exact(mp: Context, x: Any, kind: Kind) -> Array:
    """The values of x in the dtype that JAX gives it, as an array for the interpreter.

    Real and complex arrays, and object arrays, become object arrays; others are not changed.
    """
    if is_exact(x):
        return fitted(mp, each(lambda v: own(mp, v), x), kind)
    if is_opaque(kind):
        return x
    x = np.asarray(x, kind.dtype)
    if not is_inexact(kind):
        return x
    if is_complex(kind):
        make = lambda v: mp.make_mpc((from_float(v.real), from_float(v.imag)))
    else:
        make = lambda v: mp.make_mpf(from_float(v))
    return filled(list(map(make, x.astype(plain_type(kind)).ravel().tolist())), x.shape)


def rounded(x: Array, kind: Kind) -> Array:
    """An array of the interpreter as a NumPy array of the dtype of `kind`."""
    if not is_exact(x):
        return x
    convert = complex if is_complex(kind) else float
    return np.array(list(map(convert, x.ravel())), plain_type(kind)).reshape(x.shape).astype(kind.dtype)


def plain_type(kind: Kind) -> type:
    """complex128 for a complex dtype, else float64."""
    return np.complex128 if is_complex(kind) else np.float64


def own(mp: Context, v: Number) -> Number:
    """A number of any mpmath context, or a plain one, as a number of this context, without rounding."""
    if hasattr(v, "_mpc_"):
        return mp.make_mpc(v._mpc_)
    if hasattr(v, "_mpf_"):
        return mp.make_mpf(v._mpf_)
    return mp.convert(v)


def filled(flat: list[Any], shape: tuple[int, ...]) -> Array:
    """An object array with a shape, from a flat list."""
    y = np.empty(len(flat), object)
    y[:] = flat
    return y.reshape(shape)


def empty(kind: Kind) -> Array:
    """An array without entries."""
    return np.empty(kind.shape, object if is_inexact(kind) else kind.dtype)


def each(f: Callable[..., Any], *arrays: Any) -> Array:
    """f entry by entry, as an object array, also for 0-d arrays."""
    y = np.frompyfunc(f, len(arrays), 1)(*arrays)
    return y if isinstance(y, np.ndarray) else filled([y], ())


def truths(f: Callable[..., Any], *arrays: Any) -> Array:
    """f entry by entry, as an array of booleans."""
    return each(f, *arrays).astype(bool)


def fitted(mp: Context, y: Any, kind: Kind) -> Array:
    """The result of a rule as an array with the shape of `kind`, of mpmath's complex numbers if it is complex."""
    if is_opaque(kind):
        return y
    y = np.asarray(y)
    if not is_inexact(kind):
        return y.astype(kind.dtype).reshape(kind.shape)
    if not is_exact(y):
        y = exact(mp, y, kind)
    if is_complex(kind):
        y = each(lambda v: v if hasattr(v, "_mpc_") else mp.mpc(v), y)
    return y.reshape(kind.shape)


def shared(y: Array) -> Array:
    """An array of numbers of the default mpmath context, with every digit kept."""
    return each(lambda v: own(mpmath.mp, v), y) if is_exact(y) else y


def remembered(mp: Context, eqn: Any, make: Callable[..., Any]) -> Any:
    """The result of `make` for an equation, computed once for each context."""
    memory = mp.__dict__.setdefault("memory", {})
    if id(eqn) not in memory:
        memory[id(eqn)] = eqn, make()
    return memory[id(eqn)][1]


def agree(mp: Context, x: Number, y: Number, tolerance: Number) -> bool:
    """Whether two numbers are equal up to a relative tolerance."""
    return x == y or bool(mp.isfinite(x - y) and abs(x - y) <= tolerance * max(abs(x), abs(y)))


def parts(v: Number) -> tuple[Number, ...]:
    """The real and the imaginary part of a complex number; a real number alone."""
    return (v.real, v.imag) if hasattr(v, "_mpc_") else (v,)
