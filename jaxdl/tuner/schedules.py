"""What a choice of kept values means: which equations each backward pass computes again, its bytes and its time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from jaxdl import jaxpr as jx
from jaxdl.tuner.costs import bytes_of, machine
from jaxdl.tuner.regions import Loop, Region


@dataclass(frozen=True)
class Choice:
    """What is kept from the forward to the backward pass.

    Attributes:
        kept: Variables of all regions.
        again: The loops that the backward pass runs forward again. What is kept inside them lives only there.
    """

    kept: frozenset[Any]
    again: frozenset[Loop] = frozenset()


@dataclass
class Schedule:
    """The backward pass of one region.

    Attributes:
        kept: The values that it reads from the forward pass.
        arguments: The inputs of the region that it reads.
        again: For each backward equation, and then for the results, the forward equations to compute before it.
        stored: The loops whose own kept values come from the forward pass, by their index.
        bodies: The schedules of all loops that are pulled back, by their index.
        repeated: The forward equations that are computed twice.
    """

    kept: list[Any] = field(default_factory=list)
    arguments: set[Any] = field(default_factory=set)
    again: list[list[int]] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    bodies: dict[int, Schedule] = field(default_factory=dict)
    repeated: set[int] = field(default_factory=set)


def scheduled(region: Region, choice: Choice) -> Schedule:
    """The backward pass that a choice leads to. Values that it does not ask for are not kept."""
    schedule = Schedule()
    made = {v: i for i, eqn in enumerate(region.forward) for v in eqn.outvars}
    carry, inputs = set(region.carry), set(region.inputs)
    index = {loop: i for i, loop in region.loops.items()}
    seen: set[Any] = set()

    def missing(wanted: Iterable[Any], loops: Iterable[int] = ()) -> list[int]:
        found, waiting = set(loops), [v for i in loops for v in region.forward[i].invars]
        waiting += wanted
        while waiting:
            v = waiting.pop()
            if not jx.is_variable(v) or v in seen:
                continue
            seen.add(v)
            if v in choice.kept or v in carry:
                schedule.kept.append(v)
            elif v in inputs:
                schedule.arguments.add(v)
            elif v in made and made[v] not in schedule.repeated | found:
                found.add(made[v])
                waiting += region.forward[made[v]].invars
        schedule.repeated |= found
        return sorted(found)

    for eqn in region.backward:
        loop = (jx.stands_for(eqn) or (None,))[0]
        if loop is None:
            schedule.again.append(missing(eqn.invars))
            continue
        i = index[loop]
        schedule.bodies[i] = body = scheduled(loop.body, choice)
        read = [outer for outer, v in zip(loop.inputs, loop.body.inputs, strict=True) if v in body.arguments]
        runs = [i] if loop in choice.again and i not in schedule.repeated else []
        schedule.again.append(missing([*read, *eqn.invars], runs))
        if loop not in choice.again:
            schedule.stored.append(i)
    schedule.again.append(missing(region.results))
    schedule.kept.sort(key={v: k for k, v in enumerate(region.values)}.__getitem__)
    return schedule


def kept_bytes(region: Region, schedule: Schedule) -> int:
    """The bytes that a schedule keeps from the forward to the backward pass."""
    inside = (
        region.loops[i].scan.length * kept_bytes(region.loops[i].body, schedule.bodies[i]) for i in schedule.stored
    )
    return sum(map(bytes_of, schedule.kept)) + sum(inside)


def repeated_seconds(region: Region, schedule: Schedule) -> float:
    """The estimated time of the equations that both passes compute."""
    own = sum(seconds for i, seconds in first_time_seconds(region).items() if i in schedule.repeated)
    loops = ((region.loops[i], body) for i, body in schedule.bodies.items())
    return own + sum(loop.scan.length * repeated_seconds(loop.body, body) for loop, body in loops)


def first_time_seconds(region: Region) -> dict[int, float]:
    """What it costs to compute each forward equation again: nothing if the forward pass does not need it.

    Such an equation, like the cosine of a sine's derivative, runs once, in whichever pass reads it.
    """
    if not region.seconds:
        needed = {v for v in region.outputs if jx.is_variable(v)}
        for i, eqn in reversed(list(enumerate(region.forward))):
            if any(v in needed for v in eqn.outvars):
                needed.update(v for v in eqn.invars if jx.is_variable(v))
                region.seconds[i] = seconds_of(region, i)
            else:
                region.seconds[i] = 0.0
    return region.seconds


def seconds_of(region: Region, i: int) -> float:
    """The estimated time of a forward equation."""
    loop = region.loops.get(i)
    if loop is None:
        return machine().seconds(region.forward[i])
    return loop.scan.length * sum(first_time_seconds(loop.body).values())
