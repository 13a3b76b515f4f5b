"""The sites of hand-written rules in a traced function; `rules(f)` lists them."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

import jax

from jaxdl import jaxpr as jx
from jaxdl.rule import op_p

Choice = str | Collection[str] | Callable[["Site"], bool] | None
"""Which rules are meant: by a name, by several, or by a function of the site; `None` where none is chosen."""


@dataclass(frozen=True)
class Site:
    """A place in a traced function where a hand-written rule is called.

    Attributes:
        name: The name of the function that has the rule.
        kind: "op" (jaxdl), "custom_jvp" or "custom_vjp" (JAX).
        where: The source line, `file.py:12 (function)`.
        inputs: The types of the inputs, each a `jax.ShapeDtypeStruct`.
        outputs: The types of the outputs.
        within: The names of the rules whose primal it is in, the outermost first.
        count: How often one call of the function calls it there. The body of a scan counts once for each step, the
            body of a while loop once.
        gain: What an op's rule does better than the automatic derivative, from its docstring.
        has_stock: Whether it is an op with a stock function.
    """

    name: str
    kind: str
    where: str
    inputs: tuple[jax.ShapeDtypeStruct, ...]
    outputs: tuple[jax.ShapeDtypeStruct, ...]
    within: tuple[str, ...] = ()
    count: int = 1
    gain: str = ""
    has_stock: bool = False

    def __str__(self) -> str:
        types = lambda avals: ", ".join(map(jx.typed, avals))
        inside = f" within {' > '.join(self.within)}" if self.within else ""
        return (
            f"{self.name} ({self.kind}){inside} ×{self.count} at {self.where}: "
            f"{types(self.inputs)} → {types(self.outputs)}"
        )


def rules(f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> list[Site]:
    """Lists the hand-written derivative rules that f calls on these arguments.

    Finds jaxdl's ops, `jax.custom_jvp` and `jax.custom_vjp`, also inside jit, scan, while, cond, switch, checkpoint,
    vmap, shard_map and the primals of other rules. f is traced, not run.

    Args:
        f: Any JAX function.
        *args: Its arguments, which may be abstract (`jax.ShapeDtypeStruct`).
        **kwargs: Its keyword arguments.

    Returns:
        The sites in the order of the trace. Equal sites are merged and their counts added.

    Examples:
        >>> [site.name for site in rules(lambda x: jax.nn.relu(jnp.sin(x)), 1.0)]
        ['relu']
    """
    jaxpr, *_ = jx.trace_arrays(f, args, kwargs)
    counted: Counter[Site] = Counter()
    for site in _sites(jaxpr, 1, (), jx.definition(f)):
        counted[replace(site, count=1)] += site.count
    return [replace(site, count=n) for site, n in counted.items()]


def chosen(only: Choice, keep: Choice) -> Callable[[Site], bool]:
    """Which rules `automatic(f, only=only, keep=keep)` removes.

    Args:
        only: The rules to remove; by default all.
        keep: The rules to keep; by default none.

    Returns:
        A predicate on sites.

    Examples:
        >>> [chosen("relu", None)(site) for site in rules(jax.nn.relu, 2.0)]
        [True]
    """
    selected, kept = _predicate(only, True), _predicate(keep, False)
    return lambda site: selected(site) and not kept(site)


def check_called(tool: str, name: str, choice: Choice, sites: Iterable[Site]) -> None:
    """Raises ValueError where a choice of rules names one that is not called.

    Args:
        tool: The function that measures, for the message.
        name: The name of its argument.
        choice: The choice; all predicates pass.
        sites: The rules that are called.
    """
    if choice is None or callable(choice):
        return
    called = dict.fromkeys(site.name for site in sites)
    if unknown := [rule for rule in _names(choice) if rule not in called]:
        raise ValueError(
            f"{tool}: {name} has {unknown[0]!r}, which f does not call; its rules are {', '.join(called) or 'none'}"
        )


def _names(choice):
    if not isinstance(choice, Collection):  # an iterator would be empty the second time
        raise TypeError(f"a choice of rules is a name, a collection of names or a predicate on sites, got {choice!r}")
    return [choice] if isinstance(choice, str) else list(choice)


def _predicate(choice, default):
    if choice is None:
        return lambda site: default
    if callable(choice):
        return choice
    names = set(_names(choice))
    return lambda site: site.name in names


_KINDS = {
    op_p.name: "op",
    "custom_jvp_call": "custom_jvp",
    "custom_vjp_call": "custom_vjp",
    "custom_vjp_call_jaxpr": "custom_vjp",
}


def site_of(eqn: Any, count: int = 1, within: tuple[str, ...] = ()) -> Site | None:
    """The site of an equation.

    Args:
        eqn: An equation of a jaxpr.
        count: How often it is called.
        within: The names of the rules whose primal it is in.

    Returns:
        The site; None where the equation calls no hand-written rule.
    """
    if eqn.primitive.name not in _KINDS:
        return None
    kind = _KINDS[eqn.primitive.name]
    name = jx.op_call(eqn).name if kind == "op" else jx.rule_name(eqn)
    shapes = lambda atoms: tuple(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in atoms)
    gain = jx.op_call(eqn).gain if kind == "op" else ""
    has_stock = kind == "op" and jx.op_call(eqn).stock_function is not None
    return Site(name, kind, jx.where(eqn), shapes(eqn.invars), shapes(eqn.outvars), within, count, gain, has_stock)


def rule_primal(eqn: Any, *args: Any) -> Any:
    """The jaxpr of a rule's primal. An op's is traced for the arguments; JAX's are already traced.

    Args:
        eqn: The equation that calls the rule.
        *args: Its inputs.

    Returns:
        A closed jaxpr.
    """
    if eqn.primitive is op_p:
        return jx.trace(jx.op_call(eqn).primal, *args)[0]
    return jx.rule_jaxpr(eqn)


def stock_program(eqn: Any, *args: Any) -> Any:
    """The jaxpr of an op's stock function, or of its primal if it has none.

    Args:
        eqn: The equation that calls the op.
        *args: Its inputs.

    Returns:
        A closed jaxpr.
    """
    return jx.trace(jx.op_call(eqn).stock, *args)[0]


def _sites(jaxpr, count, within, where):
    """The sites in a jaxpr; `where` is the source line of those that JAX traced without one of the user's."""
    for eqn in jx.opened(jaxpr).eqns:
        site = site_of(eqn, count, within)
        if site:
            site = site if site.where else replace(site, where=where)
            yield site
            types = [v.aval for v in eqn.invars]
            yield from _sites(rule_primal(eqn, *types), count, (*within, site.name), site.where)
        else:
            for inner in jx.inner_jaxprs(eqn):
                yield from _sites(inner, count * jx.scan_length(eqn), within, jx.where(eqn) or where)


jx.hide_from_source_lines(__file__)
