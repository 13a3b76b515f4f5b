"""In which modes JAX can differentiate a function: forward, reverse, both or none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.pattern.control_flow import CONTROL_FLOW_RULES
from jaxdl.jacobian.analysis.pattern.propagation import DEPENDENCE_RULES

# Primitives that may have one mode only: rules, loops of unknown length, and some of JAX's that lack one or both.
_UNCERTAIN = {
    "call_hi_primitive", "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_vmap_call", "linear_call", "reduce",
    "scatter", "scatter-max", "scatter-min", "scatter-mul", "while",
}  # fmt: skip
_BOTH = (set(DEPENDENCE_RULES) | set(CONTROL_FLOW_RULES)) - _UNCERTAIN


def hindrances(f: Callable[..., Any], eqns: Sequence[Any], types: Sequence[Any]) -> tuple[str, str]:
    """Why f has no forward mode, and why it has no reverse mode; empty where it has.

    Args:
        f: A function (x, *others) to be differentiated in x. It is traced only if its equations leave a doubt.
        eqns: Its equations.
        types: The types of its arguments.
    """
    inside = {name for eqn in eqns for inner in jx.inner_jaxprs(eqn) for name in jx.primitives(inner)}
    if {eqn.primitive.name for eqn in eqns} | inside <= _BOTH:
        return "", ""
    push = lambda x, *others: jax.jvp(lambda x: f(x, *others), (x,), (x,))
    pull = lambda x, *others: (lambda y, pullback: pullback(y))(*jax.vjp(lambda x: f(x, *others), x))
    return hindrance(push, types), hindrance(pull, types)


def hindrance(derivative: Callable[..., Any], types: Sequence[Any]) -> str:
    """The error of JAX, or of a rule, when a derivative is traced; empty if there is none."""
    try:
        jaxpr = jax.make_jaxpr(derivative)(*types)
    except Exception as error:
        if jx.is_spoilt_trace(error):
            raise
        return f"{type(error).__name__}: {error}".split("\n")[0]
    if "custom_lin" in jx.primitives(jaxpr):  # refused only when it is lowered
        return "a custom_vjp has no forward mode"
    return ""


def linearize_with_aux(f: Callable[..., Any], x: Any) -> tuple[Any, Callable[..., Any], Any]:
    """y, v ↦ J v and aux of a function that returns (y, aux), as `jax.linearize(f, x, has_aux=True)`."""
    try:
        return jax.linearize(f, x, has_aux=True)
    except ValueError as error:
        if "Linearization failed" not in str(error):
            raise
    y, aux = f(x)
    return y, jax.tree_util.Partial(lambda v: jax.jvp(f, (x,), (v,), has_aux=True)[1]), aux  # a pytree, as J v of JAX


def value_and_products(f: Callable[..., Any], x: Any, seeds: Any, axis: int = 0) -> tuple[Any, Any, Any]:
    """y, J v for each v of `seeds` along an axis, and aux, of a function that returns (y, aux)."""
    push = lambda v: jax.jvp(f, (x,), (v,), has_aux=True)
    y, products, aux = jax.vmap(push, out_axes=(0, axis, 0))(seeds)
    y, aux = jax.tree.map(lambda a: a[0], (y, aux))  # the same for all, also where JAX batches it
    return y, products, aux


def linearize(f: Callable[..., Any], *x: Any) -> tuple[Any, Callable[..., Any]]:
    """`jax.linearize`; by `jax.jvp` where JAX cannot linearize, as for rules with `optimize_remat`."""
    try:
        return jax.linearize(f, *x)
    except ValueError as error:
        if "Linearization failed" not in str(error):
            raise
    return f(*x), lambda *v: jax.jvp(f, x, v)[1]
