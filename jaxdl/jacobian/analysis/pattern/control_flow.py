"""Patterns of control flow: bodies are walked, loops step by step until nothing changes."""

import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.pattern.dependence import everything, groups, same, spread, stack, take, union
from jaxdl.jacobian.analysis.pattern.values import Constant, Value

# A scan of more steps is followed as if all steps saw all slices; a while loop not stable by then counts as dense.
MOST_STEPS = 1000


def _called(walk, eqn, values):
    """jit, checkpoint and their like: the one jaxpr inside."""
    return walk(jx.inner_jaxprs(eqn)[0], values)


def _branches(walk, eqn, values):
    which, *operands = values
    branches = jx.branches(eqn)
    chosen = which.array()
    if chosen is not None:
        return walk(branches[int(np.clip(chosen, 0, len(branches) - 1))], operands)
    outputs = [walk(branch, operands) for branch in branches]
    return [_either(*parts) for parts in zip(*outputs, strict=True)]


def _either(*values):
    whole = None
    for v in values:
        whole = union(whole, v.dependence)
    return Value(values[0].aval, whole)


def _scan(walk, eqn, values):
    loop = jx.scan(eqn)
    consts, start, xs = loop.split(values)
    length = loop.length
    if length > MOST_STEPS:
        return _scan_at_once(walk, eqn, consts, start, xs)
    order = range(length - 1, -1, -1) if loop.reverse else range(length)
    varies = any(x.dependence is not None or x.constant is not None for x in xs)
    carry, collected = start, {}
    for step in order:
        out = walk(loop.body, [*consts, *carry, *(_slice(x, step) for x in xs)])
        after, ys = out[: len(carry)], out[len(carry) :]
        collected[step] = ys
        after = [_settled(v) for v in after]
        if not varies and all(map(_unchanged, carry, after)):
            collected.update((rest, ys) for rest in order if rest not in collected)
            break
        carry = after
    carry = after if length else carry
    return carry + _stacked(eqn, len(carry), [collected[step] for step in range(length)])


def _slice(x, step):
    """What step number `step` sees of a scanned array."""
    inner = x.aval.update(shape=x.shape[1:])
    size = x.size // x.shape[0]
    constant = x.constant and Constant(lambda: None if x.array() is None else x.array()[step])
    return Value(inner, take(x.dependence, np.arange(step * size, (step + 1) * size)), constant)


def _settled(value):
    """Known scalars are computed at once, so that a counter does not remember all of its steps."""
    if value.constant is not None and value.size == 1:
        value.array()
    return value


def _unchanged(before, after):
    if (before.constant is None) != (after.constant is None):
        return False
    if before.constant is not None and before.constant is not after.constant:
        return np.array_equal(before.array(), after.array())
    return same(before.dependence, after.dependence)


def _stacked(eqn, carried, steps):
    outputs = []
    for i, v in enumerate(eqn.outvars[carried:]):
        size = v.aval.size // max(len(steps), 1)
        parts = [ys[i].dependence for ys in steps]
        outputs.append(Value(v.aval, stack(parts, [size] * len(parts)) if parts else None))
    return outputs


def _scan_at_once(walk, eqn, consts, carry, xs):
    """A long scan: every step sees the union of all slices, and the carry is followed until it is stable."""
    walk.report(eqn, f"more than {MOST_STEPS} steps, followed as one")
    length, body = jx.scan(eqn).length, jx.scan(eqn).body
    seen = []
    for x in xs:
        index = x.index().reshape(length, -1).T
        whole = spread(groups(index, index.shape[0], x.size), x.dependence)
        seen.append(Value(x.aval.update(shape=x.shape[1:]), whole))
    step = lambda carry: walk(body, [*consts, *carry, *seen])
    carry = _fixpoint(walk, eqn, step, carry)
    out = step(carry)
    ys = []
    for v, y in zip(eqn.outvars[len(carry) :], out[len(carry) :], strict=True):
        ys.append(Value(v.aval, take(y.dependence, np.tile(np.arange(y.size), length))))
    return carry + ys


def _fixpoint(walk, eqn, step, start):
    """The union of what a loop carries after any number of steps; nothing of it is known by value."""
    carry = [Value(v.aval, v.dependence) for v in start]
    for _ in range(MOST_STEPS):
        out = step(carry)
        after = [Value(v.aval, union(v.dependence, o.dependence)) for v, o in zip(carry, out, strict=False)]
        if all(map(_unchanged, carry, after)):
            return carry
        carry = after
    walk.report(eqn, f"not stable after {MOST_STEPS} steps")
    return [Value(v.aval, v.dependence and everything(v.size, walk.n)) for v in carry]


def _while(walk, eqn, values):
    loop = jx.while_(eqn)
    _, consts, start = loop.split(values)
    step = lambda carry: walk(loop.body, [*consts, *carry])
    return _fixpoint(walk, eqn, step, start)


CONTROL = {
    **dict.fromkeys(jx.CALLS | jx.CHECKPOINTS | {"custom_vmap_call"}, _called),
    "cond": _branches,
    "scan": _scan,
    "while": _while,
}
