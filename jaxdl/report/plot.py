"""One look for all plots: readable in print and in grey."""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jaxdl.report.style import fragment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Hand and automatic differ in colour, in lightness and in dash, so that grey print keeps them apart.
HAND: dict[str, Any] = {"color": "#0b6e4f", "linestyle": "-", "linewidth": 1.6}
AUTOMATIC: dict[str, Any] = {"color": "#e07a1f", "linestyle": (0, (4, 2)), "linewidth": 1.6}
AUTOMATIC_TEXT = "#b3500a"  # darker than lines, so that text in grey is not light
# For further functions beside the two.
FURTHER: tuple[dict[str, Any], ...] = (
    {"color": "#3b6ea8", "linestyle": ":", "linewidth": 1.6},
    {"color": "#8c4a86", "linestyle": "-.", "linewidth": 1.6},
    {"color": "#777777", "linestyle": (0, (1, 1)), "linewidth": 1.6},
)

INK, PAPER, LINE = "#1b1b1b", "#ffffff", "#dddddd"

# The names that these colours have in the style sheet of a page, where they are others in dark mode.
_NAMES = {
    **dict.fromkeys((INK, "#000000", "#333333"), "ink"),
    **dict(zip((PAPER, LINE), ("paper", "line"), strict=True)),
    HAND["color"]: "hand",
    AUTOMATIC["color"]: "automatic",
    AUTOMATIC_TEXT: "automatic-text",
    **{style["color"]: name for style, name in zip(FURTHER, ("third", "fourth", "fifth"), strict=True)},
}

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
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


@contextmanager
def figure(
    rows: int = 1, columns: int = 1, *, width: float = 7.2, height: float = 3.4, **shared: Any
) -> Iterator[tuple[Figure, Any]]:
    """A figure of matplotlib in jaxdl's style, drawn without a display. A notebook shows it in its own theme.

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

    with rc_context(_STYLE):
        fig = _figure_class()(figsize=(width, height))
        yield fig, fig.subplots(rows, columns, **shared)


@functools.cache
def _figure_class():
    """A class of figures that a notebook shows, also where pyplot was not imported; matplotlib is imported late."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class ShownFigure(Figure):
        def __init__(self, *args: Any, **settings: Any):
            super().__init__(*args, **settings)
            FigureCanvasAgg(self)

        def _repr_html_(self) -> str:
            return fragment(f'<div class="wide">{inline_svg(self)}</div>')

    return ShownFigure


def inline_svg(figure: Figure) -> str:
    """A figure as an SVG element for an HTML page, in the colours of the page's style sheet.

    Args:
        figure: A figure of matplotlib.
    """
    svg = picture(figure, ".svg").decode()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg)
    colours = "|".join(_NAMES)
    return re.sub(colours, lambda found: f"var(--{_NAMES[found[0]]})", svg).replace(
        "<svg ", '<svg fill="currentColor" '
    )


def picture(figure: Figure, suffix: str, dpi: float | None = None) -> bytes:
    """A figure as the content of a file: the same bytes for the same figure.

    Args:
        figure: A figure of matplotlib.
        suffix: The format: `.png`, `.svg` or `.pdf`.
        dpi: Pixels per inch of a PNG; by default those of matplotlib's settings.
    """
    from matplotlib import rc_context

    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "jaxdl"}):
        figure.savefig(buffer, format=suffix.removeprefix("."), dpi=dpi, metadata=dates.get(suffix))
    return buffer.getvalue()


def png(figure: Figure) -> bytes:
    """A figure as the content of a PNG file."""
    return picture(figure, ".png")
