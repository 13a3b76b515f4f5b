"""Arrays of exact numbers: NumPy object arrays of mpmath's numbers, and how they are made."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
from mpmath.libmp import from_float

# The power of 2 below which a number that is not certain counts as 0, as it is in float64: 10⁻³³⁰.
SMALLEST = -1096


def new_context(digits):
    """An mpmath context of one's own: its precision is nobody else's."""
    mp = mpmath.mp.clone()
    mp.dps = digits
    return mp


def is_exact(x):
    """Whether an array holds mpmath's numbers."""
    return isinstance(x, np.ndarray) and x.dtype.hasobject


def is_inexact(kind):
    """Whether a type is one of real or complex numbers, whose values are kept as mpmath's."""
    return jnp.issubdtype(kind.dtype, jnp.inexact)


def is_complex(kind):
    return jnp.issubdtype(kind.dtype, jnp.complexfloating)


def is_opaque(kind):
    """Whether a type is one that NumPy does not know (random keys): its arrays are left as they are."""
    return jnp.issubdtype(kind.dtype, jax.dtypes.extended)


def exact(mp, x, kind):
    """The values of x, exactly as they are in the type `kind` that JAX gives it, as an array for the interpreter.

    Real and complex numbers become an object array, also those that are given as one; the rest stays.
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


def rounded(x, kind):
    """An array for the interpreter as a plain NumPy one of the type `kind`."""
    if not is_exact(x):
        return x
    convert = complex if is_complex(kind) else float
    return np.array(list(map(convert, x.ravel())), plain_type(kind)).reshape(x.shape).astype(kind.dtype)


def plain_type(kind):
    """The widest type of NumPy's for numbers of a real or complex type."""
    return np.complex128 if is_complex(kind) else np.float64


def own(mp, v):
    """A number of any mpmath context, unrounded, as one of this context; plain numbers too."""
    if hasattr(v, "_mpc_"):
        return mp.make_mpc(v._mpc_)
    if hasattr(v, "_mpf_"):
        return mp.make_mpf(v._mpf_)
    return mp.convert(v)


def filled(flat, shape):
    """An object array of a shape from a flat list."""
    y = np.empty(len(flat), object)
    y[:] = flat
    return y.reshape(shape)


def empty(kind):
    """An array without entries."""
    return np.empty(kind.shape, object if is_inexact(kind) else kind.dtype)


def each(f, *arrays):
    """f entry by entry, as an object array, also where the arrays are 0-d."""
    y = np.frompyfunc(f, len(arrays), 1)(*arrays)
    return y if isinstance(y, np.ndarray) else filled([y], ())


def truths(f, *arrays):
    """f entry by entry, as an array of booleans."""
    return each(f, *arrays).astype(bool)


def fitted(mp, y, kind):
    """A rule's result as an array of the type `kind`: its shape, mpmath's complex numbers where it is complex."""
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


def shared(y):
    """An array of one's own context's numbers as one of mpmath's own, every digit kept."""
    return each(lambda v: own(mpmath.mp, v), y) if is_exact(y) else y


def remembered(mp, eqn, make):
    """What `make` gave for an equation the first time in this context."""
    memory = mp.__dict__.setdefault("memory", {})
    if id(eqn) not in memory:
        memory[id(eqn)] = eqn, make()
    return memory[id(eqn)][1]


def agree(mp, x, y, tolerance):
    """Whether two numbers are one up to a relative tolerance."""
    return x == y or bool(mp.isfinite(x - y) and abs(x - y) <= tolerance * max(abs(x), abs(y)))


def parts(v):
    """The real numbers in a number."""
    return (v.real, v.imag) if hasattr(v, "_mpc_") else (v,)
