"""A graph in each of the formats that show it as a picture."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from jaxdl.graph.drawing.boxes import Box, boxes_of, opened_at_first
from jaxdl.graph.drawing.page import html
from jaxdl.graph.drawing.text_formats import dot, mermaid
from jaxdl.graph.local_gradients import compute_local_gradients
from jaxdl.graph.node import AnyGraph
from jaxdl.graph.notebook import Svg
from jaxdl.report import Report, framed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Drawing(Report):
    """A graph with the boxes that are drawn open.

    Args:
        graph: The graph.
        depth: How many levels of boxes are open; by default as many as stay legible.

    Raises:
        ValueError: The depth is no whole number, or negative.
    """

    def __init__(self, graph: AnyGraph, depth: int | None = None):
        if depth is not None and (not hasattr(depth, "__index__") or depth < 0):
            raise ValueError(f"draw: depth must be a whole number, 0 or more, or None, got {depth!r}")
        self.graph: AnyGraph = graph
        self.depth: int | None = depth

    def svg(self) -> Svg:
        """The picture for a notebook."""
        return Svg(self._image("svg").decode())

    def _repr_html_(self) -> str:
        """The interactive page, in a frame."""
        return framed(html(*self._boxes()).decode())

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """The picture as a figure of matplotlib, also saved to `path` if one is given."""
        if path is not None:
            self.save(path)
        return self._figure()

    def _figure(self) -> Figure:
        from jaxdl.graph.drawing.picture import drawn

        return drawn(*self._boxes())

    def _forms(self) -> dict[str, Callable[[], bytes]]:
        pictures = {f".{kind}": lambda kind=kind: self._image(kind) for kind in ("svg", "png", "pdf")}
        texts = {".html": html, ".dot": dot, ".mmd": mermaid}
        return pictures | {suffix: lambda form=form: form(*self._boxes()) for suffix, form in texts.items()}

    def _image(self, kind: str) -> bytes:
        from jaxdl.graph.drawing.picture import image

        return image(*self._boxes(), kind)

    def _boxes(self) -> tuple[Box, set[Box]]:
        if self.graph.has_values:
            self.graph.evaluate()
        root = boxes_of(self.graph)
        for graph in {node.graph: None for node in root.nodes}:  # also those of a loop's step, which are in boxes
            compute_local_gradients(graph)
        return root, opened_at_first(root, self.depth)
