"""The title of an experiment's picture."""

from typing import Any

from matplotlib.figure import Figure

from jaxdl.report import png


def titled_png(figure: Figure, title: str, **style: Any) -> bytes:
    """The figure as the content of a PNG file, with a left-aligned title above all axes.

    Args:
        figure: A figure of matplotlib.
        title: The title, usually the finding in one sentence.
        **style: Further settings of `Figure.suptitle`, such as `fontsize`.
    """
    figure.suptitle(title, x=0.01, ha="left", **style)
    return png(figure)
