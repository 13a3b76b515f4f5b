"""The subjects of an audit: f as a whole, and each rule in it as f asks it, with the values that it sees there."""

import functools
import os
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.auditor.along_arrays import made_up
from jaxdl.auditor.asked import asked
from jaxdl.auditor.report import name_of
from jaxdl.auditor.subject import WHOLE, Raised, Subject, theirs
from jaxdl.strip import Observed, Site, automatic, observe, rules

MOST_WAYS = 64  # arguments of f, each of which is asked for alone
SHARDED = "on each device of a mesh: it is judged in the function as a whole"
ELSEWHERE = "neither these arguments nor edge points come to its branch"


@dataclass(frozen=True)
class Subjects:
    """unreached: the sites that are not called, each with the reason."""

    audited: list[Subject]
    unreached: list[tuple[Site, str]]


def subjects(flat, arrays, f, domains=()) -> Subjects:
    """f as a whole, unless it is but one rule, then its rules. flat: f as a function of its arrays alone.

    A rule is audited where it is called first: at the arguments given or, if it is not called there, at edge points.
    """
    arrays = tuple(x if hasattr(x, "dtype") else jnp.asarray(x) for x in arrays)
    listed = lambda f: lambda *x: jax.tree.leaves(f(*x))
    name, where = name_of(f), jx.definition(f)
    domains = tuple(domains) or (None,) * len(arrays)
    whole = Subject(name, WHOLE, where, 1, listed(flat), listed(automatic(flat)), arrays, domains)
    jaxpr, _ = jx.trace(flat, *arrays)
    asks, found = functools.cache(functools.partial(_asks, jaxpr, arrays)), {}
    beside = functools.cache(lambda: _observed(flat, [_moved(x) for x in arrays], False))
    missing = {replace(site, count=1): site for site in rules(flat, *arrays) if not site.within}
    sharded = {key for key, site in missing.items() if asks()(site).is_sharded}
    for inputs in (arrays, *made_up(whole).values()):
        for seen in _observed(flat, inputs, inputs is arrays):
            key = replace(seen.site, count=1)
            if key in missing and key not in sharded:
                subject = _subject(missing.pop(key), seen, beside, asks, arrays, domains, where)
                if subject.smooth and subject.outputs:
                    known = subject.name, subject.kind, str(subject.value)
                    count = subject.count + (found[known].count if known in found else 0)
                    found[known] = replace(found.get(known, subject), count=count)
        if missing.keys() <= sharded:
            break
    audited = [*found.values()]
    if not (len(audited) == 1 and _is_one_rule(jaxpr)):
        audited = [whole, *audited]
    return Subjects(audited, [(site, SHARDED if key in sharded else ELSEWHERE) for key, site in missing.items()])


def _observed(flat, inputs, are_given) -> list[Observed]:
    try:
        return theirs(observe)(flat, *inputs)
    except Raised:
        if are_given:
            raise
        return []  # f refuses numbers that are made up


def _asks(jaxpr, arrays, place=None):
    """What f asks where it is differentiated in all of its arrays, or in that at a place alone."""
    return asked(jaxpr, arrays, None if place is None else [place])


def _moved(x):
    """An array with other numbers, a little off."""
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        return x
    x, step = np.asarray(x), 2 * float(jnp.finfo(x.dtype).eps) ** 0.5
    return np.asarray(x * (1 + step) + (np.abs(x) < step) * step, x.dtype)


def _still(seen, beside) -> set[int]:
    """The places of a rule's inputs whose values stay as the arguments of f move: that JAX gives them tangents, as it
    does to all that comes out of a `custom_vjp`, says nothing of these."""
    same = lambda other: (other.site, len(other.inputs)) == (seen.site, len(seen.inputs))
    other = next(filter(same, beside()), None)
    pairs = enumerate(zip(seen.inputs, other.inputs, strict=True)) if other else ()
    return {i for i, (a, b) in pairs if _is_plain(a) and np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True)}


def _subject(site, seen, beside, asks, arrays, domains, where) -> Subject:
    """A rule as f asks it: inputs that are constant in f are bound to it."""
    rule = asks()(site)
    ahead = len(rule.numbers) - len(seen.inputs)  # constants that the rule closes over
    numbers = rule.numbers[ahead:]
    inputs = [np.asarray(x) if _is_plain(x) else x for x in seen.inputs]
    moving = {i for i in range(len(inputs)) if i + ahead in rule.moving}
    free = [i for i, x in enumerate(inputs) if i in moving or not jnp.issubdtype(x.dtype, jnp.inexact)]
    first = {n: i for i, n in reversed([*enumerate(numbers)])}
    alike = [first[n] if i in moving else i for i, n in enumerate(numbers)]

    def made(places, **more):
        """With the inputs at places free; others are what those are that enter as the same value, or constant."""
        of = {i: k for k, i in enumerate(places)}
        source = [of.get(i, of.get(alike[i])) for i in range(len(inputs))]
        given = lambda x: [x[k] if k is not None else inputs[i] for i, k in enumerate(source)]
        domain = [domains[numbers[i]] if numbers[i] < len(domains) else None for i in places]
        ways = lambda: {
            frozenset(source[i - ahead] for i in asks(k)(site).moving if i >= ahead) - {None}
            for k in range(min(len(arrays), MOST_WAYS))
            if jnp.issubdtype(arrays[k].dtype, jnp.inexact)
        }
        # Where f itself is the rule no line of the user's calls it.
        called = where if site.where.startswith(os.path.dirname(jx.__file__)) or not site.where else site.where
        return Subject(
            site.name, site.kind, called, site.count,
            lambda *x: seen.hand(*given(x)), lambda *x: seen.automatic(*given(x)),
            tuple(inputs[i] for i in places), tuple(domain), functools.cache(ways), **more,
        )  # fmt: skip

    def total():
        still = _still(seen, beside) & moving
        once = [i for i in free if alike[i] == i and i not in still]
        return made(once, edges=False) if once != free else None

    return made(free, total=functools.cache(total))


def _is_one_rule(jaxpr):
    eqns = jx.opened(jaxpr).eqns
    if len(eqns) != 1:
        return False
    return _is_one_rule(jx.inner_jaxprs(eqns[0])[0]) if eqns[0].primitive.name == "jit" else True


def _is_plain(x):
    return not jnp.issubdtype(x.dtype, jax.dtypes.extended)
