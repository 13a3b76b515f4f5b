"""A rule that takes symbolic zeros, and requires one."""

import jax
from jax.custom_derivatives import SymbolicZero


@jax.custom_jvp
def product_of_fixed(a, b):
    """a b, whose rule fails unless the tangent of a is a symbolic zero."""
    return a * b


def _jvp(primals, tangents):
    assert isinstance(tangents[0], SymbolicZero)
    return product_of_fixed(*primals), primals[0] * tangents[1]


product_of_fixed.defjvp(_jvp, symbolic_zeros=True)
