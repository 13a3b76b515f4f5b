"""Primals that JAX cannot differentiate: where such a derivative is needed, the error names the rule to keep."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.strip.bits import LOST, lost_in_bits


class RuleNeeded(TypeError):
    """A derivative is needed that only a removed rule gives."""


def find_obstacles(primal: Any, replacement: Any) -> tuple[dict[int, dict[str, Any]], dict[int, str]]:
    """Finds the derivatives that JAX does not have of a primal.

    Only primals with an equation that has no derivative itself are tried. The rules inside them are kept for that: the
    primals of those have obstacles of their own. A derivative of bits, which JAX takes for 0, is missing.

    Returns:
        By the index of the input, the order (first or second) and the reason of a missing derivative; and, by the index
        of the input, the reason of a derivative that is missing in reverse mode only.
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
    forward |= {i: {"order": 1, "reason": LOST} for i in lost_in_bits(primal)}
    return forward, backward


def _derivatives(eqn) -> int:
    """How many derivatives an equation has: none, one, or two and more."""
    if eqn.primitive.name in ("while", "pure_callback", "io_callback", "ffi_call"):
        return 0
    types = [v.aval for v in eqn.invars]
    moving = _smooth(types)
    if not moving or jx.inner_jaxprs(eqn) or jx.op_call(eqn) is not None:  # inner equations are checked by themselves
        return 2
    try:
        back = jx.trace(functools.partial(_back, jx.binding(eqn), moving), types, [types[i] for i in moving])[0]
    except Exception:  # JAX's, of any kind
        return 0
    return (
        2 if all(jx.has_derivative(e.primitive) for e in jx.equations(back) if _smooth(v.aval for v in e.invars)) else 1
    )


def _unlike(jaxpr):
    """The equations of a jaxpr, however deep; of those that do the same, one."""
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
    """Why f has no such derivative in its inputs `moving`; None where it has one, or where an inner rule reports it."""
    try:
        jax.eval_shape(functools.partial(derivative, f, moving), types, [types[i] for i in moving])
    except RuleNeeded:
        return None
    except Exception as error:  # JAX's, of any kind: it is reported where the derivative is needed
        return str(error).split("\n")[0] or type(error).__name__
    return None


# The identity of an input of a primal; differentiated to its order, it raises and names the rule to keep.
obstacle_p: Any = jx.Primitive("jaxdl_obstacle")
# The identity of the first inputs, which are the outputs of a primal. They have no reverse mode to the other inputs.
one_way_p: Any = jx.Primitive("jaxdl_one_way")
back_p: Any = jx.Primitive("jaxdl_back")


def _raise_rule_needed(site, reason):
    place = f", at {site.where}" if site.where else ""
    keep = f"keep={site.name!r}"
    raise RuleNeeded(
        f"automatic: the primal of {site.name} ({site.kind}{place}) cannot be differentiated: "
        f"{reason} Keep its rule with automatic(f, {keep}) or contrast(f, {keep})."
    )


def _obstacle_jvp(x, x_dot, *, site, order, reason):
    if order == 1:
        _raise_rule_needed(site, reason)
    return obstacle_p.bind(*x, site=site, order=order - 1, reason=reason), list(x_dot)


def _one_way_jvp(primals, tangents, *, outputs, site, reason):
    y_dot = tangents[:outputs]
    if not all(jx.is_zero(t) for t in tangents[outputs:]):
        y_dot = back_p.bind(*map(jx.instantiate_zeros, y_dot), site=site, reason=reason)
    return one_way_p.bind(*primals, outputs=outputs, site=site, reason=reason), list(y_dot)


def _back_jvp(tangents, dots, **params):
    return back_p.bind(*tangents, **params), back_p.bind(*map(jx.instantiate_zeros, dots), **params)


def _define_identity(primitive, **meaning):
    """Defines a primitive that returns its inputs, or the first `outputs` of them."""

    def same(*x, outputs=None, **_):
        return list(x[:outputs])

    def batch(size, name, x, dims, **params):
        return primitive.bind(*x, **params), dims[: params.get("outputs")]

    jx.define(primitive, evaluate=same, typing=same, batch=batch, **meaning)


_define_identity(obstacle_p, jvp=_obstacle_jvp)
_define_identity(one_way_p, jvp=_one_way_jvp)
_define_identity(back_p, jvp=_back_jvp, transpose=lambda dy, *x, site, reason: _raise_rule_needed(site, reason))

jx.hide_from_source_lines(__file__)
