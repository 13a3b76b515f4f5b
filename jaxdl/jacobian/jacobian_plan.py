"""What each method would cost for one Jacobian, and which is the fastest."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp

from jaxdl.jacobian.saved_plans import SavedPlan
from jaxdl.report import FURTHER, Table, bytes_text, count_text, figure, seconds_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JSON_FIELDS = (
    "method", "sweeps", "flops", "bytes", "temporary", "predicted", "measured", "points", "skipped", "refused",
)  # fmt: skip
CALL = 5e-6  # seconds that any call takes on two cores
NO_TIME = "no time left"


@dataclass(frozen=True, eq=False)
class Way:
    """A method for one Jacobian, and its cost.

    Attributes:
        method: The method's name.
        sweeps: Its sweeps, in words.
        flops: The floating-point operations of the compiled program; estimated if it was not compiled.
        bytes: The bytes that the compiled program accesses; NaN if it was not compiled.
        temporary: Its temporary memory in bytes, without arguments and result; NaN if it was not compiled.
        predicted: The predicted time in seconds.
        measured: The measured time in seconds of a call of the compiled program; None if it was not run.
        skipped: Why the method was not tried, else empty.
        refused: Why the method cannot be used, else empty.
        count: The number of sweeps through the whole function; 0 for other methods.
        operations: The estimated number of operations.
        compile_seconds: The estimated time to compile it.
        run: The Jacobian as a function of vectors, for `best`.
        program: The same, jitted.
        compiled: The same, compiled; None if it was not compiled.
        points: For how many points at once it was compiled, 0 for a single one; costs and times are for each of them.
        variables: Which of the arguments (x, *others) the compiled program takes; the others are constants in it.
    """

    method: str
    sweeps: str = ""
    flops: float = math.nan
    bytes: float = math.nan
    temporary: float = math.nan
    predicted: float = math.inf
    measured: float | None = None
    skipped: str = ""
    refused: str = ""
    count: int = 0
    operations: float = math.inf
    compile_seconds: float = math.inf
    run: Any = None
    program: Any = None
    compiled: Any = None
    points: int = 0
    variables: tuple[int, ...] = ()

    @property
    def is_usable(self) -> bool:
        """Whether it was prepared and not refused; it may not have been tried."""
        return self.run is not None and not self.refused

    def arguments(self, x: jax.Array, *others: Any) -> list[Any]:
        """The arguments as the compiled program takes them."""
        x = jnp.broadcast_to(x, (self.points, *x.shape)) if self.points else x
        return [(x, *others)[i] for i in self.variables]

    def matrix(self, x: jax.Array, *others: Any) -> jax.Array:
        """The Jacobian by the compiled program."""
        matrix = self.compiled(*self.arguments(x, *others))
        return matrix[0] if self.points else matrix

    @property
    def seconds(self) -> float:
        """The measured time, or else the predicted one."""
        return self.predicted if self.measured is None else self.measured


@dataclass(frozen=True, eq=False)
class JacobianPlan(SavedPlan):
    """The methods for one Jacobian, the fastest first; printed, a table that says why.

    `save("plan.json")` writes what `best(f, plan="plan.json")` reads.

    Attributes:
        m: The number of rows.
        n: The number of columns.
        ways: The methods with their costs. Those that were not tried, and those that cannot be used, are last.
    """

    method: ClassVar[str] = "best"

    m: int
    n: int
    ways: tuple[Way, ...]

    @classmethod
    def of(cls, m: int, n: int, ways: Iterable[Way]) -> JacobianPlan:
        """Sorts the methods: measured ones first, then those that were tried, and last those that cannot be used.

        Raises:
            ValueError: If no method can be used; with the reasons.
        """
        order = lambda way: (not way.is_usable, way.measured is None, bool(way.skipped), way.seconds)
        first, *others = sorted(ways, key=order)
        if not first.is_usable:
            reasons = "\n".join(f"{way.method}: {way.refused or way.skipped}" for way in (first, *others))
            raise ValueError(f"jacobian.best: no method gives this Jacobian.\n{reasons}")
        return cls(m, n, (replace(first, skipped=""), *others))

    @property
    def best(self) -> Way:
        """The fastest method."""
        return self.ways[0]

    @property
    def _tried(self) -> list[Way]:
        return [way for way in self.ways if way.is_usable and not way.skipped]

    def without_best(self, why: str) -> JacobianPlan:
        """The plan with its best method refused."""
        ways = [replace(self.best, refused=why), *self.ways[1:]]
        return replace(JacobianPlan.of(self.m, self.n, ways), function=self.function)

    def table(self) -> Table:
        """One row for each method that was tried, the fastest first; the note says why the others were not."""
        title = f"Jacobian of {self.m:,} × {self.n:,}: {self.why}"
        columns = "method", "sweeps", "FLOPs", "bytes", "temporary", "predicted", "measured"
        note = "\n".join(f"{way.method}: {why}" for way in self.ways if (why := way.refused or way.skipped))
        return Table(title, columns, [_row(way) for way in self._tried], note, words=2).without_empty_columns()

    @property
    def why(self) -> str:
        """Why the best method is the best, in a sentence."""
        first, *others = self._tried
        if not others:
            late = [way.method for way in self.ways if way.skipped == NO_TIME]
            return f"{first.method}; " + (f"no time to try {', '.join(late)}" if late else "the others cannot win")
        times = lambda way: f"{way.seconds / first.seconds:.3g} times as fast as"
        slowest = max(others, key=lambda way: way.seconds)
        further = "" if slowest is others[0] else f" and {times(slowest)} {slowest.method}"
        return f"{first.method}, {times(others[0])} {others[0].method}{further} ({self._how})"

    @property
    def _how(self) -> str:
        """What the times are."""
        if self.best.measured is None:
            return "predicted"
        points = self.best.points
        return f"measured, each of {points} points in a call" if points else "measured, a jitted call"

    def data(self) -> dict[str, Any]:
        """The size, the costs of each method, and what the best one has decided."""
        ways = [{name: getattr(way, name) for name in JSON_FIELDS} for way in self.ways]
        inner = getattr(self.best.run, "plan", None)
        decided = inner.data() if isinstance(inner, SavedPlan) else inner and inner.to_json()
        return {"m": self.m, "n": self.n, "ways": ways, "decided": decided}

    def _figure(self) -> Figure:
        ways = self._tried[::-1]
        with figure(width=6, height=1 + 0.35 * len(ways)) as (fig, axes):
            axes.barh([way.method for way in ways], [1e6 * way.seconds for way in ways], color=FURTHER[0]["color"])
            axes.set_xlabel("time (µs), measured or else predicted")
            axes.set_title(f"Jacobian of {self.m:,} × {self.n:,}")
        return fig


def _row(way: Way) -> tuple[str, ...]:
    measured = "" if way.measured is None else seconds_text(way.measured)
    counts = count_text(way.flops), bytes_text(way.bytes), bytes_text(way.temporary)
    return way.method, way.sweeps, *counts, seconds_text(way.predicted), measured
