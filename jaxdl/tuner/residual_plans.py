"""The plan of which values a backward pass keeps: as a report, and as plain data that another process can apply."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from jaxdl import jaxpr as jx
from jaxdl.report import Report, Table, bytes_text, seconds_text
from jaxdl.tuner.costs import bytes_of
from jaxdl.tuner.regions import Region
from jaxdl.tuner.schedules import Choice, Schedule, first_time_seconds

FORM = {"through_checkpoints", "segmented"}
DAMAGED = "rematerialized: the plan is damaged: it does not say which values are kept; make a new plan"


@dataclass(frozen=True)
class PlannedValue:
    """A value of the forward pass that the backward pass has.

    Attributes:
        primitive: The operation that makes it; "carry" for what a step of a scan starts from.
        type: Its type.
        where: The line of source that makes it.
        steps: How many of it there are: the number of steps of the scans around it.
        bytes: The bytes of all of them.
        kept: Whether it is kept, rather than computed again.
        seconds: The estimated time to compute it again, in all steps.
    """

    primitive: str
    type: str
    where: str
    steps: int
    bytes: int
    kept: bool
    seconds: float


@dataclass(frozen=True)
class ResidualPlan(Report):
    """Which values a function keeps for its backward pass, and which it computes again.

    Attributes:
        kept_bytes: The bytes kept, without arguments of the function.
        automatic_bytes: The bytes that JAX's derivative keeps.
        max_bytes: The budget, if there is one.
        extra_seconds: The estimated time of what is computed again.
        values: The values that the backward pass has.
        decisions: The choice as plain data; see `decisions_of`.
    """

    kept_bytes: int
    automatic_bytes: int
    max_bytes: int | None
    extra_seconds: float
    values: tuple[PlannedValue, ...]
    decisions: dict[str, Any]

    def table(self) -> Table:
        """One row for each value that is kept, and for each that takes time to compute again, the largest first."""
        telling = (v for v in self.values if v.kept or v.seconds)
        order = sorted(telling, key=lambda v: (not v.kept, -v.bytes))
        rows = [
            (
                v.primitive,
                v.where,
                "kept" if v.kept else "computed again",
                v.type,
                str(v.steps),
                bytes_text(v.bytes),
                seconds_text(v.seconds),
            )
            for v in order
        ]
        columns = ("value", "where", "choice", "type", "steps", "bytes", "time to compute again")
        budget = "" if self.max_bytes is None else f" The budget is {bytes_text(self.max_bytes)}."
        note = (
            f"Kept: {bytes_text(self.kept_bytes)}; JAX's derivative keeps {bytes_text(self.automatic_bytes)}.{budget} "
            f"What is computed again takes an estimated {seconds_text(self.extra_seconds)}."
        )
        return Table("What the backward pass keeps of the forward pass", columns, rows, note, words=3)

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data."""
        names = "kept_bytes", "automatic_bytes", "max_bytes", "extra_seconds", "decisions"
        return {name: getattr(self, name) for name in names} | {"values": [vars(v) for v in self.values]}


def planned_values(region: Region, schedule: Schedule, steps: int = 1, stored: bool = True) -> list[PlannedValue]:
    """The values that the backward pass of a region has."""
    seconds = first_time_seconds(region)
    makers = {v: (i, eqn) for i, eqn in enumerate(region.forward) for v in eqn.outvars}
    found = []

    def add(v, kept):
        i, eqn = makers.get(v, (-1, None))
        found.append(
            PlannedValue(
                primitive="carry" if eqn is None else "scan" if i in region.loops else eqn.primitive.name,
                type=jx.typed(v.aval),
                where="" if eqn is None else jx.where(eqn),
                steps=steps,
                bytes=steps * bytes_of(v),
                kept=kept,
                seconds=steps * seconds.get(i, 0.0),
            )
        )

    for v in schedule.kept:
        add(v, stored)
    for i in sorted(schedule.repeated):
        add(max(region.forward[i].outvars, key=bytes_of), False)
    for i, body in schedule.bodies.items():
        loop = region.loops[i]
        found += planned_values(loop.body, body, steps * loop.scan.length, stored and i in schedule.stored)
    return found


def decisions_of(region: Region, choice: Choice) -> dict[str, Any]:
    """A choice as plain data: for each region the indices of its kept values and of the loops that run again."""
    regions = [
        {
            "kept": [i for i, v in enumerate(part.values) if v in choice.kept],
            "again": [i for i, loop in part.loops.items() if loop in choice.again],
        }
        for part in region.all()
    ]
    return {"program": fingerprint(region), "form": region.form, "regions": regions}


def choice_of(region: Region, decisions: dict[str, Any]) -> Choice:
    """The choice that `decisions_of` wrote.

    Raises:
        ValueError: It was made for another program, or is damaged.
    """
    if decisions["program"] != fingerprint(region):
        raise ValueError(
            "rematerialized: the plan is of another program: other code, shapes, dtypes or version of JAX; "
            "make a new plan"
        )
    kept, again = set(), set()
    try:
        for part, chosen in zip(region.all(), decisions["regions"], strict=True):
            kept.update(part.values[i] for i in chosen["kept"])
            again.update(part.loops[i] for i in chosen["again"])
    except (IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(DAMAGED) from error
    return Choice(frozenset(kept), frozenset(again))


def form_of(decisions: Any) -> dict[str, bool]:
    """The settings of `region_of` in decisions.

    Raises:
        ValueError: They are not what `decisions_of` writes.
    """
    names = {"program", "form", "regions"}
    if not isinstance(decisions, dict) or not names <= decisions.keys() or set(decisions["form"]) != FORM:
        raise ValueError(DAMAGED)
    return decisions["form"]


def fingerprint(region: Region) -> str:
    """A key of a program that is the same in every process: its primitives, types, and which equation reads what."""
    digest = hashlib.sha256()
    for part in region.all():
        numbers: dict[Any, int] = {}
        name = lambda v, numbers=numbers: numbers.setdefault(v, len(numbers)) if jx.is_variable(v) else "literal"
        inputs = [*part.inputs, *part.cotangents, *part.constants]
        digest.update(repr([(name(v), v.aval.str_short()) for v in inputs]).encode())
        for eqn in (*part.forward, *part.backward):
            outputs = [(name(v), v.aval.str_short()) for v in eqn.outvars]
            digest.update(repr((eqn.primitive.name, list(map(name, eqn.invars)), outputs)).encode())
        digest.update(repr([*map(name, part.outputs), *map(name, part.results)]).encode())
    return digest.hexdigest()[:32]
