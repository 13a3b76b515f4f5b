"""Loops and branches as Python source: the functions that they call, and the call."""

from collections.abc import Callable
from typing import Any

from jaxdl import jaxpr as jx
from jaxdl.graph.codegen.literals import array_text, tuple_of


def _scan(writer, eqn, inputs):
    loop = jx.scan(eqn)
    fixed, carry, rows = loop.split([*map(array_text, inputs)])
    k, m, carried = loop.consts, loop.consts + loop.carry, loop.carry

    def parameters(names):
        unpack = [f"{tuple_of(part)} = {whole}" for part, whole in ((names[k:m], "carry"), (names[m:], "row")) if part]
        return ["carry, row", *unpack], [*fixed, *names[k:]]

    ends = lambda outputs: f"{tuple_of(outputs[:carried])}, {tuple_of(outputs[carried:])}"
    step = writer.function("step", parameters, loop.body, ends)
    names = [writer.fresh() for _ in eqn.outvars]
    left = f"{tuple_of(names[:carried])}, {tuple_of(names[carried:])}"
    writer.lines.append(
        f"{left} = lax.scan({step}, {tuple_of(carry)}, {tuple_of(rows)}, length={loop.length}, reverse={loop.reverse})"
    )
    return names


def _while(writer, eqn, inputs):
    loop = jx.while_(eqn)
    of_test, of_body, start = loop.split([*map(array_text, inputs)])
    carry = lambda fixed: (
        lambda names: (["carry", f"{tuple_of(names[len(fixed) :])} = carry"], [*fixed, *names[len(fixed) :]])
    )
    test = writer.function("test", carry(of_test), loop.test, lambda outputs: outputs[0])
    body = writer.function("body", carry(of_body), loop.body, tuple_of)
    names = [writer.fresh() for _ in eqn.outvars]
    batch = loop.test.out_avals[0].shape
    if batch:  # under vmap, an element is constant once its own test has failed
        runs = f"{test}(carry).reshape({batch} + (1,) * (x.ndim - {len(batch)}))"
        body = f"lambda carry: tuple(jnp.where({runs}, y, x) for x, y in zip(carry, {body}(carry)))"
        test = f"lambda carry: jnp.any({test}(carry))"
    writer.lines.append(f"{tuple_of(names)} = lax.while_loop({test}, {body}, {tuple_of(start)})")
    return names


def _cond(writer, eqn, inputs):
    inputs = [*map(array_text, inputs)]
    branches = [
        writer.function("branch", lambda names: ([", ".join(names)], names), branch, tuple_of)
        for branch in jx.branches(eqn)
    ]
    names = [writer.fresh() for _ in eqn.outvars]
    operands = "".join(f", {x}" for x in inputs[1:])
    writer.lines.append(f"{tuple_of(names)} = lax.switch({inputs[0]}, [{', '.join(branches)}]{operands})")
    return names


CONTROL: dict[str, Callable[..., Any]] = {"scan": _scan, "while": _while, "cond": _cond}
