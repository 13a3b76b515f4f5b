"""One self-contained HTML page of text, tables and pictures, which loads nothing else."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

from jaxdl.report.plot import inline_svg
from jaxdl.report.style import PAGE_STYLE
from jaxdl.report.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Page:
    """An HTML page, to which parts are added in order.

    Args:
        title: The title of the page, and its first heading.

    Examples:
        >>> page = Page("Results")
        >>> page.text("All tests passed.")
        >>> page.html().startswith("<!doctype html>")
        True
    """

    def __init__(self, title: str):
        self.title: str = title
        self.parts: list[str] = [f"<h1>{escape(title)}</h1>"]

    def heading(self, text: str) -> None:
        """Adds a heading."""
        self.parts.append(f"<h2>{escape(text)}</h2>")

    def text(self, text: str) -> None:
        """Adds a paragraph."""
        self.parts.append(f"<p>{escape(text)}</p>")

    def code(self, text: str) -> None:
        """Adds preformatted text."""
        self.parts.append(f"<pre>{escape(text)}</pre>")

    def table(self, table: Table) -> None:
        """Adds a table."""
        self.parts.append(table.html())

    def lead(self, text: str) -> None:
        """Adds a paragraph in bold: what the page concludes."""
        self.parts.append(f'<p class="lead">{escape(text)}</p>')

    def details(self, summary: str, *tables: Table) -> None:
        """Adds tables that are shown on a click on a line of text."""
        shown = "".join(table.html() for table in tables)
        self.parts.append(f"<details><summary>{escape(summary)}</summary>{shown}</details>")

    def picture(self, picture: Figure | bytes, caption: str) -> None:
        """Adds a picture above its caption.

        Args:
            picture: A figure of matplotlib, which gets the colours of the page, light or dark; or a PNG file's content.
            caption: What it shows.
        """
        self.parts.append(figure_html(picture, caption))

    def html(self) -> str:
        """The whole page."""
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(self.title)}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{PAGE_STYLE}</style></head>'
            f'<body class="jaxdl">{"".join(self.parts)}</body></html>'
        )


def figure_html(picture: Figure | bytes, caption: str) -> str:
    """A picture and its caption in HTML: a figure of matplotlib, or the content of a PNG file."""
    if isinstance(picture, bytes):
        data = base64.b64encode(picture).decode()
        drawn = f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
    else:
        drawn = f'<div class="wide" role="img" aria-label="{escape(caption)}">{inline_svg(picture)}</div>'
    return f'<figure>{drawn}<p class="note">{escape(caption)}</p></figure>'
