"""A table that prints on a terminal, in Markdown and in HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from jaxdl.report.console import terminal


@dataclass(frozen=True)
class Table:
    """Rows of text under column names.

    Attributes:
        title: A line above the table.
        columns: The names of the columns.
        rows: The cells, row by row.
        note: Text below the table.
        words: How many columns, from the first, are aligned to the left; the others are aligned to the right.

    Example:
        >>> print(Table("", ("op", "FLOPs"), [("dense", "1.2 k")]).markdown())
        | op | FLOPs |
        | --- | ---: |
        | dense | 1.2 k |
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    words: int = 1

    def rich(self) -> RichTable:
        """The table for a console of rich."""
        look = {"title_justify": "left", "caption_justify": "left", "box": SIMPLE_HEAD, "padding": (0, 1, 0, 0)}
        table = RichTable(
            title=Text(self.title) if self.title else None, caption=Text(self.note) if self.note else None, **look
        )
        for i, column in enumerate(self.columns):
            table.add_column(Text(column), justify="left" if i < self.words else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table

    def print(self, console: Console | None = None) -> None:
        """Prints the table.

        Args:
            console: A console of rich; by default the standard output.
        """
        (console or terminal()).print(self.rich())

    def __str__(self) -> str:
        """The table as plain text, as wide as necessary."""
        console = terminal(width=1000, color_system=None)
        with console.capture() as text:
            console.print(replace(self, title="", note="").rich())
        parts = self.title, *(line.rstrip() for line in text.get().splitlines()), self.note
        return "\n".join(part for part in parts if part)

    def markdown(self) -> str:
        """Columns and rows in Markdown."""
        line = lambda cells: "| " + " | ".join(cells) + " |"
        rule = line(["---"] * self.words + ["---:"] * (len(self.columns) - self.words))
        return "\n".join([line(self.columns), rule, *map(line, self.rows)])

    def html(self) -> str:
        """The table in HTML, with title and note."""
        kind = lambda i: ' class="words"' if i < self.words else ""
        cells = lambda tag, row: "".join(f"<{tag}{kind(i)}>{escape(c)}</{tag}>" for i, c in enumerate(row))
        body = "".join(f"<tr>{cells('td', row)}</tr>" for row in self.rows)
        note = f'<p class="note">{escape(self.note)}</p>' if self.note else ""
        title = f"<figcaption>{escape(self.title)}</figcaption>" if self.title else ""
        return (
            f'<figure>{title}<div class="wide"><table><thead><tr>'
            f"{cells('th', self.columns)}</tr></thead><tbody>{body}</tbody></table></div>{note}</figure>"
        )
