"""What `contrast` finds: numbers, tables, data and a plot."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jaxdl.measure.contrast_figure import comparison_figure
from jaxdl.measure.contrast_sentences import conclusion
from jaxdl.measure.contrast_tables import comparison_table, gains_table, labels, losses_table, sides_of
from jaxdl.measure.differentiated import DerivativeCost
from jaxdl.measure.distances import Difference, largest, telling, worst_ulp
from jaxdl.measure.timing import Pairs
from jaxdl.report import Page, Report, Table, capitalized, plain, terminal
from jaxdl.strip import Site

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

WIDE = 220  # columns that a terminal needs for all columns of the table
CAPTION = (
    "Ratios to the automatic derivative: left of its line a side needs less. Bars are quartiles of times. Kept for the "
    "backward pass are residuals, and of a rule by itself also its inputs."
)
FURTHER = 60  # for each side beside hand and automatic


@dataclass(frozen=True)
class Side:
    """A function with one of its derivatives: by hand, automatic, or that of a further function such as stock.

    Attributes:
        cost: What its derivative costs.
        difference: Its largest difference from the automatic derivative, over the largest entry; None where they could
            not be compared.
        ulp: Its largest distance from a float64 run of the automatic derivative, in units in the last place of the
            largest entry; None where f does not run in float64.
        step: Times of forward and backward pass, compiled in one, its own and automatic's; None where nothing was
            timed.
    """

    cost: DerivativeCost
    difference: float | None
    ulp: float | None
    step: Pairs | None

    def to_json(self, name: str) -> dict[str, Any]:
        """The figures as plain data.

        Args:
            name: The name of the side in the keys of its times.
        """
        times = self.step and self.step.to_json(name, "automatic")
        return {"cost": self.cost.to_json(), "difference": self.difference, "ulp": self.ulp, "step": times}


@dataclass(frozen=True)
class Comparison:
    """The hand-written and the automatic derivative of one function: results, costs and times.

    Attributes:
        name: The rule's name, or "whole".
        shape: The shape of the first input.
        output_shape: The shape of a rule's first output; () for f as a whole.
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
        beside: Further functions of the same value by name: "stock" where ops of jaxdl have stock functions, and those
            given to `contrast`.
    """

    name: str
    shape: tuple[int, ...]
    output_shape: tuple[int, ...]
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
    beside: dict[str, Side] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain data: numbers, strings, lists and dictionaries."""
        times = {"forward": self.forward, "backward": self.backward, "step": self.step}
        return {
            "name": self.name,
            "shape": list(self.shape),
            "output_shape": list(self.output_shape),
            "where": self.where,
            "count": self.count,
            "differences": [asdict(d) for d in self.differences],
            "hand": self.hand.to_json(),
            "automatic": self.automatic.to_json(),
            **{part: timed and timed.to_json("hand", "automatic") for part, timed in times.items()},
            "gain": self.gain,
            "missing": dict(self.missing),
            "beside": {name: side.to_json(name) for name, side in self.beside.items()},
        }

    @property
    def sides(self) -> dict[str, Side]:
        """Hand, automatic and all functions beside them, by name."""
        most, ulp = self.largest, functools.partial(worst_ulp, self.differences)
        hand = Side(self.hand, most and most.relative, ulp("hand"), self.step)
        itself = self.step and Pairs(self.step.second, self.step.second)
        automatic = Side(self.automatic, most and 0.0, ulp("automatic"), itself)
        return {"hand": hand, "automatic": automatic, **self.beside}

    @property
    def telling(self) -> tuple[Difference, ...]:
        """The differences that are more than noise, or all of them if none is."""
        return telling(self.differences)

    @property
    def largest(self) -> Difference | None:
        """The largest relative difference that is more than noise; None where nothing could be compared."""
        return largest(self.differences)


@dataclass(frozen=True)
class Contrast(Report):
    """What `contrast` found.

    Attributes:
        device: Where it was measured.
        whole: The comparison of f as a whole.
        sites: One comparison for each rule, on the values that it was called with.
        left_out: The rules without a comparison, each with the reason.
        order: 1 where gradients were compared, 2 where their derivatives were.
        constant: A sentence for each floating-point number among the arguments that was held constant.
        same: Why both sides are the same program: no rule is called, or all are kept; else empty.
    """

    device: str
    whole: Comparison
    sites: tuple[Comparison, ...]
    left_out: tuple[tuple[Site, str], ...] = ()
    order: int = 1
    constant: tuple[str, ...] = ()
    same: str = ""

    @property
    def conclusion(self) -> str:
        """Whether the derivatives agree, and what they cost, in one sentence."""
        return conclusion(self.whole, self.order, self.same)

    def to_json(self) -> dict[str, Any]:
        """The report as plain data: numbers, strings, lists and dictionaries. NaN and infinity become None."""
        left_out = [{"name": site.name, "where": site.where, "reason": reason} for site, reason in self.left_out]
        sites = [site.to_json() for site in self.sites]
        about = {
            "conclusion": self.conclusion,
            "device": self.device,
            "order": self.order,
            "constant": list(self.constant),
        }
        return plain({**about, "whole": self.whole.to_json(), "sites": sites, "left_out": left_out})

    def table(self, *, brief: bool = False) -> Table:
        """One row for f as a whole and one for each rule.

        Args:
            brief: Whether to leave out the less important columns.
        """
        what = "derivative" if self.order == 1 else "second derivative"
        title = f"Hand-written against automatic {what}, on {self.device}"
        table = comparison_table(title, (self.whole, *self.sites), brief, self.left_out)
        constant = [f"{capitalized(text)}." for text in self.constant]
        return replace(table, note="\n".join([table.note, *constant]))

    def gains(self) -> Table:
        """One row for each rule that measures better than the automatic derivative: in which figures, and why."""
        return gains_table(self.whole, self.sites)

    def losses(self) -> Table:
        """One row for each rule that measures worse than the automatic derivative or the stock function."""
        return losses_table(self.whole, self.sites)

    def tables(self, *, brief: bool = False) -> tuple[Table, ...]:
        """The table of comparisons, and those of gains and losses if f calls any rules."""
        return (self.table(brief=brief), *([self.gains(), self.losses()] if self.sites else []))

    def print(self, console: Console | None = None) -> None:
        """Prints the conclusion and all tables, which are brief where the terminal is too narrow for all columns.

        Args:
            console: A console of rich; by default the standard output.
        """
        console = console or terminal()
        console.print(self.conclusion, style="bold")
        for table in self.tables(brief=console.width < WIDE + FURTHER * len(self.whole.beside)):
            table.print(console)

    def add_to(self, page: Page) -> None:
        """Adds the tables to a page: the brief one, gains and losses, and all figures on a click."""
        for table in self.tables(brief=True):
            page.table(table)
        page.details("All figures", self.table())

    def _page(self) -> Page:
        page = Page(self.table().title)
        page.lead(self.conclusion)
        page.picture(self._figure(), CAPTION)
        self.add_to(page)
        return page

    def _figure(self) -> Figure:
        comparisons = self.whole, *self.sites
        return comparison_figure(comparisons, sides_of(comparisons), labels(comparisons))
