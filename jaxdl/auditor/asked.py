"""What a function asks of the rules in it: which of their inputs move, and where one value enters at several places."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

from jaxdl import jaxpr as jx
from jaxdl.strip import moving, site_of


@dataclass(eq=False)
class Asked:
    """What is asked of the rule in an equation.

    numbers: one for each input, equal where one traced value enters twice; moving: the places of the inputs that move
    with the arguments of the function, as JAX differentiates it; is_sharded: whether it runs on each device of a mesh.
    """

    numbers: tuple[int, ...]
    is_sharded: bool
    moving: set[int]


def asked(jaxpr, arrays, places=None) -> Callable:
    """What is asked of the rule at a site, an Asked, in the function of a jaxpr that is differentiated in its arrays at
    places, by default in all that can be: a function of the site."""
    sharded = _inside_shard_map(jaxpr)
    try:
        moves = moving(jaxpr, arrays, places)
    except Exception:  # something in the function, or a rule, has no derivative: then all may move
        moves = None
    found = {}
    for eqn, numbers in _numbered(jaxpr, itertools.count()):
        if site := site_of(eqn):
            here = set(range(len(numbers))) if moves is None else moves.get(site, set())
            found.setdefault(site, Asked(tuple(numbers), id(eqn) in sharded, here))
    # Where a site has no line of the user's, `strip.rules` gives it one.
    return lambda site: found.get(replace(site, count=1)) or found[replace(site, count=1, where="")]


def _inside_shard_map(jaxpr):
    """The identities of the equations that run on each device of a mesh."""
    bodies = [jx.inner_jaxprs(eqn) for eqn in jx.equations(jaxpr) if eqn.primitive.name == "shard_map"]
    return {id(eqn) for body in itertools.chain(*bodies) for eqn in jx.equations(body)}


def _numbered(jaxpr, fresh, given=None):
    """Every equation with a number for each of its inputs, equal for equal traced values, also through jit."""
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
    return [of(v) for v in plain.outvars]
