"""What a box holds: the jaxpr of its body, and the values it works on in one step."""

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.graph.node import RULE, Edge


def body_of(node, step: int = 0):
    """A jaxpr, its arguments, and the cotangents of its outputs, None where they are not known."""
    if node.kind == RULE:
        return jx.primal_of(node.equation), _inputs(node), node.adjoints
    if node.name not in _BODIES:
        known = ", ".join(sorted(_BODIES))
        raise ValueError(
            f"{node.label} ({node.name}) is one operation, there is nothing inside; {known} and rules have"
        )
    return _BODIES[node.name](node, _inputs(node), step)


def makes_a_step(node) -> bool:
    """Whether anything happens in a box: a loop may end before its first step."""
    if node.name == "while":
        p, inputs = node.equation.params, _inputs(node)
        of_test, carry = inputs[: p["cond_nconsts"]], inputs[p["cond_nconsts"] + p["body_nconsts"] :]
        return bool(jx.evaluate(p["cond_jaxpr"], [*of_test, *carry], lambda eqn: None)[0])
    return node.equation.params.get("length", 1) > 0


def _inputs(node):
    return [e.value if isinstance(e, Edge) else jnp.asarray(e) for e in node.inputs]


def _scan(node, inputs, step):
    p = node.equation.params
    body, length, (consts, carried) = p["jaxpr"], p["length"], jx.scan_counts(node.equation)
    _check_step(node, step, length)
    fixed, carry, rows = inputs[:consts], inputs[consts : consts + carried], inputs[consts + carried :]
    row = lambda i, xs: [x[length - 1 - i if p["reverse"] else i] for x in xs]
    at = [[*fixed, *carry, *row(0, rows)]]
    for i in range(step if node.adjoints is None else length - 1):
        carry = jx.evaluate(body, at[-1], lambda eqn: None)[:carried]
        at.append([*fixed, *carry, *row(i + 1, rows)])
    if node.adjoints is None:
        return body, at[step], None
    zeros = [jnp.zeros(t.shape, t.dtype) if a is None else a for t, a in zip(node.types, node.adjoints, strict=True)]
    of_carry, of_rows = zeros[:carried], zeros[carried:]
    for i in range(length - 1, step, -1):
        of_inputs = _pulled(body, at[i], [*of_carry, *row(i, of_rows)])
        of_carry = of_inputs[consts : consts + carried]
    return body, at[step], _smooth_only(body, [*of_carry, *row(step, of_rows)])


def _while(node, inputs, step):
    p = node.equation.params
    of_test, of_body = p["cond_nconsts"], p["body_nconsts"]
    test, fixed, carry = inputs[:of_test], inputs[of_test : of_test + of_body], inputs[of_test + of_body :]
    for i in range(step + 1):
        if not jx.evaluate(p["cond_jaxpr"], [*test, *carry], lambda eqn: None)[0]:
            _check_step(node, step, i)
        if i < step:
            carry = jx.evaluate(p["body_jaxpr"], [*fixed, *carry], lambda eqn: None)
    return p["body_jaxpr"], [*fixed, *carry], None


def _cond(node, inputs, step):
    _check_step(node, step, 1)
    which, *operands = inputs
    return node.equation.params["branches"][int(which)], operands, node.adjoints


def _called(node, inputs, step):
    _check_step(node, step, 1)
    return node.equation.params["jaxpr"], inputs, node.adjoints


def _pulled(body, args, cotangents):
    """The cotangents of a body's arguments, 0 for those that are no floating-point arrays."""
    smooth = [i for i, x in enumerate(args) if jnp.issubdtype(jnp.result_type(x), jnp.inexact)]

    f = jx.in_some(lambda *args: jx.evaluate(body, args, lambda eqn: None), args, smooth)
    sent = [c for c in _smooth_only(body, cotangents) if c is not None]
    pulled = iter(jax.vjp(f, *[args[i] for i in smooth])[1](sent))
    return [next(pulled) if i in smooth else jnp.zeros_like(x) for i, x in enumerate(args)]


def _smooth_only(body, cotangents):
    types = [v.aval for v in jx.opened(body).outvars]
    return [c if jnp.issubdtype(t.dtype, jnp.inexact) else None for t, c in zip(types, cotangents, strict=True)]


def _check_step(node, step, steps):
    if not 0 <= step < steps:
        raise IndexError(f"{node.label} ({node.name}) makes {steps} steps here, there is no step {step}")


_BODIES = {"scan": _scan, "while": _while, "cond": _cond, "checkpoint": _called}
