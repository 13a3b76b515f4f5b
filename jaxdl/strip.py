"""`automatic(f)`: f without its hand-written derivative rules; `rules(f)` lists them."""

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl import symbolic_zeros
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


def rules(f: Callable, /, *args: Any, **kwargs: Any) -> list[Site]:
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

    A primal that JAX cannot differentiate (a while loop of unknown length in reverse mode, a callback, a primitive
    whose own derivative raises) raises TypeError when that derivative is asked for, and the message names the rule to
    keep.
    """
    replacement = _taking_out(chosen(only, keep))

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
    places: Callable

    @property
    def moving(self) -> tuple[int, ...]:
        """The places of the inputs that move with the arguments of the function, so that JAX differentiates in them;
        the others are constants for the rule. Raises what differentiating the function raises."""
        return self.places()


def observe(f: Callable, /, *args: Any, **kwargs: Any) -> list[Observed]:
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
    found = functools.cache(lambda: moving(jaxpr, arrays))
    return [_observed(site, _as_listed(site, listed), found, *seen) for site, seen in first.items()]


def moving(jaxpr, arrays, places=None):
    """For each site the places of its equation's inputs that move with the arguments of a jaxpr, or with those at
    places, as far as JAX lets tangents through."""
    found = defaultdict(set)

    def replacement(eqn):
        site = site_of(eqn)
        if site is None:
            return None
        return lambda *inputs: jx.binding(eqn)(*symbolic_zeros.telling_tangents(inputs, found[site]))

    smooth = [i for i, x in enumerate(arrays) if jnp.issubdtype(x.dtype, jnp.inexact)] if places is None else places
    told = lambda *args: jx.evaluate(jaxpr, args, replacement)
    jax.eval_shape(lambda *args: jax.vjp(jx.in_some(told, args, smooth), *[args[i] for i in smooth])[0], *arrays)
    return found


def _as_listed(site, listed):
    """The site as `rules` lists it: with its count, and a place where the equation itself has none."""
    same = lambda s: s == replace(site, count=s.count, where=site.where or s.where)
    return next(filter(same, listed), site)


def _observed(met, site, moving, eqn, wraps, values):
    """With the constants that a rule closes over, which JAX puts in front of its inputs, bound to it."""
    inputs = [wrap(jnp.asarray(x)) for wrap, x in zip(wraps, values, strict=True)]
    count = jx.rule_constants(eqn)
    constants, inputs = inputs[:count], inputs[count:]
    plain = functools.partial(_evaluated_primal, eqn, site, _taking_out(chosen(None, None)), *constants)
    places = lambda: tuple(sorted(i - count for i in moving()[met] if i >= count))
    return Observed(site, inputs, functools.partial(jx.binding(eqn), *constants), plain, places)


def _wrapping(x):
    """What makes of an array the kind that x is: a random key, or itself."""
    return functools.partial(jax.random.wrap_key_data, impl=jax.random.key_impl(x)) if _is_key(x) else jnp.asarray


def _is_key(x):
    return jnp.issubdtype(jax.typeof(x).dtype, jax.dtypes.prng_key)


def _taking_out(wanted):
    """The replacement, for `jaxpr.evaluate`, that puts primals in place of the rules that are wanted."""

    def replacement(eqn):
        site = site_of(eqn)
        if site is None or not wanted(site):
            return None
        return functools.partial(_evaluated_primal, eqn, site, replacement)

    return replacement


def chosen(only: Choice, keep: Choice) -> Callable[["Site"], bool]:
    """Whether `automatic(f, only=only, keep=keep)` takes the rule of a site out."""
    asked, kept = _predicate(only, True), _predicate(keep, False)
    return lambda site: asked(site) and not kept(site)


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
    name = jx.op_call(eqn).name if kind == "op" else jx.rule_name(eqn)
    shapes = lambda atoms: tuple(jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in atoms)
    gain = jx.op_call(eqn).gain if kind == "op" else ""
    return Site(name, kind, jx.where(eqn), shapes(eqn.invars), shapes(eqn.outvars), within, count, gain)


def _primal(eqn, *args):
    """The jaxpr of a rule's primal; an op's is traced for the arguments, JAX's are traced already."""
    if eqn.primitive is op_p:
        return jx.trace(jx.op_call(eqn).primal, *args)[0]
    return jx.rule_jaxpr(eqn)


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
            for inner in jx.inner_jaxprs(eqn):
                yield from _sites(inner, count * jx.scan_length(eqn), within, jx.where(eqn) or where)


def _evaluated_primal(eqn, site, replacement, *args):
    primal = _primal(eqn, *args)
    forward, backward = _obstacles(primal, replacement)
    args = [obstacle_p.bind(x, site=site, **forward[i])[0] if i in forward else x for i, x in enumerate(args)]
    with jax.named_scope(site.name):
        y = jx.evaluate(primal, args, replacement)
    if backward:
        reason = next(iter(backward.values()))
        y = one_way_p.bind(*y, *[args[i] for i in backward], outputs=len(y), site=site, reason=reason)
    return y


# --- primals that cannot be differentiated ---------------------------------------------------------


class RuleNeeded(TypeError):
    """A derivative is asked for that only a rule gives that was taken out."""


def _obstacles(primal, replacement):
    """The inputs of a primal in which it has no derivative, of first or second order, and those in which it has none
    backward, with the reasons.

    Only primals with an equation that has none itself are suspect; those are tried, with the rules inside them: what
    these hide has obstacles of its own.
    """
    fewest = {_derivatives(eqn) for eqn in _unlike(primal)}
    types = [v.aval for v in jx.opened(primal).invars]
    itself = lambda *args: jx.evaluate(primal, args, lambda eqn: None)
    smooth, forward, backward = _smooth(types), {}, {}
    if 0 in fewest and (_fault(_along, itself, types, smooth) or _fault(_back, itself, types, smooth)):
        faults = {i: _fault(_along, itself, types, [i]) for i in smooth}
        forward = {i: {"order": 1, "reason": reason} for i, reason in faults.items() if reason}
        faults = {i: _fault(_back, itself, types, [i]) for i in smooth if i not in forward}
        backward = {i: reason for i, reason in faults.items() if reason}
    if 1 in fewest:
        plain = lambda *args: jx.evaluate(primal, args, replacement)
        faults = {i: _fault(_along_twice, plain, types, [i]) for i in smooth if i not in forward}
        forward |= {i: {"order": 2, "reason": reason} for i, reason in faults.items() if reason}
    return forward, backward


def _derivatives(eqn) -> int:
    """How many derivatives an equation has: none, one, or two and more."""
    if eqn.primitive.name in ("while", "pure_callback", "io_callback", "ffi_call"):
        return 0
    types = [v.aval for v in eqn.invars]
    moving = _smooth(types)
    if not moving or jx.inner_jaxprs(eqn) or jx.op_call(eqn) is not None:  # the equations inside are asked themselves
        return 2
    try:
        back = jx.trace(functools.partial(_back, jx.binding(eqn), moving), types, [types[i] for i in moving])[0]
    except Exception:  # JAX's, of any kind
        return 0
    return (
        2 if all(jx.has_derivative(e.primitive) for e in jx.equations(back) if _smooth(v.aval for v in e.invars)) else 1
    )


def _unlike(jaxpr):
    """The equations of a jaxpr, however deep, of those alike one."""
    return {jx.likeness(eqn): eqn for eqn in jx.equations(jaxpr)}.values()


def _smooth(types):
    return [i for i, t in enumerate(types) if jnp.issubdtype(t.dtype, jnp.inexact)]


def _along(f, moving, args, moved):
    return jax.jvp(jx.in_some(f, args, moving), moved, moved)


def _along_twice(f, moving, args, moved):
    return jax.jvp(lambda *moved: _along(f, moving, args, moved), moved, moved)


def _back(f, moving, args, moved):
    y, pullback = jax.vjp(jx.in_some(f, args, moving), *moved)
    return pullback(y)


def _fault(derivative, f, types, moving):
    """Why f has no such derivative in its inputs at places `moving`; None where it has one, or a rule in it says so."""
    try:
        jax.eval_shape(functools.partial(derivative, f, moving), types, [types[i] for i in moving])
    except RuleNeeded:
        return None
    except Exception as error:  # JAX's, of any kind: it is told where the derivative is asked for
        return str(error).split("\n")[0] or type(error).__name__
    return None


# The identity, around an input of a primal, that says which rule to keep when a derivative of its order comes by.
obstacle_p = jx.Primitive("jaxdl_obstacle")
# The identity of the first inputs, the outputs of a primal, which have no derivative back to the others.
one_way_p = jx.Primitive("jaxdl_one_way")
back_p = jx.Primitive("jaxdl_back")


def _complain(site, reason):
    place = f", at {site.where}" if site.where else ""
    keep = f"keep={site.name!r}"
    raise RuleNeeded(
        f"automatic: the primal of {site.name} ({site.kind}{place}) cannot be differentiated: "
        f"{reason} Keep its rule with automatic(f, {keep}) or contrast(f, {keep})."
    )


def _obstacle_jvp(x, x_dot, *, site, order, reason):
    if order == 1:
        _complain(site, reason)
    return obstacle_p.bind(*x, site=site, order=order - 1, reason=reason), list(x_dot)


def _one_way_jvp(primals, tangents, *, outputs, site, reason):
    y_dot = tangents[:outputs]
    if not all(jx.is_zero(t) for t in tangents[outputs:]):
        y_dot = back_p.bind(*map(jx.instantiate_zeros, y_dot), site=site, reason=reason)
    return one_way_p.bind(*primals, outputs=outputs, site=site, reason=reason), list(y_dot)


def _back_jvp(tangents, dots, **params):
    return back_p.bind(*tangents, **params), back_p.bind(*map(jx.instantiate_zeros, dots), **params)


_same = {"evaluate": lambda *x, **_: list(x), "typing": lambda *x, **_: list(x)}
jx.define(
    obstacle_p,
    **_same,
    jvp=_obstacle_jvp,
    batch=lambda size, name, x, dims, **params: (obstacle_p.bind(*x, **params), dims),
)
jx.define(
    one_way_p,
    evaluate=lambda *x, outputs, **_: list(x[:outputs]),
    typing=lambda *x, outputs, **_: list(x[:outputs]),
    jvp=_one_way_jvp,
    batch=lambda size, name, x, dims, **params: (one_way_p.bind(*x, **params), dims[: params["outputs"]]),
)
jx.define(
    back_p,
    **_same,
    jvp=_back_jvp,
    batch=lambda size, name, x, dims, **params: (back_p.bind(*x, **params), dims),
    transpose=lambda dy, *x, site, reason: _complain(site, reason),
)

jx.hide_from_source_lines(__file__)
