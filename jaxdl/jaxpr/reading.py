"""Reading a jaxpr: its equations, the jaxprs inside them, and what they compute.

A jaxpr here is what `jax.make_jaxpr` returns, closed over its constants; `opened` gives its equations.
"""

import functools
import re
from collections.abc import Iterator
from typing import Any

import jax

from jaxdl.jaxpr.records import op_call
from jaxdl.jaxpr.tracing import trace
from jaxdl.jaxpr.versions import AnyJaxpr, Equation

RANDOM_BITS = {"random_bits", "threefry2x32", "rng_bit_generator", "rng_uniform"}


def opened(jaxpr: AnyJaxpr) -> AnyJaxpr:
    """The jaxpr with `eqns` inside one that may be closed over constants."""
    return getattr(jaxpr, "jaxpr", jaxpr)


def is_jaxpr(value: Any) -> bool:
    """Whether a parameter of an equation is a jaxpr."""
    return hasattr(opened(value), "eqns")


def is_variable(atom: Any) -> bool:
    """Whether an input or output is a variable, rather than a literal."""
    return not hasattr(atom, "val")


def inner_jaxprs(eqn: Equation) -> list[AnyJaxpr]:
    """The jaxprs among an equation's parameters: the bodies of jit, scan, cond, while, remat, …"""
    return [leaf for leaf in jax.tree.leaves(list(eqn.params.values()), is_leaf=is_jaxpr) if is_jaxpr(leaf)]


def equations(jaxpr: AnyJaxpr) -> Iterator[Equation]:
    """All equations in a jaxpr, however deep."""
    for eqn in opened(jaxpr).eqns:
        yield eqn
        yield from equations_inside(eqn)


def equations_inside(eqn: Equation) -> Iterator[Equation]:
    """All equations in the bodies of an equation, however deep."""
    return (e for inner in inner_jaxprs(eqn) for e in equations(inner))


def takes_symbolic_zeros(eqn: Equation) -> bool:
    """Whether a custom rule, that of the equation or one inside it, takes symbolic zeros."""
    return any(e.params.get("symbolic_zeros") for e in (eqn, *equations_inside(eqn)))


def primitives(jaxpr: AnyJaxpr) -> Iterator[str]:
    """The names of the primitives of all equations in a jaxpr, however deep."""
    return (eqn.primitive.name for eqn in equations(jaxpr))


def draws_bits(jaxpr: AnyJaxpr) -> bool:
    """Whether a jaxpr draws random bits, also in its loops and branches."""
    return not RANDOM_BITS.isdisjoint(primitives(jaxpr))


def primal_of(eqn: Equation) -> AnyJaxpr | None:
    """The jaxpr of what an equation with a hand-written rule computes; None if its parameters do not hold it."""
    if hasattr(op_call(eqn), "primal"):
        return trace(op_call(eqn).primal, *[v.aval for v in eqn.invars])[0]
    if eqn.primitive.name == "call_hi_primitive":  # JAX 0.11 and newer: jnp.searchsorted is one
        return trace(functools.partial(eqn.primitive.to_lojax, **eqn.params), *[v.aval for v in eqn.invars])[0]
    return next(iter(inner_jaxprs(eqn)), None)


def definition_of(eqn: Equation) -> AnyJaxpr:
    """The jaxpr of the JAX function that evaluates a primitive of jaxdl."""
    return trace(functools.partial(eqn.primitive.impl, **eqn.params), *[v.aval for v in eqn.invars])[0]


def likeness(eqn: Equation) -> tuple[Any, ...]:
    """A key that is equal for equations that compute the same function of equal types."""
    params = tuple(sorted(eqn.params.items()))
    try:
        hash(params)
    except TypeError:
        params = id(eqn)
    return eqn.primitive, params, tuple(v.aval.str_short() for v in eqn.invars)


def without_addresses(text: str) -> str:
    """A text, such as a jaxpr's, without the addresses of objects, which differ from process to process."""
    return re.sub(r" at 0x[0-9a-f]+|(?<=id=)\d+", "", text)


def function_name(jaxpr: AnyJaxpr) -> str:
    """The name of the function that a jaxpr was traced from."""
    info = getattr(opened(jaxpr), "debug_info", None)
    return info.func_name if info else "function"


def argument_names(jaxpr: AnyJaxpr) -> list[str]:
    """The names of a jaxpr's inputs in the traced function; a1, a2, … if they are not known or not distinct."""
    plain = opened(jaxpr)
    found = list(getattr(getattr(plain, "debug_info", None), "arg_names", None) or [])
    if len(found) != len(plain.invars) or len(set(found)) != len(found) or not all(found):
        found = [f"a{i}" for i in range(1, len(plain.invars) + 1)]
    return found
