"""The plot of `contrast`: ratios to the automatic derivative, around 1."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.measure.contrast_sentences import kept_bytes
from jaxdl.report import AUTOMATIC, FURTHER, HAND, LINE, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKS = ((HAND, "o"), *zip(FURTHER, "s^D", strict=True))
LEAST = 2.0  # the axes reach from 1/2 to 2 at least
MOST = 16.0  # larger ratios, and those to 0 bytes, stand at the edge


def comparison_figure(comparisons: Sequence[Any], sides: Sequence[str], labels: Sequence[str]) -> Figure:
    """One row a comparison: where time was measured its ratio with quartiles, and the ratio of kept bytes.

    Args:
        comparisons: Those of f as a whole and of its rules.
        sides: The names of all sides.
        labels: The text beside each row.
    """
    timed = any(c.step for c in comparisons)
    shown = [side for side in sides if side != "automatic"]
    panels = [("time", _time), ("kept bytes", _kept)][not timed :]
    names = ["\n".join(textwrap.wrap(label, 26)) for label in labels]
    lines = sum(max(name.count("\n") + 1, 0.6 * len(shown)) for name in names)
    with figure(1, len(panels), width=8.4, height=1.5 + 0.2 * lines + 0.1 * len(names), sharey=True) as (fig, axes):
        axes = np.atleast_1d(axes)
        for ax, (title, ratios) in zip(axes, panels, strict=True):
            _panel(ax, f"{title}, ratio to automatic", comparisons, shown, ratios)
        axes[0].set_yticks(np.arange(len(names)), names, parse_math=False)
        axes[0].set_ylim(len(names) - 0.4, -0.6)
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(sides))
    return fig


def _time(c, side):
    step = c.sides[side].step if side in c.sides else None
    return (step.ratio, *step.spread) if step else None


def _kept(c, side):
    if side not in c.sides:
        return None
    count = (lambda cost: cost.residual_bytes) if c.name == "whole" else kept_bytes
    ours, automatic = count(c.sides[side].cost), count(c.automatic)
    ratio = ours / automatic if automatic else np.inf if ours else 1.0
    return ratio, ratio, ratio


def _panel(ax, title, comparisons, shown, ratios):
    from matplotlib.ticker import FuncFormatter, NullLocator

    found = [[ratios(c, side) for c in comparisons] for side in shown]
    known = np.array([r for of_side in found for r in of_side if r] or [(1.0, 1.0, 1.0)])
    known = known[np.isfinite(known) & (known > 0)]
    reach = float(np.clip(np.max(np.maximum(known, 1 / known), initial=LEAST), LEAST, MOST)) * 1.1
    for i, (side, of_side) in enumerate(zip(shown, found, strict=True)):
        look, marker = LOOKS[i % len(LOOKS)]
        rows = [(row, *np.clip(r, 1 / reach, reach)) for row, r in enumerate(of_side) if r]
        y, middle, low, high = np.array(rows or [[np.nan] * 4]).T
        y = y + (i - (len(shown) - 1) / 2) * 0.5 / len(shown)
        spread = np.maximum([middle - low, high - middle], 0)
        ax.errorbar(middle, y, xerr=spread, fmt=marker, color=look["color"], ms=5, lw=1.4, label=side, clip_on=False)
    ax.axvline(1, color=AUTOMATIC["color"], linestyle=AUTOMATIC["linestyle"], lw=1.4, label="automatic")
    ax.set_xscale("log", base=2)
    ax.set_xlim(1 / reach, reach)
    ticks = [2.0**k for k in range(-4, 5) if 1 / reach <= 2.0**k <= reach]
    ax.set_xticks(ticks[:: 2 if len(ticks) > 7 else 1])
    ax.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}×" if ratio >= 1 else f"1/{1 / ratio:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.grid(axis="y", color=LINE)
    ax.set_title(title)
    ax.set_xlabel("← less     more →")
