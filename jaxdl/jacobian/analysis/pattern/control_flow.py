"""Dependence through control flow: bodies are followed, loops step by step until nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.pattern.dependence import (
    dependent_on_all,
    groups,
    same,
    stack,
    take,
    through,
    union,
    union_of,
)
from jaxdl.jacobian.analysis.pattern.values import Constant, Propagate, Value

# A longer scan is followed as if each step saw all slices; a while loop that still changes then counts as dense.
MOST_LOOP_STEPS = 1000


def _call(propagate: Propagate, eqn: Any, values: list[Value]) -> list[Value]:
    """jit, checkpoint and the like: the one jaxpr inside."""
    return propagate(jx.inner_jaxprs(eqn)[0], values)


def _cond(propagate: Propagate, eqn: Any, values: list[Value]) -> list[Value]:
    which, *operands = values
    branches = jx.branches(eqn)
    chosen = which.array()
    if chosen is not None:
        return propagate(branches[int(np.clip(chosen, 0, len(branches) - 1))], operands)
    outputs = [propagate(branch, operands) for branch in branches]
    return [Value(parts[0].aval, union_of(v.dependence for v in parts)) for parts in zip(*outputs, strict=True)]


def _scan(propagate: Propagate, eqn: Any, values: list[Value]) -> list[Value]:
    loop = jx.scan(eqn)
    consts, carry, xs = loop.split(values)
    carry = [_carried(v) for v in carry]
    length = loop.length
    if length > MOST_LOOP_STEPS:
        return _long_scan(propagate, eqn, consts, carry, xs)
    order = range(length - 1, -1, -1) if loop.reverse else range(length)
    varies = any(x.dependence is not None or x.constant is not None for x in xs)
    collected = {}
    for step in order:
        out = propagate(loop.body, [*consts, *carry, *(_slice(x, step) for x in xs)])
        after, ys = [_carried(v) for v in out[: len(carry)]], out[len(carry) :]
        collected[step] = ys
        if not varies and all(map(_is_unchanged, carry, after)):
            collected.update((rest, ys) for rest in order if rest not in collected)
            carry = after
            break
        carry = after
    return carry + _stacked(eqn.outvars[len(carry) :], [collected[step] for step in range(length)])


def _slice(x: Value, step: int) -> Value:
    """The slice of a scanned array at a step."""
    inner = x.aval.update(shape=x.shape[1:])
    size = x.size // x.shape[0]

    def compute():
        array = x.array()
        return None if array is None else array[step]

    dependence = take(x.dependence, np.arange(step * size, (step + 1) * size))
    return Value(inner, dependence, x.constant and Constant(compute))


def _carried(value: Value) -> Value:
    """The value, wholly known or not at all, so that steps can be compared.

    A known scalar is computed at once: the constant of a counter would refer to those of all steps before.
    """
    if value.constant is not None and value.size == 1:
        value.array()
    return Value(value.aval, value.dependence, value.constant)


def _is_unchanged(before: Value, after: Value) -> bool:
    if before.constant is None or after.constant is None:
        return before.constant is after.constant and same(before.dependence, after.dependence)
    if before.constant is after.constant:
        return same(before.dependence, after.dependence)
    return np.array_equal(before.array(), after.array())  # type: ignore[arg-type]


def _stacked(variables: Sequence[Any], steps: list[list[Value]]) -> list[Value]:
    """The outputs of a scan from those of its steps."""
    outputs = []
    for i, v in enumerate(variables):
        size = v.aval.size // max(len(steps), 1)
        parts = [ys[i].dependence for ys in steps]
        outputs.append(Value(v.aval, stack(parts, [size] * len(parts)) if parts else None))
    return outputs


def _long_scan(propagate: Propagate, eqn: Any, consts: list[Any], carry: list[Any], xs: list[Any]) -> list[Value]:
    """Each step depends on the union of all slices, and the carry is followed until it is stable."""
    propagate.report(eqn, f"more than {MOST_LOOP_STEPS} steps, followed as one")
    length, body = jx.scan(eqn).length, jx.scan(eqn).body
    slices = []
    for x in xs:
        index = x.positions().reshape(length, -1).T
        whole = through(groups(index, index.shape[0], x.size), x.dependence)
        slices.append(Value(x.aval.update(shape=x.shape[1:]), whole))
    step = lambda carry: propagate(body, [*consts, *carry, *slices])
    carry = _fixed_point(propagate, eqn, step, carry)
    out = step(carry)
    ys = []
    for v, y in zip(eqn.outvars[len(carry) :], out[len(carry) :], strict=True):
        ys.append(Value(v.aval, take(y.dependence, np.tile(np.arange(y.size), length))))
    return carry + ys


def _fixed_point(propagate: Propagate, eqn: Any, step: Callable[..., Any], start: list[Value]) -> list[Value]:
    """The carry of a loop: the union over any number of steps, without known values."""
    carry = [Value(v.aval, v.dependence) for v in start]
    for _ in range(MOST_LOOP_STEPS):
        out = step(carry)
        after = [Value(v.aval, union(v.dependence, o.dependence)) for v, o in zip(carry, out, strict=False)]
        if all(map(_is_unchanged, carry, after)):
            return carry
        carry = after
    propagate.report(eqn, f"not stable after {MOST_LOOP_STEPS} steps")
    return [Value(v.aval, v.dependence and dependent_on_all(v.size, propagate.n)) for v in carry]


def _while(propagate: Propagate, eqn: Any, values: list[Value]) -> list[Value]:
    loop = jx.while_(eqn)
    _, consts, start = loop.split(values)
    return _fixed_point(propagate, eqn, lambda carry: propagate(loop.body, [*consts, *carry]), start)


# Unlike other rules these give whole values: a loop may carry known ones.
CONTROL_FLOW_RULES: dict[str, Callable[[Propagate, Any, list[Value]], list[Value]]] = {
    **dict.fromkeys(jx.CALLS | jx.CHECKPOINTS | {"custom_vmap_call"}, _call),
    "cond": _cond,
    "scan": _scan,
    "while": _while,
}
