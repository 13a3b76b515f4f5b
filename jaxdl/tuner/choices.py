"""What can be chosen for the rules of a program, and the program with these choices."""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from jaxdl import jaxpr as jx
from jaxdl.strip import Site, evaluated, rule_primal, site_of, stock_program
from jaxdl.tuner.costs import machine

HAND, AUTOMATIC, STOCK = "hand", "automatic", "stock"
PROGRAMS = {AUTOMATIC: rule_primal, STOCK: stock_program}


@dataclass(frozen=True)
class Group:
    """Identical sites: calls of one function with equal settings, on arguments of equal types. They get one choice.

    Attributes:
        key: What identifies the group, also in another process.
        site: The first of the sites, with the count of all.
        options: What can be chosen: "hand", the op's forms, "automatic", "stock".
        cost: A rough estimate of its time, in seconds.
    """

    key: str
    site: Site
    options: tuple[str, ...]
    cost: float


@dataclass(frozen=True)
class Choices:
    """The option of each group, by its key, and that of all others."""

    default: str = HAND
    chosen: tuple[tuple[str, str], ...] = ()

    def at(self, key: str) -> str:
        """The option of a group."""
        return dict(self.chosen).get(key, self.default)

    def changed(self, groups: Iterable[Group], option: str) -> "Choices":
        """The same choices but for these groups, where they have the option."""
        new = dict(self.chosen) | {group.key: option for group in groups if option in group.options}
        return replace(self, chosen=tuple(sorted((k, v) for k, v in new.items() if v != self.default)))


def groups(jaxpr: Any) -> list[Group]:
    """The groups of identical sites in a jaxpr, the most expensive first. Sites inside other rules are left out."""
    found: dict[str, Group] = {}
    for eqn, site in _calls(jaxpr, 1):
        key = _key(eqn, site)
        if key not in found:
            found[key] = Group(key, replace(site, count=0), _options(eqn, site), 0.0)
        group = found[key]
        count = group.site.count + site.count
        found[key] = replace(group, site=replace(group.site, count=count), cost=count * _cost(eqn))
    return sorted(found.values(), key=lambda group: -group.cost)


def with_choices(jaxpr: Any, choices: Choices) -> Callable[..., list[Any]]:
    """A jaxpr as a function of its arrays, with the chosen derivative at each site."""

    def replacement(eqn):
        site = site_of(eqn)
        if site is None:
            return None
        option = choices.at(_key(eqn, site))
        if option == STOCK and site.kind != "op":
            return None
        if option in PROGRAMS:
            return functools.partial(evaluated, PROGRAMS[option], eqn, site, replacement)
        if option == HAND:
            return None
        if option not in _options(eqn, site):
            has = ", ".join(_options(eqn, site))
            raise ValueError(f"tune: {site.name} has {has}, and not the chosen derivative {option!r}: tune it again")
        return jx.binding(eqn, call=jx.op_call(eqn).in_form(option))

    return lambda *arrays: jx.evaluate(jaxpr, arrays, replacement)


def _calls(jaxpr, count) -> Iterator[tuple[Any, Site]]:
    for eqn in jx.opened(jaxpr).eqns:
        if site := site_of(eqn, count):
            yield eqn, site
        else:
            for inner in jx.inner_jaxprs(eqn):
                yield from _calls(inner, count * jx.scan_length(eqn))


def _options(eqn, site):
    if site.kind != "op":
        return HAND, AUTOMATIC
    call = jx.op_call(eqn)
    stock = () if call.stock_function is None else (STOCK,)
    return HAND, *(name for name, _ in call.forms), AUTOMATIC, *stock


def _key(eqn, site):
    settings = jx.op_call(eqn).described if site.kind == "op" else ""
    types = ", ".join(map(jx.typed, site.inputs))
    return jx.without_addresses(f"{site.name}({types}{'; ' * bool(settings)}{settings})")


def _cost(eqn):
    """The estimated time of one call."""
    primal = rule_primal(eqn, *[v.aval for v in eqn.invars])
    return sum(map(machine().seconds, jx.needed_equations(primal)))
