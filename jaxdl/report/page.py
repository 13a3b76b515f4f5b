"""One self-contained HTML page of text, tables and pictures, which loads nothing else."""

import base64
from html import escape

from jaxdl.report.table import Table

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1b1b1b; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 2px solid #0b6e4f; }
figure { margin: 1.2rem 0; } figcaption { font-weight: 600; margin-bottom: .3rem; }
img { max-width: 100%; height: auto; } .wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .25rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top; }
td { white-space: nowrap; }
th.words, td.words { text-align: left; white-space: normal; }
th:first-child, td:first-child { min-width: 11rem; }
thead th { border-bottom: 2px solid #888; }
pre { background: #f6f6f6; padding: .6rem .8rem; overflow-x: auto; font-size: .84rem; }
.note { color: #555; font-size: .86rem; margin: .4rem 0; }
"""


class Page:
    """An HTML page, to which parts are added in order.

    Args:
        title: The title of the page, and its first heading.

    Example:
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

    def picture(self, png: bytes, caption: str) -> None:
        """Adds a picture, the content of a PNG file, above its caption."""
        data = base64.b64encode(png).decode()
        self.parts.append(
            f'<figure><img alt="{escape(caption)}" src="data:image/png;base64,{data}">'
            f'<p class="note">{escape(caption)}</p></figure>'
        )

    def html(self) -> str:
        """The whole page."""
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(self.title)}</title>'
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
            f"<body>{''.join(self.parts)}</body></html>"
        )
