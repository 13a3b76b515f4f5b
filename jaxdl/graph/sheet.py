"""Equations on a sheet, set by matplotlib: no LaTeX is needed."""

import io

from matplotlib import rc_context
from matplotlib.figure import Figure

from jaxdl.graph.equations import equations, latex
from jaxdl.report import AUTOMATIC, HAND, Page

LINE, LEFT, SIZE = 0.5, 0.25, 12.0  # inches from line to line and from the left, points of a letter


def sheet(graph, kind: str) -> bytes:
    """The bytes of an SVG or PNG file: the forward pass, then the backward pass."""
    forward, backward = equations(graph)
    colours = [HAND["color"]] * len(forward) + [AUTOMATIC["color"]] * len(backward)
    height = LINE * (len(colours) + 1)
    with rc_context({"mathtext.fontset": "stix", "svg.hashsalt": "jaxdl"}):
        figure = Figure(figsize=(2, height))
        drawn = [
            figure.text(
                LEFT / 2, 1 - LINE * (k + 1) / height, f"${_large(line)}$", fontsize=SIZE, color=colour, va="center"
            )
            for k, (line, colour) in enumerate(zip([*forward, *backward], colours, strict=True))
        ]
        figure.draw_without_rendering()
        width = max(text.get_window_extent().width for text in drawn) / figure.dpi + 2 * LEFT
        figure.set_size_inches(width, height)
        for text in drawn:
            text.set_x(LEFT / width)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=160, metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def _large(line):
    """With fractions as large as what stands beside them."""
    return line.replace(r"\frac", r"\dfrac")


def derivation_page(graph) -> bytes:
    """A page with the sheet, and its LaTeX to copy."""
    found = Page(f"The derivative of {graph.name}")
    found.text("Forward, then backward: downstream = local × upstream, and contributions add.")
    found.picture(sheet(graph, "png"), f"{graph.name}, node by node")
    found.heading("In LaTeX")
    found.code(latex(graph))
    return found.html().encode()
