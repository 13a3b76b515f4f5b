"""What `contrast` finds: numbers, tables, data and a plot."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.measure.contrast_tables import comparison_figure, comparison_table, gains_table
from jaxdl.measure.differentiated import DerivativeCost
from jaxdl.measure.timing import Pairs
from jaxdl.report import Report, Table, plain, terminal
from jaxdl.strip import Site

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

WIDE = 150  # columns that a terminal needs for all columns of the table


@dataclass(frozen=True)
class Difference:
    """How far hand and automatic lie apart in one array, and each from a float64 run of the automatic derivative.

    Attributes:
        name: The output, or the cotangent, that was compared.
        absolute: The largest difference.
        relative: The largest difference over the largest entry.
        hand_ulp: The largest distance of the hand-written derivative from the float64 run, in units in the last place
            of the largest entry; None where f does not run in float64.
        automatic_ulp: The same of the automatic derivative.
        is_noise: Whether neither has a correct digit, as where the truth is 0 and both are rounding errors.
    """

    name: str
    absolute: float
    relative: float
    hand_ulp: float | None
    automatic_ulp: float | None
    is_noise: bool = False


@dataclass(frozen=True)
class Comparison:
    """The hand-written and the automatic derivative of one function: results, costs and times.

    Attributes:
        name: The rule's name, or "whole".
        shape: The shape of the first input.
        where: The line of source that calls the rule.
        count: How often f calls it.
        differences: One for each output and each cotangent.
        hand: What the hand-written derivative costs.
        automatic: What the automatic derivative costs.
        forward: Times of the forward pass; None where nothing was timed.
        backward: Times of the backward pass.
        step: Times of both passes, compiled in one.
        gain: What the rule says that it does better.
        missing: What could not be measured, each with the reason.
    """

    name: str
    shape: tuple[int, ...]
    where: str
    count: int
    differences: tuple[Difference, ...]
    hand: DerivativeCost
    automatic: DerivativeCost
    forward: Pairs | None
    backward: Pairs | None
    step: Pairs | None
    gain: str = ""
    missing: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain data: numbers, strings, lists and dictionaries."""
        times = {"forward": self.forward, "backward": self.backward, "step": self.step}
        return {
            "name": self.name,
            "shape": list(self.shape),
            "where": self.where,
            "count": self.count,
            "differences": [asdict(d) for d in self.differences],
            "hand": self.hand.to_json(),
            "automatic": self.automatic.to_json(),
            **{part: timed and timed.to_json("hand", "automatic") for part, timed in times.items()},
            "gain": self.gain,
            "missing": dict(self.missing),
        }

    @property
    def telling(self) -> tuple[Difference, ...]:
        """The differences that are more than noise, or all of them if none is."""
        return tuple(d for d in self.differences if not d.is_noise) or self.differences

    @property
    def largest(self) -> Difference | None:
        """The largest relative difference that is more than noise; None where nothing could be compared."""
        return max(self.telling, key=lambda d: np.nan_to_num(d.relative, nan=np.inf), default=None)


@dataclass(frozen=True)
class Contrast(Report):
    """What `contrast` found.

    Attributes:
        device: Where it was measured.
        whole: The comparison of f as a whole.
        sites: One comparison for each rule, on the values that it was called with.
        left_out: The rules without a comparison, each with the reason.
    """

    device: str
    whole: Comparison
    sites: tuple[Comparison, ...]
    left_out: tuple[tuple[Site, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The report as plain data: numbers, strings, lists and dictionaries. NaN and infinity become None."""
        left_out = [{"name": site.name, "where": site.where, "reason": reason} for site, reason in self.left_out]
        sites = [site.to_json() for site in self.sites]
        return plain({"device": self.device, "whole": self.whole.to_json(), "sites": sites, "left_out": left_out})

    def table(self, *, brief: bool = False) -> Table:
        """One row for f as a whole and one for each rule.

        Args:
            brief: Whether to leave out the less important columns.
        """
        title = f"Hand-written against automatic derivative, on {self.device}"
        return comparison_table(title, (self.whole, *self.sites), brief, self.left_out)

    def gains(self) -> Table:
        """One row for each rule that measures better than the automatic derivative: in which figures, and why."""
        return gains_table(self.sites)

    def tables(self, *, brief: bool = False) -> tuple[Table, ...]:
        """The table of comparisons, and that of gains if f calls any rules."""
        return (self.table(brief=brief), *([self.gains()] if self.sites else []))

    def print(self, console: Console | None = None) -> None:
        """Prints all tables, brief where the terminal is narrower than 150 columns.

        Args:
            console: A console of rich; by default the standard output.
        """
        console = console or terminal()
        for table in self.tables(brief=console.width < WIDE):
            table.print(console)

    def _figure(self) -> Figure:
        return comparison_figure((self.whole, *self.sites))
