"""What a box holds: the jaxpr of its body, and the values it works on in one step."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl import symbolic_zeros
from jaxdl.graph.node import RULE, Edge


class Body(NamedTuple):
    """A jaxpr, its arguments, and where they are known the cotangents of its outputs, None for those from which nothing
    flows; moving: the places of the arguments that are differentiated in."""

    jaxpr: Any
    arrays: list
    cotangents: list | None = None
    moving: tuple[int, ...] = ()


def body_of(node, step: int = 0) -> Body:
    if node.kind == RULE:
        return Body(jx.primal_of(node.equation), _inputs(node), node.adjoints, _moving(node))
    if node.name not in _BODIES:
        known = ", ".join(sorted(_BODIES))
        raise ValueError(
            f"{node.label} ({node.name}) is one operation, there is nothing inside; {known} and rules have"
        )
    return _BODIES[node.name](node, _inputs(node), step)


def makes_a_step(node) -> bool:
    """Whether anything happens in a box: a loop may end before its first step."""
    if node.name == "while":
        loop = jx.while_(node.equation)
        of_test, _, carry = loop.split(_inputs(node))
        return bool(jnp.any(jx.evaluate(loop.test, [*of_test, *carry], lambda eqn: None)[0]))
    return jx.scan_length(node.equation) > 0


def _inputs(node):
    return [e.value if isinstance(e, Edge) else jnp.asarray(e) for e in node.inputs]


def _moving(node):
    return tuple(e.place for e in node.edges if e.source in node.graph.moving)


def _scan(node, inputs, step):
    loop = jx.scan(node.equation)
    body, length, reverse, consts, carried = loop
    _check_step(node, step, length)
    fixed, carry, rows = loop.split(inputs)
    of_steps = lambda i, j: slice(length - j, length - i) if reverse else slice(i, j)
    cut = lambda xs, i, j: [None if x is None else x[of_steps(i, j)] for x in xs]
    row = lambda xs: [None if x is None else x[0] for x in cut(xs, step, step + 1)]
    one_step = lambda *args: jx.evaluate(body, args, lambda eqn: None)

    def steps(count, *args):
        """As the loop itself does them."""
        fixed, carry, rows = loop.split(args)
        one = lambda carry, row: (lambda y: (y[:carried], y[carried:]))(one_step(*fixed, *carry, *row))
        ends, made = jax.lax.scan(one, list(carry), list(rows), count, reverse=reverse)
        return [*ends, *made]

    carry = steps(step, *fixed, *carry, *cut(rows, 0, step))[:carried]
    at = [*fixed, *carry, *row(rows)]
    if node.adjoints is None:
        return Body(body, at)
    moving = _moving_in_scan(one_step, body, _moving(node), range(consts, consts + carried))
    of_carry, of_rows = node.adjoints[:carried], node.adjoints[carried:]
    rest = functools.partial(steps, length - step - 1)
    args = [*fixed, *one_step(*at)[:carried], *cut(rows, step + 1, length)]
    sent = symbolic_zeros.pulled(rest, args, moving, [*of_carry, *cut(of_rows, step + 1, length)])
    by_place = dict(zip(moving, sent, strict=True))
    return Body(body, at, [*[by_place.get(consts + k) for k in range(carried)], *row(of_rows)], moving)


def _moving_in_scan(f, body, moving, carry):
    """The arguments of the body that move in any step: what is carried may begin to in a later one."""
    types = [v.aval for v in jx.opened(body).invars]
    moves = symbolic_zeros.moved(f, types, moving)
    started = [i for i, moved in zip(carry, moves, strict=False) if moved and i not in moving]
    return _moving_in_scan(f, body, tuple(sorted([*moving, *started])), carry) if started else moving


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
    return Body(jx.branches(node.equation)[int(which)], operands, node.adjoints, tuple(i - 1 for i in _moving(node)))


def _called(node, inputs, step):
    _check_step(node, step, 1)
    return Body(jx.inner_jaxprs(node.equation)[0], inputs, node.adjoints, _moving(node))


def _check_step(node, step, steps):
    if not 0 <= step < steps:
        raise IndexError(f"{node.label} ({node.name}) makes {steps} steps here, there is no step {step}")


_BODIES = {"scan": _scan, "while": _while, "cond": _cond, "checkpoint": _called}
