"""A table that prints on a terminal, in Markdown and in HTML."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table as RichTable
from rich.text import Text

from jaxdl.report.column_widths import column_groups, fitted
from jaxdl.report.console import terminal
from jaxdl.report.style import fragment


@dataclass(frozen=True)
class Table:
    """Rows of text under column names; without rows only title, note and code are shown.

    Attributes:
        title: A line above the table.
        columns: The names of the columns.
        rows: The cells, row by row.
        note: Text below the table.
        words: How many columns, from the first, are aligned to the left; the others are aligned to the right.
        code: A line of code below the note, never wrapped, so that it can be copied.

    Examples:
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
    code: str = ""

    def without_empty_columns(self) -> "Table":
        """The table without the columns that have no text in any row; the first column stays.

        Examples:
            >>> Table("", ("rule", "choice", "instead"), [("relu", "hand", "")]).without_empty_columns().columns
            ('rule', 'choice')
        """
        shown = [i for i in range(len(self.columns)) if not i or not self.rows or any(row[i] for row in self.rows)]
        pick = lambda cells: tuple(cells[i] for i in shown)
        words = sum(i < self.words for i in shown)
        return replace(self, columns=pick(self.columns), rows=[pick(row) for row in self.rows], words=words)

    def print(self, console: Console | None = None) -> None:
        """Prints the table. Columns for which the console is too narrow follow below, beside the first column again.

        Args:
            console: A console of rich; by default the standard output.
        """
        console = console or terminal()
        groups = column_groups(self.columns, self.rows, self.words, console.width) if self.rows else []
        parts = [
            Text(self.title, "italic") if self.title else None,
            *(self._rich(g, fitted(self.columns, self.rows, self.words, g, console.width)) for g in groups),
            Text(self.note, "dim") if self.note else None,
        ]
        console.print(Group(*(part for part in parts if part is not None)))
        if self.code:
            console.print(Text(self.code), soft_wrap=True)

    def _rich(self, shown: Sequence[int], widths: Sequence[int]) -> RichTable:
        table = RichTable(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for i, width in zip(shown, widths, strict=True):
            justify = "left" if i < self.words else "right"
            table.add_column(Text(self.columns[i]), justify=justify, overflow="fold", width=width)
        for row in self.rows:
            table.add_row(*(Text(row[i]) for i in shown))
        return table

    def __str__(self) -> str:
        """The table as plain text, as wide as necessary."""
        console = terminal(width=1000, color_system=None, force_jupyter=False)
        everything = range(len(self.columns))
        with console.capture() as text:
            if self.rows:
                console.print(self._rich(everything, fitted(self.columns, self.rows, self.words, everything, 1000)))
        parts = self.title, *(line.rstrip() for line in text.get().splitlines()), self.note, self.code
        return "\n".join(part for part in parts if part)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython shows without HTML."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return fragment(self.html())

    def markdown(self) -> str:
        """Columns and rows in Markdown."""
        line = lambda cells: "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"
        rule = line(["---"] * self.words + ["---:"] * (len(self.columns) - self.words))
        return "\n".join([line(self.columns), rule, *map(line, self.rows)])

    def html(self) -> str:
        """The table in HTML, with title and note. One of words alone becomes a list of its rows in a narrow window."""
        is_text = self.words == len(self.columns)
        kind = lambda i: ' class="words"' if i < self.words else ""
        name = lambda i: f' data-column="{escape(str(self.columns[i]))}"' if is_text else ""
        cells = lambda tag, row: "".join(f"<{tag}{kind(i)}{name(i)}>{escape(c)}</{tag}>" for i, c in enumerate(row))
        body = "".join(f"<tr>{cells('td', row)}</tr>" for row in self.rows)
        note = f'<p class="note">{escape(self.note)}</p>' if self.note else ""
        code = f'<div class="wide"><pre>{escape(self.code)}</pre></div>' if self.code else ""
        table = '<table class="text">' if is_text else "<table>"
        title = f"<figcaption>{escape(self.title)}</figcaption>" if self.title else ""
        head = f"<thead><tr>{cells('th', self.columns)}</tr></thead>"
        shown = f'<div class="wide">{table}{head}<tbody>{body}</tbody></table></div>' if body else ""
        return f"<figure>{title}{shown}{note}{code}</figure>"
