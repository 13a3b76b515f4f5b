"""Ratios to the automatic derivative, by depth, width and batch."""

import numpy as np
from matplotlib.ticker import FuncFormatter, NullLocator

from experiments.hand_vs_automatic.sentences import AXES, bytes_ratio, side_of
from jaxdl.report import AUTOMATIC, FURTHER, HAND, figure

LOOKS = {"hand": (HAND, "o"), "stock": (FURTHER[0], "s"), "tuned": (FURTHER[1], "^")}
TIMES_CAPTION = (
    "Time of a gradient over that of the automatic one, by depth, width and batch; the other two numbers are those of "
    "the model in the middle of the grid. Below the dashed line a side is faster. Bars are quartiles."
)
MEMORY_CAPTION = (
    "Bytes over those of the automatic derivative: residuals, which are kept for the backward pass (filled), and "
    "temporary memory of the compiled gradient (hollow, dotted). Below the dashed line a side needs less."
)


def times(data):
    """The time of each side: a row for each family, a column for each axis."""
    return _panels(data, "time / automatic", _draw_times)


def memory(data):
    """Residuals and temporary memory by hand and tuned."""
    return _panels(data, "bytes / automatic", _draw_memory)


def _panels(data, label, draw):
    rows = len(data["families"])
    with figure(rows, 3, width=9.6, height=1.1 + 2.3 * rows, sharey="row", squeeze=False) as (fig, axes):
        for (name, family), row in zip(data["families"].items(), axes, strict=True):
            for axis, ax in zip(AXES, row, strict=True):
                models = sorted(along(family, axis), key=lambda m, axis=axis: m[axis])
                ax.axhline(1, color=AUTOMATIC["color"], linestyle=AUTOMATIC["linestyle"], lw=1.4, label="automatic")
                draw(ax, np.arange(len(models)), models)
                ax.set_xticks(range(len(models)), [str(m[axis]) for m in models])
                ax.set(xlabel=axis, xlim=(-0.4, len(models) - 0.6), yscale="log")
                ax.yaxis.set_minor_locator(NullLocator())
            _nice_ticks(row[0])
            row[0].set(ylabel=label)
            row[0].set_title(name)
        handles, labels = axes[0][0].get_legend_handles_labels()
        fig.align_ylabels(axes[:, 0])
        fig.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return fig


def along(family, axis):
    """The models that differ from the base, which is the first, in one number at most."""
    base, others = family["models"][0], [a for a in AXES if a != axis]
    return [m for m in family["models"] if all(m[a] == base[a] for a in others)]


TICKS = (
    (0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.3, 1.4), (0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.3, 1.6), (0.25, 0.35, 0.5, 0.7, 1, 1.4, 2),
    [2.0**k for k in range(-6, 7)],
)  # fmt: skip


def _nice_ticks(ax):
    low, high = ax.get_ylim()
    low, high = min(low, 0.75), max(high, 1.25)
    inside = [[tick for tick in ticks if low <= tick <= high] for ticks in TICKS]
    found = next((ticks for ticks in inside if len(ticks) < 7 and ticks[0] < 1.5 * low), inside[-1])
    ax.set_ylim(low, high)
    ax.set_yticks(found)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.3g}×"))


def _draw_times(ax, x, models):
    for i, (side, (look, marker)) in enumerate(LOOKS.items()):
        if not any(side in m["first"] for m in models):
            continue
        found = [side_of(m, side) for m in models]
        middle = np.array([f["time"] for f in found])
        low, high = np.array([f["quartiles"] for f in found]).T
        spread = np.maximum([middle - low, high - middle], 0)
        style = {"color": look["color"], "linestyle": look["linestyle"], "lw": 1.4, "ms": 5}
        ax.errorbar(x + 0.05 * (i - 1), middle, yerr=spread, marker=marker, label=side, **style)


def _draw_memory(ax, x, models):
    for side in ("hand", "tuned"):
        look, marker = LOOKS[side]
        for what, style in (
            ("residuals", {"linestyle": look["linestyle"], "mfc": look["color"]}),
            ("temporary", {"linestyle": ":", "mfc": "none"}),
        ):
            ratios = [bytes_ratio(side_of(m, side)[what], m["first"]["automatic"][what]) for m in models]
            ax.plot(x, ratios, marker=marker, color=look["color"], lw=1.4, ms=5, label=f"{what} {side}", **style)
