"""Equations typeset by matplotlib; LaTeX is not needed."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

from jaxdl.graph.derivation.equations import equations_of
from jaxdl.graph.node import AnyGraph
from jaxdl.report import AUTOMATIC_TEXT, HAND, picture

LINE, GAP, MARGIN = 0.4, 0.12, 0.25  # inches: the least height of a line, between lines, and around all
SIZE = 12.0  # font size in points
STYLE: Any = {"mathtext.fontset": "stix"}


def typeset_equations(graph: AnyGraph, kind: str) -> bytes:
    """The bytes of an SVG, PNG or PDF file: the forward pass, then the backward pass."""
    with rc_context(STYLE):
        return picture(typeset(graph), f".{kind}", dpi=160)


def typeset(graph: AnyGraph) -> Figure:
    """The equations as a figure."""
    forward, backward = equations_of(graph)
    colours = [HAND["color"]] * len(forward) + [AUTOMATIC_TEXT] * len(backward)
    with rc_context(STYLE):
        figure = Figure()
        drawn = [
            figure.text(0, 0, f"${_with_large_fractions(line)}$", fontsize=SIZE, color=colour, va="bottom")
            for line, colour in zip([*forward, *backward], colours, strict=True)
        ]
        figure.draw_without_rendering()
        extents = [text.get_window_extent() for text in drawn]
        width = max(extent.width for extent in extents) / figure.dpi + 2 * MARGIN
        heights = [max(extent.height / figure.dpi + GAP, LINE) for extent in extents]
        height = sum(heights) + 2 * MARGIN
        figure.set_size_inches(width, height)
        bottoms = height - MARGIN - np.cumsum(heights)
        for text, bottom, extent, height_of_line in zip(drawn, bottoms, extents, heights, strict=True):
            text.set_position((MARGIN / width, (bottom + (height_of_line - extent.height / figure.dpi) / 2) / height))
    return figure


def _with_large_fractions(line):
    return line.replace(r"\frac", r"\dfrac")
