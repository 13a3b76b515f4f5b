"""What a function's rules are called with: each site with its values, and which of its inputs move."""

import functools
import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl import symbolic_zeros
from jaxdl.strip.sites import Site, chosen, rule_primal, rules, site_of, stock_program
from jaxdl.strip.without_rules import evaluated, removal


@dataclass(frozen=True)
class Observed:
    """A site with the inputs of its first call, and its function with each of its derivatives.

    Attributes:
        site: The site.
        inputs: The values of the first call.
        hand: The function with its hand-written rule; it takes the inputs and returns the list of outputs.
        automatic: The same function without rules.
        stock: The same function without ops; None where an op has no stock function or the site is no op.
        marks: For each input, the hashes of its values in all calls: equal sets are equal values.
        find_moving: Computes `moving`.
    """

    site: Site
    inputs: list[Any]
    marks: list[set[int]]
    hand: Callable[..., list[Any]]
    automatic: Callable[..., list[Any]]
    stock: Callable[..., list[Any]] | None
    find_moving: Callable[[], tuple[int, ...]]

    @property
    def moving(self) -> tuple[int, ...]:
        """The indices of the inputs that depend differentiably on the arguments of the function.

        The other inputs are constants for the rule. Raises whatever differentiating the function raises.
        """
        return self.find_moving()


def observe(f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> list[Observed]:
    """Runs f once and records the inputs of its rules, also inside scan, cond and while.

    Rules inside the primals of other rules, inside shard_map and in branches not taken are left out; so are those that
    take references.

    Args:
        f: Any JAX function.
        *args: Its arguments.
        **kwargs: Its keyword arguments.

    Returns:
        One entry for each site, with the values of its first call.

    Examples:
        >>> [(seen.site.name, seen.inputs) for seen in observe(jax.nn.relu, 2.0)]
        [('relu', [Array(2., dtype=float32, weak_type=True)])]
    """
    *_, arrays = jx.trace_arrays(f, args, kwargs)
    return observer(functools.wraps(f)(jx.in_arrays(f, args, kwargs)), *arrays)(*arrays)


def observer(f: Callable[..., Any], *types: Any) -> Callable[..., list[Observed]]:
    """`observe` for a function of arrays, compiled once.

    Args:
        f: A function of arrays.
        *types: The types of its arguments: arrays or abstract arrays.

    Returns:
        A function of arrays of these types that returns what `observe` does.
    """
    jaxpr, _ = jx.trace(f, *types)
    listed, calls, numbers = _listed(jaxpr, rules(f, *types)), {}, itertools.count()

    def note(number, site, eqn, wraps, *values):
        *_, marks = calls.setdefault(number, (site, eqn, wraps, values, [set() for _ in values]))
        for known, x in zip(marks, values, strict=True):
            known.add(hash(np.asarray(x).tobytes()))

    def replacement(eqn):
        site = site_of(eqn)
        if site is None or jx.takes_reference(eqn):
            return None

        def watched(*inputs):
            number = next(numbers)  # callbacks may come in another order than that of the program
            raw = [jax.random.key_data(x) if _is_key(x) else x for x in inputs]
            wraps = [_wrapping(x) for x in inputs]
            jax.debug.callback(functools.partial(note, number, site, eqn, wraps), *raw)
            return jx.binding(eqn)(*inputs)

        return watched

    program = jx.quick_jit(lambda *arrays: jx.evaluate(jaxpr, arrays, replacement), *types)

    def observed(*arrays):
        calls.clear()
        jax.block_until_ready(program(*arrays))
        jax.effects_barrier()
        found, first = functools.cache(lambda: moving(jaxpr, [*arrays])), {}
        for number in sorted(calls):
            site, *seen, marks = calls[number]
            *_, known = first.setdefault(site, [*seen, marks])
            for a, b in zip(known, marks, strict=False):
                a |= b
        return [_observed(site, place, found, *seen) for site, seen in first.items() for place in listed(site)]

    return observed


def moving(jaxpr: Any, arrays: list[Any], places: list[int] | None = None) -> dict[Site, set[int]]:
    """Finds which inputs of rules get a tangent from the arguments of a jaxpr.

    Args:
        jaxpr: A closed jaxpr.
        arrays: Its arguments.
        places: The indices of the arguments that have tangents; by default of all with inexact dtype.

    Returns:
        For each site, the indices of such inputs of its equation.
    """
    found: dict[Site, set[int]] = defaultdict(set)

    def replacement(eqn):
        site = site_of(eqn)
        if site is None:
            return None
        return lambda *inputs: jx.binding(eqn)(*symbolic_zeros.noting_tangents(inputs, found[site]))

    smooth = [i for i, x in enumerate(arrays) if jnp.issubdtype(x.dtype, jnp.inexact)] if places is None else places
    noting = lambda *args: jx.evaluate(jaxpr, args, replacement)
    jax.eval_shape(lambda *args: jax.vjp(jx.in_some(noting, args, smooth), *[args[i] for i in smooth])[0], *arrays)
    return found


def _listed(jaxpr, sites):
    """A function from the site of an equation to the sites that `rules` lists for it, with their counts.

    An equation that has no source line itself, inside a jitted function, may be called from several lines.
    """
    own = {site for eqn in jx.equations(jaxpr) if (site := site_of(eqn)) and site.where}
    known = {replace(site, count=1): site for site in sites}

    def of_equation(site):
        if site.where:
            return [known.get(site, site)]
        same = [s for key, s in known.items() if replace(key, where="") == site and key not in own]
        return same or [site]

    return of_equation


def _observed(site_of_equation, site, moving, eqn, wraps, values, marks):
    """The constants that a rule closes over, which JAX puts in front of its inputs, are bound to it."""
    inputs = [wrap(x) for wrap, x in zip(wraps, values, strict=True)]
    count = jx.rule_constants(eqn)
    constants, inputs = inputs[:count], inputs[count:]
    plain = functools.partial(evaluated, rule_primal, eqn, site, removal(chosen(None, None)), *constants)
    stock = functools.partial(evaluated, stock_program, eqn, site, lambda inner: None) if site.has_stock else None
    find_moving = lambda: tuple(sorted(i - count for i in moving()[site_of_equation] if i >= count))
    hand = functools.partial(jx.binding(eqn), *constants)
    return Observed(site, inputs, marks[count:], hand, plain, stock, find_moving)


def _wrapping(x):
    """The function that turns what a callback gets back into an array like x: into keys of `jax.random`, or weak."""
    if _is_key(x):
        return lambda data: jax.random.wrap_key_data(jnp.asarray(data), impl=jax.random.key_impl(x))
    return functools.partial(_array_like, jax.typeof(x))


def _array_like(aval, x):
    return jx.as_array(np.asarray(x), aval) if jx.is_weak(aval) else jnp.asarray(x)


def _is_key(x):
    return jnp.issubdtype(jax.typeof(x).dtype, jax.dtypes.prng_key)


jx.hide_from_source_lines(__file__)
