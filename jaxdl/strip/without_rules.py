"""`automatic(f)`: f without its hand-written derivative rules; `stock(f)`: f without ops of jaxdl."""

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax

from jaxdl import jaxpr as jx
from jaxdl.strip.obstacles import find_obstacles, obstacle_p, one_way_p
from jaxdl.strip.sites import Choice, Site, chosen, rule_primal, site_of, stock_program

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
            while loop of unknown length in reverse mode, a callback, a primitive whose own derivative raises), or for
            which it takes 0 because the primal works on bits, as that of `jnp.frexp` does. The message names the rule
            to keep.

    Examples:
        >>> float(jax.grad(automatic(jax.nn.relu))(2.0))
        1.0
    """
    return jx.replaced(f, removal(chosen(only, keep)))


def stock(f: Callable[Arguments, Result], *, only: Choice = None, keep: Choice = None) -> Callable[Arguments, Result]:
    """Puts what one would write without jaxdl in place of each op in f: a function of `jax.nn`, `jax.numpy` or `lax`.

    `jaxdl.ops.stock_functions` has the functions; losses and normalisations are those of optax and Flax. An op without
    such a function is replaced by its definition, with the ops in it replaced. Rules of other libraries stay, as do
    those of `jax.nn`. `only` and `keep` narrow the selection, as in `automatic`.

    Args:
        f: Any JAX function.
        only: The ops to replace; by default all.
        keep: The ops to keep; by default none.

    Returns:
        A function of the same arguments that computes the same values up to rounding. It composes with every JAX
        transformation, and has no cost at run time once it is jitted.

    Raises:
        TypeError: By the returned function, as that of `automatic`.

    Examples:
        >>> from jaxdl import ops
        >>> [site.kind for site in jaxdl.rules(stock(ops.relu), 2.0)]  # jax.nn.relu has a rule too
        ['custom_jvp']
    """
    wanted = chosen(only, keep)
    return jx.replaced(f, removal(lambda site: site.kind == "op" and wanted(site), stock_program))


def removal(
    wanted: Callable[[Site], bool], program: Callable[..., Any] = rule_primal
) -> Callable[[Any], Callable[..., list[Any]] | None]:
    """The replacement, for `jaxpr.evaluate`, of the rules of wanted sites.

    Args:
        wanted: The sites whose rules are replaced.
        program: `rule_primal` or `stock_program`: gives the jaxpr in place of an equation, from it and its inputs.

    Returns:
        A function from an equation to the function that is called in its place, or None.
    """

    def replacement(eqn):
        site = site_of(eqn)
        if site is None or not wanted(site):
            return None
        return functools.partial(evaluated, program, eqn, site, replacement)

    return replacement


def evaluated(program: Callable[..., Any], eqn: Any, site: Site, replacement: Any, *args: Any) -> list[Any]:
    """The outputs of a program in place of a rule; a derivative of it that JAX does not have raises `RuleNeeded`.

    Args:
        program: `rule_primal` or `stock_program`.
        eqn: The equation that calls the rule.
        site: Its site.
        replacement: The replacement of equations inside the program, as for `jaxpr.evaluate`.
        *args: The inputs of the equation.

    Returns:
        The list of outputs.
    """
    primal = program(eqn, *args)
    forward, backward = find_obstacles(primal, replacement)
    inputs = [obstacle_p.bind(x, site=site, **forward[i])[0] if i in forward else x for i, x in enumerate(args)]
    with jax.named_scope(site.name):
        y = jx.evaluate(primal, inputs, replacement)
    if backward:
        reason = next(iter(backward.values()))
        y = one_way_p.bind(*y, *[inputs[i] for i in backward], outputs=len(y), site=site, reason=reason)
    return y


jx.hide_from_source_lines(__file__)
