"""The tables and the plot of `contrast`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.report import (
    AUTOMATIC,
    HAND,
    Table,
    bytes_text,
    figure,
    number_text,
    ratio_text,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _label(c):
    shape = "×".join(map(str, c.shape)) or "number"
    return c.name if c.name == "whole" else f"{c.name.replace('_', ' ')} {shape}"


def _worst(c, side):
    return number_text(max((v for d in c.telling if (v := getattr(d, side)) is not None), default=None))


def _ratio(hand, automatic):
    return ratio_text(hand / automatic if hand and automatic else None)


# Header, whether the brief table has it, and the cell of a comparison.
_COLUMNS = (
    ("function", True, _label),
    ("×", True, lambda c: str(c.count)),
    ("difference", True, lambda c: number_text(c.largest and c.largest.relative)),
    ("ULP hand / auto", True, lambda c: f"{_worst(c, 'hand_ulp')} / {_worst(c, 'automatic_ulp')}"),
    ("forward", False, lambda c: ratio_text(c.forward and c.forward.ratio)),
    ("backward", False, lambda c: ratio_text(c.backward and c.backward.ratio)),
    ("time", True, lambda c: ratio_text(c.step and c.step.ratio)),
    ("compile", False, lambda c: _ratio(c.hand.compile_seconds, c.automatic.compile_seconds)),
    ("FLOPs", False, lambda c: _ratio(c.hand.flops, c.automatic.flops)),
    ("bytes", False, lambda c: _ratio(c.hand.bytes_accessed, c.automatic.bytes_accessed)),
    (
        "residuals hand / auto",
        True,
        lambda c: f"{bytes_text(c.hand.residual_bytes)} / {bytes_text(c.automatic.residual_bytes)}",
    ),
    (
        "temporary hand / auto",
        False,
        lambda c: f"{bytes_text(c.hand.temporary_bytes)} / {bytes_text(c.automatic.temporary_bytes)}",
    ),
)
_NOTE = (
    "Times (forward, backward, both in one; to compile), FLOPs and bytes are ratios hand : automatic: below 1 the "
    "hand-written rule is cheaper. ULP is the largest distance from a float64 run, in units of the largest entry's "
    "last place; the difference is over the largest entry."
)


def comparison_table(title: str, comparisons: Sequence[Any], brief: bool, left_out: Sequence[Any] = ()) -> Table:
    """One row a comparison; the note says why cells are empty, and which rules have no row."""
    columns = [(header, cell) for header, in_brief, cell in _COLUMNS if in_brief or not brief]
    rows = [tuple(cell(c) for _, cell in columns) for c in comparisons]
    empty = [f"{_label(c)} has no {what}: {reason}" for c in comparisons for what, reason in c.missing]
    empty += [f"{site.name} ({site.where}) has no row: {reason}" for site, reason in left_out]
    return Table(title, tuple(header for header, _ in columns), rows, "\n".join([_NOTE, *empty]))


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
    hand, plain = (
        max((v for d in c.telling if (v := getattr(d, side)) is not None), default=None)
        for side in ("hand_ulp", "automatic_ulp")
    )
    if plain is not None and hand < 0.8 * plain and plain > 1:
        yield f"within {number_text(hand)} ULP, not {number_text(plain)}"


def comparison_figure(comparisons: Sequence[Any]) -> Figure:
    """Bars of residual bytes and, where it was measured, of time."""
    panels = [("residual bytes", lambda c, side: getattr(c, side).residual_bytes)]
    if comparisons[0].step:
        panels.append(("forward + backward (µs)", lambda c, side: 1e6 * c.step.medians[side == "automatic"]))
    with figure(1, len(panels), width=8.4, height=1.5 + 0.4 * len(comparisons), sharey=True) as (fig, axes):
        axes = np.atleast_1d(axes)
        for ax, (label, value) in zip(axes, panels, strict=True):
            _bars(ax, label, [(value(c, "hand"), value(c, "automatic")) for c in comparisons])
        names = ["\n".join(textwrap.wrap(_label(c), 26)) for c in comparisons]
        axes[0].set_yticks(np.arange(len(names)), names, parse_math=False)
        axes[0].invert_yaxis()
        fig.suptitle("Hand-written rules against the automatic derivative", x=0.01, ha="left")
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return fig


def _bars(ax, label, values):
    from matplotlib.ticker import SymmetricalLogLocator

    for shift, side, style, hatch in ((-0.2, 0, HAND, ""), (0.2, 1, AUTOMATIC, "///")):
        lengths = [pair[side] for pair in values]
        look = {"color": style["color"], "hatch": hatch, "edgecolor": "white", "label": ("hand", "automatic")[side]}
        ax.barh(np.arange(len(values)) + shift, lengths, 0.38, **look)
    ax.set_xlabel(label)
    ax.set_xscale("symlog", linthresh=1)
    ax.xaxis.set_major_locator(SymmetricalLogLocator(base=100, linthresh=1))
    ax.grid(axis="y", visible=False)
