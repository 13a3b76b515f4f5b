"""What each method would cost for one Jacobian, and which is the fastest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from jaxdl.report import Report, Table, bytes_text, count_text, figure, seconds_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JSON_FIELDS = "method", "sweeps", "flops", "bytes", "temporary", "predicted", "measured", "refused"


def _refuse(*args):
    raise ValueError("jacobian.plan: a method that was refused has no program")


@dataclass(frozen=True, eq=False)
class Way:
    """A method for one Jacobian, and its cost.

    Attributes:
        method: The method's name.
        sweeps: Its sweeps, in words.
        flops: The floating-point operations of the compiled program.
        bytes: The bytes that the compiled program accesses.
        temporary: Its temporary memory in bytes, without arguments and result.
        predicted: The predicted time in seconds.
        measured: The measured time in seconds; None if no other method came close.
        refused: Why the method cannot be used, else empty.
        run: The Jacobian as a function of vectors, for `best`.
        program: The same, jitted.
        compiled: The same, compiled.
    """

    method: str
    sweeps: str = ""
    flops: float = math.nan
    bytes: float = math.nan
    temporary: float = math.nan
    predicted: float = math.inf
    measured: float | None = None
    refused: str = ""
    run: Callable[..., Any] = _refuse
    program: Any = _refuse
    compiled: Callable[..., Any] = _refuse

    @property
    def seconds(self) -> float:
        """The measured time, or else the predicted one."""
        return self.predicted if self.measured is None else self.measured


@dataclass(frozen=True)
class JacobianPlan(Report):
    """The methods for one Jacobian, the fastest first; printed, a table that says why.

    Attributes:
        m: The number of rows.
        n: The number of columns.
        ways: The methods with their costs. Those that cannot be used are last.
    """

    m: int
    n: int
    ways: tuple[Way, ...]

    @classmethod
    def of(cls, m: int, n: int, ways: Iterable[Way]) -> JacobianPlan:
        """Sorts the methods, measured ones first.

        Raises:
            ValueError: If no method can be used; with the reasons.
        """
        ordered = sorted(ways, key=lambda way: (bool(way.refused), way.measured is None, way.seconds))
        if ordered[0].refused:
            reasons = "\n".join(f"{way.method}: {way.refused}" for way in ordered)
            raise ValueError(f"jacobian.best: no method gives this Jacobian.\n{reasons}")
        return cls(m, n, tuple(ordered))

    @property
    def best(self) -> Way:
        """The fastest method."""
        return self.ways[0]

    @property
    def _usable(self) -> list[Way]:
        return [way for way in self.ways if not way.refused]

    def without_best(self, why: str) -> JacobianPlan:
        """The plan with its best method refused."""
        return JacobianPlan.of(self.m, self.n, [replace(self.best, refused=why), *self.ways[1:]])

    def table(self) -> Table:
        """One row for each method that can be used, the fastest first; the note says why the others cannot."""
        title = f"Jacobian of {self.m:,} × {self.n:,}: {self.why}"
        columns = "method", "sweeps", "FLOPs", "bytes", "temporary", "predicted", "measured"
        note = "\n".join(f"{way.method}: {way.refused}" for way in self.ways if way.refused)
        return Table(title, columns, [_row(way) for way in self._usable], note, words=2)

    @property
    def why(self) -> str:
        """Why the best method is the best, in a sentence."""
        first, *others = self._usable
        if not others:
            return f"{first.method} is the only way"
        how = "measured" if first.measured is not None else "predicted"
        return (
            f"{first.method}, {others[0].seconds / first.seconds:.3g} times as fast as {others[0].method} and "
            f"{max(w.seconds for w in others) / first.seconds:.3g} times as fast as the slowest ({how})"
        )

    def to_json(self) -> dict[str, Any]:
        """The size, and the costs of each method."""
        ways = [{name: getattr(way, name) for name in JSON_FIELDS} for way in self.ways]
        return {"m": self.m, "n": self.n, "ways": ways}

    def _figure(self) -> Figure:
        ways = self._usable[::-1]
        with figure(width=6, height=1 + 0.35 * len(ways)) as (fig, axes):
            axes.barh([way.method for way in ways], [1e6 * way.seconds for way in ways])
            axes.set_xlabel("time (µs), measured or else predicted")
            axes.set_title(f"Jacobian of {self.m:,} × {self.n:,}")
        return fig


def _row(way: Way) -> tuple[str, ...]:
    measured = "" if way.measured is None else seconds_text(way.measured)
    counts = count_text(way.flops), bytes_text(way.bytes), bytes_text(way.temporary)
    return way.method, way.sweeps, *counts, seconds_text(way.predicted), measured
