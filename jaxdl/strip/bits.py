"""Values that are made of the bits of a number: JAX's derivative of them is 0, and not their derivative."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxdl import jaxpr as jx

LOST = "its output is made of the bits of an input (bitcast_convert_type, nextafter), where JAX's derivative is 0."
_CHOICES = {"select_n", "concatenate"}  # each entry is one of an input


class _Reach(NamedTuple):
    """The inputs from which a value has a derivative, and those of whose bits it is made; both for one of several."""

    smooth: frozenset[int] = frozenset()
    bits: frozenset[int] = frozenset()


def lost_in_bits(jaxpr: Any) -> frozenset[int]:
    """The inputs of a jaxpr of whose bits a floating-point output is made, and from which it has no derivative.

    Of an entry that is one of several values, each counts; what is computed of bits and of the number itself, such as
    its exponential, counts as having a derivative. Loops and inner rules count as if they had derivatives.

    Args:
        jaxpr: A closed jaxpr.

    Returns:
        The indices of the inputs.
    """
    inputs = [_Reach(frozenset([i]) if _is_smooth(v) else frozenset()) for i, v in enumerate(jx.opened(jaxpr).invars)]
    pairs = zip(jx.opened(jaxpr).outvars, _reach(jaxpr, inputs), strict=True)
    return frozenset().union(*(reach.bits for v, reach in pairs if _is_smooth(v)))


def _reach(jaxpr, inputs):
    plain = jx.opened(jaxpr)
    known = dict(zip(plain.invars, inputs, strict=True))
    of = lambda atom: known.get(atom, _Reach()) if jx.is_variable(atom) else _Reach()
    for eqn in plain.eqns:
        given = [of(v) for v in eqn.invars]
        if eqn.primitive.name in jx.CALLS | jx.CHECKPOINTS:
            known.update(zip(eqn.outvars, _reach(jx.primal_of(eqn), given), strict=True))
        else:
            known.update((v, _of_equation(eqn, given, v)) for v in eqn.outvars)
    return [of(v) for v in plain.outvars]


def _of_equation(eqn, given, y):
    """The reach of an output of an equation, from that of its inputs."""
    name, union = eqn.primitive.name, frozenset().union
    smooth, bits = union(*(x.smooth for x in given)), union(*(x.bits for x in given))
    if name == "bitcast_convert_type":
        return _Reach(bits=smooth | bits)
    if name == "nextafter":
        return _Reach(bits=given[0].smooth | given[0].bits)
    if name in jx.STEPS - {"and", "or", "xor", "not"} or y.aval.dtype == bool:
        return _Reach()
    if name == "convert_element_type" and _is_smooth(y) != _is_smooth(eqn.invars[0]):
        return _Reach()  # a whole number: a step
    if name in _CHOICES or not _is_smooth(y):
        return _Reach(smooth, bits)
    return _Reach(smooth, bits - union(*(x.smooth - x.bits for x in given)))


def _is_smooth(v):
    return jnp.issubdtype(v.aval.dtype, jnp.inexact)
