"""The bodies of loops, branches, checkpoints and rules, with the values and cotangents of one step."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl import symbolic_zeros
from jaxdl.graph.node import RULE, Edge, Node


class Body(NamedTuple):
    """The body of a node in one step.

    Attributes:
        jaxpr: The body.
        arrays: Its arguments in this step.
        cotangents: The cotangent of each output, None for an output without one; None if there was no backward pass.
        active: The positions of the arguments that the body is differentiated in.
    """

    jaxpr: Any
    arrays: list[Any]
    cotangents: list[Any] | None = None
    active: tuple[int, ...] = ()


def body_of(node: Node, step: int = 0) -> Body:
    """The body of a loop in a step, of the branch taken, of a checkpoint or of a rule's function."""
    if node.kind == RULE:
        return Body(jx.primal_of(node.equation), _inputs(node), node.adjoints, _active(node))
    if node.name not in _BODIES:
        known = ", ".join(sorted(_BODIES))
        raise ValueError(
            f"{node.label} ({node.name}) is one operation, there is nothing inside; {known} and rules can be opened"
        )
    return _BODIES[node.name](node, _inputs(node), step)


def has_a_step(node: Node) -> bool:
    """Whether the body runs at all: a loop may end before its first step."""
    if node.name == "while":
        loop = jx.while_(node.equation)
        of_test, _, carry = loop.split(_inputs(node))
        return bool(jnp.any(jx.evaluate(loop.test, [*of_test, *carry], lambda eqn: None)[0]))
    return jx.scan_length(node.equation) > 0


def _inputs(node):
    return [e.value if isinstance(e, Edge) else jnp.asarray(e) for e in node.inputs]


def _active(node):
    return tuple(e.place for e in node.edges if e.source in node.graph.active)


def _scan(node, inputs, step):
    loop = jx.scan(node.equation)
    body, length, reverse, consts, carried = loop
    _check_step(node, step, length)
    fixed, carry, rows = loop.split(inputs)
    of_steps = lambda i, j: slice(length - j, length - i) if reverse else slice(i, j)
    cut = lambda xs, i, j: [None if x is None else x[of_steps(i, j)] for x in xs]
    row = lambda xs: [None if x is None else x[0] for x in cut(xs, step, step + 1)]
    one_step = lambda *args: jx.evaluate(body, args, lambda eqn: None)

    def run(count, *args):
        """Runs `count` steps as a scan, like the loop itself."""
        fixed, carry, rows = loop.split(args)
        one = lambda carry, row: (lambda y: (y[:carried], y[carried:]))(one_step(*fixed, *carry, *row))
        ends, made = jax.lax.scan(one, list(carry), list(rows), count, reverse=reverse)
        return [*ends, *made]

    carry = run(step, *fixed, *carry, *cut(rows, 0, step))[:carried]
    at = [*fixed, *carry, *row(rows)]
    if node.adjoints is None:
        return Body(body, at)
    active = _active_in_scan(one_step, body, _active(node), range(consts, consts + carried))
    of_carry, of_rows = node.adjoints[:carried], node.adjoints[carried:]
    rest = functools.partial(run, length - step - 1)
    args = [*fixed, *one_step(*at)[:carried], *cut(rows, step + 1, length)]
    sent = symbolic_zeros.pulled(rest, args, active, [*of_carry, *cut(of_rows, step + 1, length)])
    by_place = dict(zip(active, sent, strict=True))
    return Body(body, at, [*[by_place.get(consts + k) for k in range(carried)], *row(of_rows)], active)


def _active_in_scan(f, body, active, carry):
    """The arguments of the body that are active in any step: a carried value may become active in a later step."""
    types = [v.aval for v in jx.opened(body).invars]
    after = symbolic_zeros.moved(f, types, active)
    new = [i for i, is_active in zip(carry, after, strict=False) if is_active and i not in active]
    return _active_in_scan(f, body, tuple(sorted([*active, *new])), carry) if new else active


def _while(node, inputs, step):
    loop = jx.while_(node.equation)
    test, fixed, carry = loop.split(inputs)
    for i in range(step + 1):
        (going,) = jx.evaluate(loop.test, [*test, *carry], lambda eqn: None)
        if not jnp.any(going):
            _check_step(node, step, i)
        if i < step:
            carry = jx.advanced(going, jx.evaluate(loop.body, [*fixed, *carry], lambda eqn: None), carry)
    return Body(loop.body, [*fixed, *carry])


def _cond(node, inputs, step):
    _check_step(node, step, 1)
    which, *operands = inputs
    return Body(jx.branches(node.equation)[int(which)], operands, node.adjoints, tuple(i - 1 for i in _active(node)))


def _checkpoint(node, inputs, step):
    _check_step(node, step, 1)
    return Body(jx.inner_jaxprs(node.equation)[0], inputs, node.adjoints, _active(node))


def _check_step(node, step, steps):
    if not 0 <= step < steps:
        raise IndexError(f"{node.label} ({node.name}) runs {steps} steps here, there is no step {step}")


_BODIES = {"scan": _scan, "while": _while, "cond": _cond, "checkpoint": _checkpoint}
