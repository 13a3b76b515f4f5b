"""The forward and the backward pass of a region as functions of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from jaxdl import jaxpr as jx
from jaxdl.tuner.costs import bytes_of
from jaxdl.tuner.products import as_matrices
from jaxdl.tuner.regions import Loop, Region
from jaxdl.tuner.schedules import Schedule


def forward(region: Region, schedule: Schedule, args: Sequence[Any]) -> tuple[list[Any], Any]:
    """The outputs of a region at its inputs, and what its schedule keeps: values, and those of each loop."""
    values = dict(zip(region.inputs, args, strict=True)) | region.constants
    wanted = {v for v in (*region.outputs, *schedule.kept) if jx.is_variable(v)}
    stored: dict[int, Any] = {}
    for i in _needed(region, wanted, schedule.stored):
        _run(region, i, values, schedule, stored)
    y = [jx.value_of(v, values) for v in region.outputs]
    return y, ([values[v] for v in schedule.kept], [stored[i] for i in schedule.stored])


def _needed(region, wanted, loops):
    found = []
    for i in reversed(range(len(region.forward))):
        eqn = region.forward[i]
        if i in loops or eqn.effects or any(v in wanted for v in eqn.outvars):
            wanted.update(v for v in eqn.invars if jx.is_variable(v))
            found.append(i)
    return found[::-1]


def _run(region, i, values, schedule, stored):
    """Runs one forward equation. What a loop keeps goes to `stored`."""
    eqn, loop = region.forward[i], region.loops.get(i)
    if loop is None:
        jx.run([eqn], values)
        return
    inputs = [jx.value_of(v, values) for v in loop.inputs]
    y, stored[i] = _looped(loop, schedule.bodies.get(i, Schedule()), inputs)
    values.update(zip(eqn.outvars, y, strict=True))


def _looped(loop: Loop, schedule: Schedule, inputs: Sequence[Any]):
    scan = loop.scan
    consts, carry, xs = scan.split(inputs)

    def step(carry, xs):
        y, kept = forward(loop.body, schedule, [*consts, *carry, *xs])
        carry, ys = jx.split(y, scan.carry)
        return carry, (ys, kept)

    settings = {"length": scan.length, "reverse": scan.reverse, "unroll": loop.unroll}
    carry, (ys, kept) = jax.lax.scan(step, carry, xs, **settings)
    return [*carry, *ys], kept


def backward(
    region: Region, schedule: Schedule, args: dict[Any, Any], stored: Any, dy: Sequence[Any], *, apart: bool = True
) -> list[Any]:
    """The cotangents of a region's differentiated inputs.

    Args:
        region: The region.
        schedule: Its schedule.
        args: The values of the inputs in `schedule.arguments`.
        stored: What `forward` kept.
        dy: The cotangents of the differentiated outputs.
        apart: Whether the compiler could merge equations that run again with those of the forward pass. It is kept from
            that by barriers, which also make each equation wait for the cotangent that needs it.
    """
    kept, of_loops = stored
    available = dict(zip(schedule.kept, kept, strict=True)) | args | region.constants
    values = available | dict(zip(region.cotangents, dy, strict=True))
    loops_stored = dict(zip(schedule.stored, of_loops, strict=True))
    again = _Again(region, schedule, available, loops_stored, apart)
    index = {loop: i for i, loop in region.loops.items()}
    for eqn, missing in zip(region.backward, schedule.again, strict=False):
        again.run(missing, () if eqn.effects else eqn.invars, values)  # no barrier may have a reference as input
        loop = (jx.stands_for(eqn) or (None,))[0]
        if loop is None:
            jx.run([eqn], values, as_matrices)
            continue
        i, given = index[loop], [jx.value_of(v, values) for v in eqn.invars]
        results = _pulled(loop, schedule.bodies[i], loops_stored[i], values, given)
        values.update(zip(eqn.outvars, results, strict=True))
    again.run(schedule.again[-1], [], values)
    return [jx.value_of(v, values) for v in region.results]


class _Again:
    """The forward equations that the backward pass computes again."""

    def __init__(self, region, schedule, available, stored, apart):
        self.region, self.schedule, self.stored, self.apart = region, schedule, stored, apart
        self.available, self.shadows = available, {}

    def run(self, missing, waiting, values):
        """Computes equations again and adds their outputs to `values`.

        waiting: the inputs of the backward equation that needs them, which become ready first.
        """
        if not missing:
            return
        if self.apart:
            self._set_apart(missing, waiting, values)
        inner = self.available | self.shadows
        for i in missing:
            _run(self.region, i, inner, self.schedule, self.stored)
            new = {v: inner[v] for v in self.region.forward[i].outvars}
            self.shadows.update(new)
            values.update(new)

    def _set_apart(self, missing, waiting, values):
        """Puts barriers before the smallest inputs that make each equation another one than in the forward pass."""
        chosen, apart = {}, set()
        for i in missing:
            inputs = [v for v in self.region.forward[i].invars if jx.is_variable(v)]
            if inputs and apart.isdisjoint(inputs):
                chosen[min(inputs, key=bytes_of)] = None
            apart.update(chosen, self.region.forward[i].outvars)
        inner, early = self.available | self.shadows, self.available.keys() | self.shadows.keys()
        late = dict.fromkeys(v for v in waiting if jx.is_variable(v) and v in values and v not in early)
        barred = jax.lax.optimization_barrier([*(inner[v] for v in chosen), *(values[v] for v in late)])
        self.shadows.update(zip(chosen, barred, strict=False))
        values.update(zip(late, barred[len(chosen) :], strict=True))


def _pulled(loop: Loop, schedule: Schedule, stored: Any, values: dict[Any, Any], dy: Sequence[Any]) -> list[Any]:
    """The cotangents of a scan's differentiated inputs: a scan in the opposite order."""
    scan, body = loop.scan, loop.body
    inputs = {
        v: jx.value_of(outer, values)
        for v, outer in zip(body.inputs, loop.inputs, strict=True)
        if v in schedule.arguments
    }
    consts, _, xs = scan.split(body.inputs)
    fixed = {v: inputs[v] for v in consts if v in inputs}
    scanned = {v: inputs[v] for v in xs if v in inputs}
    of_carry = sum(body.smooth[: scan.carry])
    of_consts, _, _ = scan.split(body.moving)
    d_carry, d_ys = jx.split(dy, of_carry)
    sums = [jx.zeros(v.aval) for v in body.results[: sum(of_consts)]]
    apart = scan.length == 1 or loop.unroll is True or loop.unroll >= scan.length

    def step(carry, xs):
        sums, d_carry = carry
        given, stored, d_ys = xs
        args = fixed | dict(zip(scanned, given, strict=True))
        cotangents = backward(body, schedule, args, stored, [*d_carry, *d_ys], apart=apart)
        d_consts, d_carry, d_xs = jx.split(cotangents, len(sums), of_carry)
        return ([a + b for a, b in zip(sums, d_consts, strict=True)], d_carry), d_xs

    settings = {"length": scan.length, "reverse": not scan.reverse, "unroll": loop.unroll}
    (sums, d_carry), d_xs = jax.lax.scan(step, (sums, d_carry), (list(scanned.values()), stored, d_ys), **settings)
    return [*sums, *d_carry, *d_xs]


jx.hide_from_source_lines(__file__)
