"""One look for all plots: readable in print and in grey."""

import io
from contextlib import contextmanager

import matplotlib

# Hand and automatic differ in colour, in lightness and in dash, so that grey print keeps them apart.
HAND = {"color": "#0b6e4f", "linestyle": "-", "linewidth": 1.6}
AUTOMATIC = {"color": "#e07a1f", "linestyle": (0, (4, 2)), "linewidth": 1.6}

_STYLE = {
    "figure.dpi": 110,
    "savefig.dpi": 150,
    "font.size": 10,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}


@contextmanager
def figure(rows: int = 1, columns: int = 1, *, width: float = 7.2, height: float = 3.4, **shared):
    """Gives (figure, axes) in the house's style, without a display; `shared` goes to `subplots`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        fig = Figure(figsize=(width, height))
        FigureCanvasAgg(fig)
        yield fig, fig.subplots(rows, columns, **shared)


def png(fig) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    return buffer.getvalue()
