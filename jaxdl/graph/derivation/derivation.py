"""Both passes as equations, in each of the formats that show them."""

from __future__ import annotations

from collections.abc import Callable

from jaxdl.graph.derivation.equations import latex
from jaxdl.graph.node import AnyGraph
from jaxdl.graph.notebook import Svg
from jaxdl.report import Page, Report, inline_svg


class Derivation(Report):
    """The equations of the forward and the backward pass of a graph."""

    def __init__(self, graph: AnyGraph):
        self.graph = graph

    def _forms(self) -> dict[str, Callable[[], bytes]]:
        pictures = {f".{kind}": lambda kind=kind: self._image(kind) for kind in ("svg", "png", "pdf")}
        return pictures | {".html": self._html, ".tex": lambda: latex(self.graph).encode()}

    def svg(self) -> Svg:
        """The typeset equations for a notebook."""
        return Svg(self._image("svg").decode())

    def _image(self, kind: str) -> bytes:
        from jaxdl.graph.derivation.typesetting import typeset_equations

        return typeset_equations(self.graph, kind)

    def _on_page(self) -> str:
        """The picture in its own size, in the colours of the page."""
        from matplotlib import rc_context

        from jaxdl.graph.derivation.typesetting import STYLE, typeset

        with rc_context(STYLE):
            figure = typeset(self.graph)
            figure.patch.set_visible(False)
            return inline_svg(figure)

    def _html(self) -> bytes:
        """A page with the equations as a picture, and their LaTeX to copy."""
        name = self.graph.name
        found = Page(f"The derivative of {name}")
        found.text("Forward, then backward: downstream = local × upstream, and contributions add up.")
        found.parts.append(f'<div style="overflow-x: auto">{self._on_page()}</div>')
        found.heading("In LaTeX")
        found.code(latex(self.graph))
        return found.html().encode()
