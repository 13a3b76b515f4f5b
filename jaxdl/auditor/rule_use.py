"""How a function uses its rules: which of their inputs it differentiates, and where one value enters several times."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.strip import moving, site_of


@dataclass(eq=False)
class RuleUse:
    """How a function uses the rule in an equation.

    Attributes:
        numbers: A number for each input, equal where the same traced value enters twice.
        is_sharded: Whether it runs on each device of a mesh.
        by_reference: Whether a reference is among its inputs.
        moving: The positions of the inputs in which JAX differentiates it.
        is_mixed: Whether its floating-point inputs, constants among them, are of several types.
    """

    numbers: tuple[int, ...]
    is_sharded: bool
    by_reference: bool
    moving: set[int]
    is_mixed: bool


def rule_uses(jaxpr: Any, arrays: Sequence[Any], places: Any = None) -> Callable[..., Any]:
    """How the function of a jaxpr uses its rules.

    Args:
        jaxpr: The traced function.
        arrays: Its arguments.
        places: The positions of those in which it is differentiated; by default all that can be.

    Returns:
        A function from a site to its RuleUse.
    """
    sharded = _inside_shard_map(jaxpr)
    try:
        moves = moving(jaxpr, list(arrays), places)
    except Exception:  # a rule, or another part, has no derivative: then all may move
        moves = None
    found = {}
    for eqn, numbers in _numbered(jaxpr, itertools.count()):
        if site := site_of(eqn):
            here = set(range(len(numbers))) if moves is None else moves.get(site, set())
            found.setdefault(
                site, RuleUse(tuple(numbers), id(eqn) in sharded, jx.takes_reference(eqn), here, _is_mixed(eqn))
            )
    # `strip.rules` gives a line to sites that have none of the user's.
    return lambda site: found.get(replace(site, count=1)) or found[replace(site, count=1, where="")]


def _is_mixed(eqn):
    types = [v.aval for v in eqn.invars if jnp.issubdtype(getattr(v.aval, "dtype", bool), jnp.floating)]
    return len({t.dtype for t in types if not jx.is_weak(t)}) > 1


def _inside_shard_map(jaxpr):
    """The ids of the equations that run on each device of a mesh."""
    bodies = [jx.inner_jaxprs(eqn) for eqn in jx.equations(jaxpr) if eqn.primitive.name == "shard_map"]
    return {id(eqn) for body in itertools.chain(*bodies) for eqn in jx.equations(body)}


def _only_types(eqn):
    """Whether an equation leaves a value and its dtype as they are: where a Python number loses its weak type."""
    return eqn.primitive.name == "convert_element_type" and eqn.invars[0].aval.dtype == eqn.outvars[0].aval.dtype


def _numbered(jaxpr, fresh, given=None):
    """Every equation with a number for each input, equal for the same traced value, also through jit."""
    plain = jx.opened(jaxpr)
    numbers = dict(zip(plain.invars, given or fresh, strict=False))
    of = lambda atom: numbers.setdefault(atom, next(fresh)) if jx.is_variable(atom) else next(fresh)
    for eqn in plain.eqns:
        inputs = [of(v) for v in eqn.invars]
        yield eqn, inputs
        for body in jx.inner_jaxprs(eqn):
            is_call = eqn.primitive.name in jx.CALLS
            inner = yield from _numbered(body, fresh, inputs if is_call else None)
            if is_call:
                numbers.update(zip(eqn.outvars, inner, strict=True))
        if _only_types(eqn):
            numbers.update(zip(eqn.outvars, inputs, strict=True))
    return [of(v) for v in plain.outvars]
