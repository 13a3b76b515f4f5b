"""Equations on a sheet, set by matplotlib: no LaTeX is needed."""

import io

import numpy as np

from jaxdl.graph.derivation.equations import equations, latex
from jaxdl.report import AUTOMATIC, HAND, Page

LINE, GAP, MARGIN = 0.4, 0.12, 0.25  # inches from line to line at least, between lines, and around all
SIZE = 12.0  # points of a letter


def sheet(graph, kind: str) -> bytes:
    """The bytes of an SVG or PNG file: the forward pass, then the backward pass."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    forward, backward = equations(graph)
    colours = [HAND["color"]] * len(forward) + [AUTOMATIC["color"]] * len(backward)
    with rc_context({"mathtext.fontset": "stix", "svg.hashsalt": "jaxdl"}):
        figure = Figure()
        drawn = [
            figure.text(0, 0, f"${_large(line)}$", fontsize=SIZE, color=colour, va="bottom")
            for line, colour in zip([*forward, *backward], colours, strict=True)
        ]
        figure.draw_without_rendering()
        extents = [text.get_window_extent() for text in drawn]
        width = max(extent.width for extent in extents) / figure.dpi + 2 * MARGIN
        heights = [max(extent.height / figure.dpi + GAP, LINE) for extent in extents]
        height = sum(heights) + 2 * MARGIN
        figure.set_size_inches(width, height)
        bottoms = height - MARGIN - np.cumsum(heights)
        for text, bottom, extent, taken in zip(drawn, bottoms, extents, heights, strict=True):
            text.set_position((MARGIN / width, (bottom + (taken - extent.height / figure.dpi) / 2) / height))
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
