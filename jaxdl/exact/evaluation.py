"""Functions evaluated in arbitrary precision, with as many digits as it takes."""

import jax

from jaxdl import jaxpr as jx
from jaxdl.exact.interpreter import run
from jaxdl.exact.numbers import SMALLEST, agree, exact, is_exact, new_context, parts, shared

# With how many digits more than are asked for f is evaluated, until two results agree.
MORE_DIGITS = (10, 70, 400, 1000)
ENOUGH_FOR_ZERO = 400


def evaluate(f, digits=50):
    """f in arbitrary precision: the same arguments, the result to so many decimal digits.

    Every primitive of f is evaluated by its mathematical definition, on the values as given: no number is rounded
    to f's types, not even by a conversion between them; conversion to integers cuts. A hand-written derivative
    rule plays no part, only what it is the rule of. Integers, booleans, bits and random numbers are as JAX has them.

    Cancellation is followed: f is evaluated with more digits until two results agree, with up to 1000 more. A result
    that should be 0 by cancellation may be left as a number below 10⁻³³⁰.

    The arguments are arrays and pytrees of them, as JAX takes them (a float64 counts as float32 unless JAX is set
    to 64 bits), or NumPy object arrays of mpmath's numbers, which f sees as the default float or complex type.
    The result has NumPy object arrays of mpf or mpc, of the same shapes, in place of real and complex arrays.

    NaN and ±∞ are carried; a real function out of its domain gives NaN (√−1, log −1), log 0 = −∞ and 1/0 = ∞.
    mpmath has no −0, so 1/−0 is ∞ too. exp, power, sine and the like take arguments beyond 2^16384 for infinite;
    where mpmath's series for a special function does not converge, its value is NaN. Some 10⁵ operations on numbers
    are done in a second, so sizes must be small.

    Raises UnknownPrimitive, which names the primitive (or a parameter of it that is not known here) and the line it
    came from; ArithmeticError for a while loop of more than 100,000 steps.
    """

    def exactly(*args):
        jaxpr, shape = traced(f, args)
        mp = new_context(digits)
        values = [exact(mp, x, v.aval) for x, v in zip(jax.tree.leaves(args), inputs(jaxpr), strict=True)]
        found = certain(lambda: run(jaxpr, values, mp), mp, digits)
        return jax.tree.structure(shape).unflatten(map(shared, found))

    return exactly


def certain(compute, mp, digits):
    """What `compute` gives, a list of arrays, with so many digits that more of them change nothing."""
    arrays = None
    for extra in MORE_DIGITS:
        mp.dps = digits + extra
        before, arrays = arrays, compute()
        if before and all(agree_on(mp, x, y, digits, extra) for x, y in zip(before, arrays, strict=True)):
            break
    return arrays


def agree_on(mp, x, y, digits, extra):
    """Whether two arrays are certain, entry by entry: 0 only with enough digits to see what is in float64."""
    tolerance = mp.mpf(10) ** -digits
    tiny = lambda v: extra >= ENOUGH_FOR_ZERO and mp.mag(v) < SMALLEST
    same = lambda v, w: (v != v and w != w) or (tiny(v) and tiny(w)) or (w != 0 and agree(mp, v, w, tolerance))
    pairs = zip(x.flat, y.flat, strict=True) if is_exact(y) else ()
    return all(same(*two) for v, w in pairs for two in zip(parts(v), parts(w), strict=True))


def traced(f, args):
    """The jaxpr of f and the shapes of its result; object arrays count as the default float or complex type."""
    return jx.trace(f, *jax.tree.map(lambda x: stand_in(x) if is_exact(x) else x, args))


def stand_in(x):
    complex_entries = any(hasattr(v, "_mpc_") for v in x.ravel())
    return jax.ShapeDtypeStruct(x.shape, jax.numpy.result_type(complex if complex_entries else float))


def inputs(jaxpr):
    return jx.opened(jaxpr).invars
