"""The colours of experiments' pictures, and their titles."""

from typing import Any

from matplotlib.figure import Figure

from jaxdl.report import png

# Colours of different lightness, which grey print keeps apart. `HAND` and `AUTOMATIC` of `jaxdl.report` are the colours
# of hand-written and automatic derivatives, and of nothing else.
DARK, MIDDLE, LIGHT, GREY = "#17335c", "#b5446e", "#86b6dd", "#888888"

# For lines with markers: colour, marker and dash differ.
LOOKS: tuple[dict[str, Any], ...] = (
    {"color": DARK, "marker": "o", "linestyle": "-"},
    {"color": MIDDLE, "marker": "s", "linestyle": "--"},
    {"color": LIGHT, "marker": "D", "linestyle": "-."},
    {"color": GREY, "marker": "^", "linestyle": ":"},
    {"color": "#4d8a5a", "marker": "v", "linestyle": (0, (6, 1, 1, 1, 1, 1))},
    {"color": "black", "marker": "x", "linestyle": (0, (1, 3))},
)


def titled_png(figure: Figure, title: str, **style: Any) -> bytes:
    """The figure as the content of a PNG file, with a left-aligned title above all axes.

    Args:
        figure: A figure of matplotlib.
        title: The title, usually the finding in one sentence.
        **style: Further settings of `Figure.suptitle`, such as `fontsize`.
    """
    figure.suptitle(title, x=0.01, ha="left", **style)
    return png(figure)
