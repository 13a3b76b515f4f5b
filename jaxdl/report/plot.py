"""One look for all plots: readable in print and in grey."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Hand and automatic differ in colour, in lightness and in dash, so that grey print keeps them apart.
HAND: dict[str, Any] = {"color": "#0b6e4f", "linestyle": "-", "linewidth": 1.6}
AUTOMATIC: dict[str, Any] = {"color": "#e07a1f", "linestyle": (0, (4, 2)), "linewidth": 1.6}
# For further functions beside the two.
FURTHER: tuple[dict[str, Any], ...] = (
    {"color": "#3b6ea8", "linestyle": ":", "linewidth": 1.6},
    {"color": "#8c4a86", "linestyle": "-.", "linewidth": 1.6},
    {"color": "#777777", "linestyle": (0, (1, 1)), "linewidth": 1.6},
)

_STYLE: Any = {
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


@contextmanager
def figure(
    rows: int = 1, columns: int = 1, *, width: float = 7.2, height: float = 3.4, **shared: Any
) -> Iterator[tuple[Figure, Any]]:
    """A figure of matplotlib in jaxdl's style, drawn without a display.

    Args:
        rows: How many rows of axes.
        columns: How many columns of axes.
        width: In inches.
        height: In inches.
        shared: Passed on to `Figure.subplots`, such as `sharey=True`.

    Yields:
        The figure and its axes, as `Figure.subplots` returns them.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        fig = Figure(figsize=(width, height))
        FigureCanvasAgg(fig)
        yield fig, fig.subplots(rows, columns, **shared)


def picture(figure: Figure, suffix: str) -> bytes:
    """A figure as the content of a file.

    Args:
        figure: A figure of matplotlib.
        suffix: The format: `.png`, `.svg` or `.pdf`.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix.removeprefix("."))
    return buffer.getvalue()


def png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file."""
    return picture(figure, ".png")
