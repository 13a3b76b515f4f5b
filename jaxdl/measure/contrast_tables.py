"""The tables and the plot of `contrast`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.measure.distances import worst_ulp
from jaxdl.report import (
    AUTOMATIC,
    FURTHER,
    HAND,
    Table,
    bytes_text,
    figure,
    number_text,
    ratio_text,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


BARS = ((HAND, ""), (AUTOMATIC, "///"), *zip(FURTHER, ("..", "xx", "\\\\"), strict=True))


def _label(c):
    shape = "×".join(map(str, c.shape)) or "number"
    return c.name if c.name == "whole" else f"{c.name.replace('_', ' ')} {shape}"


def _ratio(hand, automatic):
    return ratio_text(hand / automatic if hand and automatic else None)


def _of_sides(c, names, text, figure):
    """A cell with a figure of each side."""
    return " / ".join(text(figure(c.sides[name]) if name in c.sides else None) for name in names)


def _columns(sides, brief):
    """Header, whether the brief table has it, and the cell of a comparison."""
    compared = sides[:2] if brief else sides
    heading = " / ".join(compared).replace("automatic", "auto")
    of_all = lambda text, figure: lambda c: _of_sides(c, compared, text, figure)
    time = lambda name: lambda c: _of_sides(c, [name], ratio_text, lambda side: side.step and side.step.ratio)
    return (
        ("function", True, _label),
        ("×", True, lambda c: str(c.count)),
        ("difference", True, lambda c: number_text(c.largest and c.largest.relative)),
        (f"ULP {heading}", True, of_all(number_text, lambda side: side.ulp)),
        ("forward", False, lambda c: ratio_text(c.forward and c.forward.ratio)),
        ("backward", False, lambda c: ratio_text(c.backward and c.backward.ratio)),
        ("time", True, time("hand")),
        *((f"time {name}", True, time(name)) for name in sides[2:]),
        ("compile", False, lambda c: _ratio(c.hand.compile_seconds, c.automatic.compile_seconds)),
        ("FLOPs", False, lambda c: _ratio(c.hand.flops, c.automatic.flops)),
        ("bytes", False, lambda c: _ratio(c.hand.bytes_accessed, c.automatic.bytes_accessed)),
        (f"residuals {heading}", True, of_all(bytes_text, lambda side: side.cost.residual_bytes)),
        (f"temporary {heading}", False, of_all(bytes_text, lambda side: side.cost.temporary_bytes)),
    )


_NOTE = (
    "Times (forward, backward, both in one; to compile), FLOPs and bytes are ratios hand : automatic: below 1 the "
    "hand-written rule is cheaper. ULP is the largest distance from a float64 run, in units of the largest entry's "
    "last place; the difference is over the largest entry."
)
_STOCK = (
    " Stock is jax.nn, jax.numpy and lax, or what Flax and optax compute, in place of jaxdl's operations; an operation "
    "without a figure there has its definition."
)


def comparison_table(title: str, comparisons: Sequence[Any], brief: bool, left_out: Sequence[Any] = ()) -> Table:
    """One row a comparison; the note says why cells are empty, and which rules have no row."""
    sides = _sides(comparisons)
    columns = [(header, cell) for header, in_brief, cell in _columns(sides, brief) if in_brief or not brief]
    rows = [tuple(cell(c) for _, cell in columns) for c in comparisons]
    note = _NOTE
    if sides[2:]:
        note += f" Times of {' and '.join(sides[2:])} are ratios to automatic too."
    if "stock" in sides:
        note += _STOCK
    empty = [f"{_label(c)} has no {what}: {reason}" for c in comparisons for what, reason in c.missing]
    empty += [f"{site.name} ({site.where}) has no row: {reason}" for site, reason in left_out]
    return Table(title, tuple(header for header, _ in columns), rows, "\n".join([note, *empty]))


def _sides(comparisons):
    """The names of all sides: hand, automatic, and those that any comparison has beside them."""
    return list(dict.fromkeys(name for c in comparisons for name in c.sides))


def gains_table(comparisons: Sequence[Any]) -> Table:
    """One row for each rule that measures better: the figures, and the rule's stated reason."""
    rows = [(_label(c), "; ".join(gains), c.gain) for c in comparisons if (gains := list(_gains(c)))]
    note = "" if rows else "No rule measures better than the automatic derivative here."
    return Table("Where hand-written rules gain, and why", ("function", "gain", "cause"), rows, note, words=3)


def _gains(c):
    """Figures that are clearly better by hand: time (both quartiles below 1), bytes, distance from float64."""
    if c.step and c.step.ratio < 0.95 and c.step.spread[1] < 1:
        yield f"{1 / c.step.ratio:.1f} times as fast"
    for what, verb in (("residual_bytes", "keeps"), ("temporary_bytes", "takes")):
        hand, plain = getattr(c.hand, what), getattr(c.automatic, what)
        if hand is not None and plain is not None and hand < 0.95 * plain:
            yield f"{verb} {bytes_text(hand)}, not {bytes_text(plain)}"
    hand, plain = (worst_ulp(c.differences, side) for side in ("hand", "automatic"))
    if hand is not None and plain is not None and hand < 0.8 * plain and plain > 1:
        yield f"within {number_text(hand)} ULP, not {number_text(plain)}"


def comparison_figure(comparisons: Sequence[Any]) -> Figure:
    """Bars of residual bytes and, where it was measured, of time."""
    sides = _sides(comparisons)
    panels = [("residual bytes", lambda side: side.cost.residual_bytes)]
    if comparisons[0].step:
        panels.append(("forward + backward (µs)", lambda side: 1e6 * side.step.medians[0] if side.step else np.nan))
    height = 1.5 + (0.2 + 0.1 * len(sides)) * len(comparisons)
    with figure(1, len(panels), width=8.4, height=height, sharey=True) as (fig, axes):
        axes = np.atleast_1d(axes)
        for ax, (label, value) in zip(axes, panels, strict=True):
            _bars(ax, label, {s: [value(c.sides[s]) if s in c.sides else np.nan for c in comparisons] for s in sides})
        names = ["\n".join(textwrap.wrap(_label(c), 26)) for c in comparisons]
        axes[0].set_yticks(np.arange(len(names)), names, parse_math=False)
        axes[0].invert_yaxis()
        fig.suptitle("Hand-written rules against the automatic derivative", x=0.01, ha="left")
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(sides))
    return fig


def _bars(ax, label, values):
    from matplotlib.ticker import SymmetricalLogLocator

    thick = 0.8 / len(values)
    for i, (side, lengths) in enumerate(values.items()):
        style, hatch = BARS[i % len(BARS)]
        look = {"color": style["color"], "hatch": hatch, "edgecolor": "white", "label": side}
        ax.barh(np.arange(len(lengths)) - 0.4 + thick * (i + 0.5), lengths, 0.95 * thick, **look)
    ax.set_xlabel(label)
    ax.set_xscale("symlog", linthresh=1)
    ax.xaxis.set_major_locator(SymmetricalLogLocator(base=100, linthresh=1))
    ax.grid(axis="y", visible=False)
