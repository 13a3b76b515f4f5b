"""`automatic(f)`: f without its hand-written derivative rules."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax

from jaxdl import jaxpr as jx
from jaxdl.strip.obstacles import find_obstacles, obstacle_p, one_way_p
from jaxdl.strip.sites import Choice, Site, chosen, rule_primal, site_of

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def automatic(
    f: Callable[Arguments, Result], *, only: Choice = None, keep: Choice = None
) -> Callable[Arguments, Result]:
    """Removes the hand-written derivative rules from f, so that JAX differentiates the primals.

    Removes jaxdl's ops, `jax.custom_jvp` and `jax.custom_vjp`, of any library, also inside jit, scan, while, cond,
    switch, checkpoint, vmap, shard_map and other rules. `only` and `keep` narrow the selection: a name, names, or a
    predicate on the `Site`.

    Args:
        f: Any JAX function.
        only: The rules to remove; by default all.
        keep: The rules to keep; by default none.

    Returns:
        A function of the same arguments that returns the values of the primals. It composes with every JAX
        transformation, and has no cost at run time once it is jitted.

    Raises:
        TypeError: By the returned function, where a derivative is needed of a primal that JAX cannot differentiate (a
            while loop of unknown length in reverse mode, a callback, a primitive whose own derivative raises). The
            message names the rule to keep.

    Example:
        >>> float(jax.grad(automatic(jax.nn.relu))(2.0))
        1.0
    """
    replacement = removal(chosen(only, keep))

    @functools.wraps(f)
    def without_rules(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        jaxpr, result, arrays = jx.trace_arrays(f, args, kwargs)
        return jax.tree.unflatten(result, jx.evaluate(jaxpr, arrays, replacement))

    return without_rules


def removal(wanted: Callable[[Site], bool]) -> Callable[[Any], Callable[..., list[Any]] | None]:
    """The replacement, for `jaxpr.evaluate`, that puts primals in place of the rules of wanted sites."""

    def replacement(eqn):
        site = site_of(eqn)
        if site is None or not wanted(site):
            return None
        return functools.partial(evaluated_primal, eqn, site, replacement)

    return replacement


def evaluated_primal(eqn: Any, site: Site, replacement: Any, *args: Any) -> list[Any]:
    """The outputs of a rule's primal, for which a derivative that JAX does not have raises `RuleNeeded`."""
    primal = rule_primal(eqn, *args)
    forward, backward = find_obstacles(primal, replacement)
    inputs = [obstacle_p.bind(x, site=site, **forward[i])[0] if i in forward else x for i, x in enumerate(args)]
    with jax.named_scope(site.name):
        y = jx.evaluate(primal, inputs, replacement)
    if backward:
        reason = next(iter(backward.values()))
        y = one_way_p.bind(*y, *[inputs[i] for i in backward], outputs=len(y), site=site, reason=reason)
    return y


jx.hide_from_source_lines(__file__)
