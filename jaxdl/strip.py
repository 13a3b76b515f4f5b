"""`automatic(f)`: f without its hand-written derivative rules; `rules(f)` lists them."""

import functools
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad

from jaxdl import jaxpr as jx
from jaxdl.rule import op_p

Choice = str | Iterable[str] | Callable[["Site"], bool] | None


@dataclass(frozen=True)
class Site:
    """A place in a traced function where a hand-written rule is called.

    kind is "op" (jaxdl), "custom_jvp" or "custom_vjp" (JAX). `count` is how often one call of the
    function calls it there: a scan's body counts once for each step, a while loop's body once.
    `within` names the rules whose primal it stands in, outermost first; `gain` is what an op's rule says
    that it does better.
    """

    name: str
    kind: str
    where: str
    inputs: tuple
    outputs: tuple
    within: tuple = ()
    count: int = 1
    gain: str = ""

    def __str__(self):
        types = lambda avals: ", ".join(map(jx.typed, avals))
        inside = f" within {' > '.join(self.within)}" if self.within else ""
        return (
            f"{self.name} ({self.kind}){inside} ×{self.count} at {self.where}: "
            f"{types(self.inputs)} → {types(self.outputs)}"
        )


def rules(f: Callable, *args: Any, **kwargs: Any) -> list[Site]:
    """The hand-written derivative rules that f calls on these arguments, in the order of the trace.

    Arguments may be abstract (`jax.ShapeDtypeStruct`). Rules inside jit, scan, while, cond, switch,
    checkpoint, vmap, shard_map and inside the primals of other rules are found. Equal sites are one,
    with their counts added.
    """
    jaxpr, *_ = jx.trace_arrays(f, args, kwargs)
    counted = Counter()
    for site in _sites(jaxpr, 1, (), jx.definition(f)):
        counted[replace(site, count=1)] += site.count
    return [replace(site, count=n) for site, n in counted.items()]


def automatic(f: Callable, *, only: Choice = None, keep: Choice = None) -> Callable:
    """f with its hand-written derivative rules taken out, so that JAX differentiates the primals.

    Takes out jaxdl's ops, `jax.custom_jvp` and `jax.custom_vjp`, of any library, inside jit, scan,
    while, cond, switch, checkpoint, vmap, shard_map and other rules. `only` and `keep` narrow it:
    a name, names, or a predicate on the `Site`. The value of f is that of its primals. Composes with
    every JAX transformation, and costs nothing at run time once jitted.

    A primal that JAX cannot differentiate (a while loop of unknown length in reverse mode, a callback)
    raises TypeError when the derivative is asked for, and the message names the rule to keep.
    """
    chosen, kept = _predicate(only, True), _predicate(keep, False)
    replacement = _taking_out(lambda site: chosen(site) and not kept(site))

    @functools.wraps(f)
    def without_rules(*args, **kwargs):
        jaxpr, result, arrays = jx.trace_arrays(f, args, kwargs)
        return jax.tree.unflatten(result, jx.evaluate(jaxpr, arrays, replacement))

    return without_rules


@dataclass(frozen=True)
class Observed:
    """A site with the values it was first called with, and its function with each of its derivatives.

    `hand` and `automatic` take the inputs and return the list of outputs.
    """

    site: Site
    inputs: list
    hand: Callable
    automatic: Callable


def observe(f: Callable, *args: Any, **kwargs: Any) -> list[Observed]:
    """Runs f once and gives every rule site with the values it sees, also in scan, cond and while.

    Rules inside the primals of other rules, inside shard_map and in branches not taken are left out.
    """
    jaxpr, _, arrays = jx.trace_arrays(f, args, kwargs)
    listed = rules(f, *args, **kwargs)
    first = {}

    def replacement(eqn):
        site = site_of(eqn)
        if site is None:
            return None

        def watched(*inputs):
            raw = [jax.random.key_data(x) if _is_key(x) else x for x in inputs]
            wraps = [_wrapping(x) for x in inputs]
            jax.debug.callback(lambda *values: first.setdefault(site, (eqn, wraps, values)), *raw)
            return jx.binding(eqn)(*inputs)

        return watched

    jax.block_until_ready(jx.evaluate(jaxpr, arrays, replacement))
    jax.effects_barrier()
    return [_observed(_as_listed(site, listed), *seen) for site, seen in first.items()]


def _as_listed(site, listed):
    """The site as `rules` lists it: with its count, and a place where the equation itself has none."""
    same = lambda s: s == replace(site, count=s.count, where=site.where or s.where)
    return next(filter(same, listed), site)


def _observed(site, eqn, wraps, values):
    """With the constants that a rule closes over, which JAX puts in front of its inputs, bound to it."""
    inputs = [wrap(jax.numpy.asarray(x)) for wrap, x in zip(wraps, values, strict=True)]
    constants, inputs = inputs[: eqn.params.get("num_consts", 0)], inputs[eqn.params.get("num_consts", 0) :]
    plain = functools.partial(_evaluated_primal, eqn, site, _every_rule, *constants)
    return Observed(site, inputs, functools.partial(jx.binding(eqn), *constants), plain)


def _wrapping(x):
    """What makes of an array the kind that x is: a random key, or itself."""
    return functools.partial(jax.random.wrap_key_data, impl=jax.random.key_impl(x)) if _is_key(x) else jax.numpy.asarray


def _is_key(x):
    return jax.numpy.issubdtype(jax.typeof(x).dtype, jax.dtypes.prng_key)


def _taking_out(wanted):
    """The replacement, for `jaxpr.evaluate`, that puts primals in place of the rules that are wanted."""

    def replacement(eqn):
        site = site_of(eqn)
        if site is None or not wanted(site):
            return None
        return functools.partial(_evaluated_primal, eqn, site, replacement)

    return replacement


_every_rule = _taking_out(lambda site: True)


def _predicate(choice, default):
    if choice is None:
        return lambda site: default
    if callable(choice):
        return choice
    names = {choice} if isinstance(choice, str) else set(choice)
    return lambda site: site.name in names


_KINDS = {
    op_p.name: "op",
    "custom_jvp_call": "custom_jvp",
    "custom_vjp_call": "custom_vjp",
    "custom_vjp_call_jaxpr": "custom_vjp",
}


def site_of(eqn, count: int = 1, within: tuple = ()) -> Site | None:
    """The site that an equation is; None where it calls no hand-written rule."""
    if eqn.primitive.name not in _KINDS:
        return None
    kind = _KINDS[eqn.primitive.name]
    name = eqn.params["call"].name if kind == "op" else jx.function_name(eqn.params["call_jaxpr"])
    shapes = lambda atoms: tuple(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in atoms)
    gain = eqn.params["call"].gain if kind == "op" else ""
    return Site(name, kind, jx.where(eqn), shapes(eqn.invars), shapes(eqn.outvars), within, count, gain)


def _primal(eqn, *args):
    """The jaxpr of a rule's primal; an op's is traced for the arguments, JAX's are traced already."""
    if eqn.primitive is op_p:
        return jx.trace(eqn.params["call"].primal, *args)[0]
    return eqn.params["call_jaxpr"]


def _sites(jaxpr, count, within, where):
    """The sites in a jaxpr; `where` stands in for those that JAX traced without a line of the user's."""
    for eqn in jx.opened(jaxpr).eqns:
        site = site_of(eqn, count, within)
        if site:
            site = site if site.where else replace(site, where=where)
            yield site
            types = [v.aval for v in eqn.invars]
            yield from _sites(_primal(eqn, *types), count, (*within, site.name), site.where)
        else:
            times = eqn.params["length"] if eqn.primitive.name == "scan" else 1
            for inner in jx.inner_jaxprs(eqn):
                yield from _sites(inner, count * times, within, jx.where(eqn) or where)


def _evaluated_primal(eqn, site, replacement, *args):
    primal = _primal(eqn, *args)
    obstacle = _obstacle(primal, replacement)
    if obstacle and not obstacle["reverse_only"]:
        args = obstacle_p.bind(*args, site=site, **obstacle)
    with jax.named_scope(site.name):
        y = jx.evaluate(primal, args, replacement)
    return obstacle_p.bind(*y, site=site, **obstacle) if obstacle else y


# --- primals that cannot be differentiated ---------------------------------------------------------


def _is_suspect(eqn):
    if eqn.primitive.name in ("while", "pure_callback", "io_callback", "ffi_call"):
        return True
    moving = any(jax.numpy.issubdtype(v.aval.dtype, jax.numpy.inexact) for v in eqn.invars)
    return moving and not jx.has_derivative(eqn.primitive)


def _obstacle(primal, replacement):
    """What stands in the way of differentiating a primal: None, or the parameters of `obstacle_p`.

    Only primals with a while loop or a primitive without derivative are suspect; those are tried.
    """
    if not any(map(_is_suspect, jx.equations(primal))):
        return None
    types = [v.aval for v in jx.opened(primal).invars]
    smooth = [i for i, t in enumerate(types) if jax.numpy.issubdtype(t.dtype, jax.numpy.inexact)]
    plain = lambda *args: jx.evaluate(primal, args, replacement)
    in_smooth = lambda args, *moving: jx.in_some(plain, args, smooth)(*moving)
    moving = [types[i] for i in smooth]
    attempts = {
        False: lambda args, moving: jax.jvp(functools.partial(in_smooth, args), moving, moving),
        True: lambda args, moving: (lambda y, pull: pull(y))(*jax.vjp(functools.partial(in_smooth, args), *moving)),
    }
    for reverse_only, attempt in attempts.items():
        try:
            jax.eval_shape(attempt, types, moving)
        except Exception as error:
            return {"reverse_only": reverse_only, "reason": str(error).split("\n")[0]}
    return None


# The identity, around a primal, that says which rule to keep when a derivative comes by.
obstacle_p = Primitive("jaxdl_obstacle")


def _complain(site, reason):
    place = f", at {site.where}" if site.where else ""
    raise TypeError(
        f"automatic: the primal of {site.name} ({site.kind}{place}) cannot be differentiated: "
        f"{reason} Keep its rule with automatic(f, keep={site.name!r})."
    )


def _obstacle_jvp(primals, tangents, *, site, reverse_only, reason):
    if not reverse_only:
        _complain(site, reason)
    bind = functools.partial(obstacle_p.bind, site=site, reverse_only=reverse_only, reason=reason)
    return bind(*primals), bind(*map(ad.instantiate_zeros, tangents))


jx.define(
    obstacle_p,
    evaluate=lambda *x, **_: list(x),
    typing=lambda *x, **_: list(x),
    jvp=_obstacle_jvp,
    batch=lambda size, name, x, dims, **params: (obstacle_p.bind(*x, **params), dims),
    transpose=lambda dy, *x, site, reason, **_: _complain(site, reason),
)

jx.hide_from_source_lines(__file__)
