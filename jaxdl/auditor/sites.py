"""The subjects of an audit: f as a whole, and each rule in it, as f uses it and with the values of that call."""

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.auditor.array_points import generated_points
from jaxdl.auditor.programs import UserCodeError, user_code
from jaxdl.auditor.report import name_of
from jaxdl.auditor.rule_use import rule_uses
from jaxdl.auditor.subject import WHOLE, Subject
from jaxdl.strip import Observed, Site, automatic, observer, rules, site_of

MOST_WAYS = 64  # arguments of f, in each of which alone f is differentiated
SHARDED = "on each device of a mesh: it is audited in the function as a whole"
BY_REFERENCE = "it takes a reference: it is audited in the function as a whole"
ELSEWHERE = "neither these arguments nor edge points reach its branch"


@dataclass(frozen=True)
class Subjects:
    """What an audit examines.

    Attributes:
        audited: The subjects.
        not_reached: The sites that are not called, each with the reason.
    """

    audited: list[Subject]
    not_reached: list[tuple[Site, str]]


def subjects(
    flat: Callable[..., Any], arrays: Sequence[Any], f: Callable[..., Any], domains: Sequence[Any] = ()
) -> Subjects:
    """f as a whole, unless it is a single rule, and its rules.

    A rule is audited where it is called first: at the arguments given or, if it is not called there, at edge points.

    Args:
        flat: f as a function of its arrays.
        arrays: The arrays.
        f: The user's function.
        domains: One for each array, or none.
    """
    arrays = tuple(x if hasattr(x, "dtype") else jnp.asarray(x) for x in arrays)
    listed = lambda f: lambda *x: jax.tree.leaves(f(*x))
    name, where = name_of(f), jx.definition(f)
    domains = tuple(domains) or (None,) * len(arrays)
    jaxpr, _ = jx.trace(flat, *arrays)
    called = rules(flat, *arrays)
    hand = listed(flat)
    whole = Subject(name, WHOLE, where, 1, hand, listed(automatic(flat)) if called else hand, arrays, domains)
    uses, found = functools.cache(functools.partial(_rule_uses, jaxpr, arrays)), {}
    observe = functools.cache(lambda: user_code(observer(flat, *arrays)))
    beside = functools.cache(lambda: _observed(observe(), [_moved(x) for x in arrays], False))
    missing = {replace(site, count=1): site for site in called if not site.within}
    sharded = {key for key, site in missing.items() if uses()(site).is_sharded}
    for inputs in (arrays, *generated_points(whole).values()):
        if missing.keys() <= sharded:
            break
        for seen in _observed(observe(), inputs, inputs is arrays):
            key = replace(seen.site, count=1)
            if key in missing and key not in sharded:
                subject = _subject(missing.pop(key), seen, beside, uses, arrays, domains, where)
                if subject.smooth and subject.outputs:
                    known = subject.name, subject.kind, str(subject.value)
                    count = subject.count + (found[known].count if known in found else 0)
                    found[known] = replace(found.get(known, subject), count=count)
    audited = [*found.values()]
    if not (len(audited) == 1 and _is_one_rule(jaxpr)):
        audited = [replace(whole, is_mixed=any(subject.is_mixed for subject in audited)), *audited]
    reason = lambda key: SHARDED if key in sharded else BY_REFERENCE if uses()(key).by_reference else ELSEWHERE
    return Subjects(audited, [(site, reason(key)) for key, site in missing.items()])


def _observed(observe, inputs, are_given) -> list[Observed]:
    try:
        return observe(*inputs)
    except UserCodeError:
        if are_given:
            raise
        return []  # f does not accept generated numbers


def _rule_uses(jaxpr, arrays, place=None):
    """How f uses its rules where it is differentiated in all of its arrays, or only in the one at a place."""
    return rule_uses(jaxpr, arrays, None if place is None else [place])


def _moved(x):
    """An array with slightly different numbers."""
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return x
    x, step = np.asarray(x), 2 * float(jnp.finfo(x.dtype).eps) ** 0.5
    return np.asarray(x * (1 + step) + (np.abs(x) < step) * step, x.dtype)


def _constant(seen, beside) -> set[int]:
    """The positions of a rule's inputs that do not change with the arguments of f, in any call.

    JAX gives tangents to them nevertheless, where they come out of a `custom_vjp`.
    """
    same = lambda other: (other.site, len(other.inputs)) == (seen.site, len(seen.inputs))
    other = next(filter(same, beside()), None)
    if other is None:
        return set()
    return {i for i, x in enumerate(seen.inputs) if _is_plain(x) and seen.marks[i] == other.marks[i]}


def _subject(site, seen, beside, uses, arrays, domains, where) -> Subject:
    """A rule as f uses it, with inputs that are constant in f bound to it."""
    rule = uses()(site)
    ahead = len(rule.numbers) - len(seen.inputs)  # constants that the rule closes over
    numbers = rule.numbers[ahead:]
    inputs = [np.asarray(x) if _is_plain(x) and not jx.is_weak(x) else x for x in seen.inputs]
    moving = {i for i in range(len(inputs)) if i + ahead in rule.moving}
    free = [i for i, x in enumerate(inputs) if i in moving or not jnp.issubdtype(x.dtype, jnp.inexact)]
    first = {n: i for i, n in reversed([*enumerate(numbers)])}
    alike = [first[n] if i in moving else i for i, n in enumerate(numbers)]

    def made(places, **more):
        """The subject whose inputs are those at places; others equal the input of the same value, or are constant."""
        of = {i: k for k, i in enumerate(places)}
        source = [of.get(i, of.get(alike[i])) for i in range(len(inputs))]
        given = lambda x: [x[k] if k is not None else inputs[i] for i, k in enumerate(source)]
        domain = [domains[numbers[i]] if numbers[i] < len(domains) else None for i in places]
        ways = lambda: {
            frozenset(source[i - ahead] for i in uses(k)(site).moving if i >= ahead) - {None}
            for k in range(min(len(arrays), MOST_WAYS))
            if jnp.issubdtype(arrays[k].dtype, jnp.inexact)
        }
        # Where f is the rule itself, no line of the user's calls it.
        called = where if site.where.startswith(os.path.dirname(jx.__file__)) or not site.where else site.where
        return Subject(
            site.name, site.kind, called, site.count,
            lambda *x: seen.hand(*given(x)), lambda *x: seen.automatic(*given(x)),
            tuple(inputs[i] for i in places), tuple(domain), functools.cache(ways), is_mixed=rule.is_mixed, **more,
        )  # fmt: skip

    def total():
        constant = _constant(seen, beside) & moving
        once = [i for i in free if alike[i] == i and i not in constant]
        return made(once, edges=False) if once != free else None

    return made(free, total=functools.cache(total))


def _is_one_rule(jaxpr):
    eqns = jx.opened(jaxpr).eqns
    if len(eqns) != 1:
        return False
    if eqns[0].primitive.name == "jit":
        return _is_one_rule(jx.inner_jaxprs(eqns[0])[0])
    return site_of(eqns[0]) is not None


def _is_plain(x):
    return not jnp.issubdtype(x.dtype, jax.dtypes.extended)
