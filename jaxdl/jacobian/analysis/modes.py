"""In which directions JAX cannot differentiate a function: forward, reverse, or none."""

import jax

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.pattern.control_flow import CONTROL
from jaxdl.jacobian.analysis.pattern.walk import RULES

# A rule may have one direction only, a loop of unknown length has no reverse, some of JAX's own have one or none.
_DOUBTFUL = {
    "call_hi_primitive", "custom_vjp_call", "custom_vjp_call_jaxpr", "custom_vmap_call", "linear_call", "reduce",
    "scatter", "scatter-max", "scatter-min", "scatter-mul", "while",
}  # fmt: skip
_BOTH = (set(RULES) | set(CONTROL)) - _DOUBTFUL


def hindrances(f, eqns, types) -> tuple[str, str]:
    """Why tangents of f(x, *others) in x cannot be pushed forward, and why cotangents not pulled; empty where they can.

    eqns: those of f. It is traced only where they leave a doubt.
    """
    inside = {name for eqn in eqns for inner in jx.inner_jaxprs(eqn) for name in jx.primitives(inner)}
    if {eqn.primitive.name for eqn in eqns} | inside <= _BOTH:
        return "", ""
    push = lambda x, *others: jax.jvp(lambda x: f(x, *others), (x,), (x,))
    pull = lambda x, *others: (lambda y, pullback: pullback(y))(*jax.vjp(lambda x: f(x, *others), x))
    return hindrance(push, types), hindrance(pull, types)


def hindrance(transformed, types):
    """What JAX, or a rule, says against a transformed function when it is traced; empty where it has a meaning."""
    try:
        jaxpr = jax.make_jaxpr(transformed)(*types)
    except Exception as error:
        if jx.is_spoilt_trace(error):
            raise
        return f"{type(error).__name__}: {error}".split("\n")[0]
    if "custom_lin" in jx.primitives(jaxpr):  # refused only when it is lowered
        return "a custom_vjp has no forward mode"
    return ""


def linearize(f, *x):
    """As `jax.linearize`; by `jax.jvp` where JAX has only that, as for rules with `optimize_remat`."""
    try:
        return jax.linearize(f, *x)
    except ValueError as error:
        if "Linearization failed" not in str(error):
            raise
    return f(*x), lambda *v: jax.jvp(f, x, v)[1]
