"""What every report of jaxdl can do: print, tabulate, draw, save and show itself in a notebook."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxdl.report.console import terminal
from jaxdl.report.files import plain, write_whole
from jaxdl.report.page import Page
from jaxdl.report.plot import picture
from jaxdl.report.style import fragment
from jaxdl.report.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

PICTURES = (".png", ".svg", ".pdf")


class Report:
    """The base of all reports.

    A subclass defines `table()` or `tables()`, and, where it has them, `to_json()` and `_figure()`. A report without
    one of these refuses the form: its `plot` raises NotImplementedError, its `save` ValueError.

    `report.print()` fits the width of the terminal; `print(report)` writes `str(report)`, whose tables are as wide as
    their cells need.
    """

    @property
    def conclusion(self) -> str:
        """What the report shows, in one sentence; empty where it draws no conclusion."""
        return ""

    def table(self) -> Table:
        """The report as one table."""
        raise NotImplementedError

    def tables(self) -> Sequence[Table]:
        """All tables of the report, in the order in which they are printed."""
        return (self.table(),)

    def to_json(self) -> Any:
        """The report as plain data: numbers, strings, lists and dictionaries."""
        raise NotImplementedError

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draws the report.

        Args:
            path: A file to write the picture to; its suffix is `.png`, `.svg` or `.pdf`.

        Returns:
            The figure, of matplotlib.

        Raises:
            ValueError: The suffix is another one.
            NotImplementedError: A report of this kind has no plot.
        """
        suffix = None if path is None else _suffix(self, path, PICTURES)
        figure = self._figure()
        if path is not None and suffix is not None:
            write_whole(path, picture(figure, suffix))
        return figure

    def _figure(self) -> Figure:
        raise NotImplementedError(f"{type(self).__name__} has no plot")

    def print(self, console: Console | None = None) -> None:
        """Prints the conclusion and all tables.

        Args:
            console: A console of rich; by default the standard output.
        """
        console = console or terminal()
        if self.conclusion:
            console.print(self.conclusion, style="bold")
        for table in self.tables():
            table.print(console)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the report to a file, whole or not at all.

        Args:
            path: The file. Its suffix chooses the form: `.json` the data, `.md` and `.txt` the tables, `.html` a page
                that needs no other file, `.png`, `.svg` and `.pdf` the plot.

        Raises:
            ValueError: The report has no form of this suffix.
        """
        forms = self._forms()
        write_whole(path, forms[_suffix(self, path, forms)]())

    def _forms(self) -> dict[str, Callable[[], bytes]]:
        """What writes each form, by suffix."""
        forms: dict[str, Callable[[], bytes]] = {
            ".txt": lambda: f"{self}\n".encode(),
            ".md": lambda: (
                "\n\n".join([*filter(None, [self.conclusion]), *(table.markdown() for table in self.tables())]).encode()
                + b"\n"
            ),
            ".html": lambda: self.html().encode(),
        }
        if _gives(self, "to_json"):
            forms[".json"] = lambda: json.dumps(plain(self.to_json()), indent=1, ensure_ascii=False).encode()
        if _gives(self, "_figure"):
            forms |= {suffix: lambda suffix=suffix: picture(self._figure(), suffix) for suffix in PICTURES}
        return forms

    def html(self) -> str:
        """The report as an HTML page that needs no other file."""
        return self._page().html()

    def _page(self) -> Page:
        first, *others = self.tables()
        page = Page(first.title)
        if self.conclusion:
            page.lead(self.conclusion)
        if _gives(self, "_figure"):
            page.picture(self._figure(), first.title)
        for table in (replace(first, title=""), *others):
            page.table(table)
        return page

    def __str__(self) -> str:
        return "\n\n".join([*filter(None, [self.conclusion]), *map(str, self.tables())])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython shows without HTML."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        lead = [f"<p><b>{escape(self.conclusion)}</b></p>"] if self.conclusion else []
        return fragment(*lead, *(table.html() for table in self.tables()))


def _gives(report: Report, name: str) -> bool:
    return getattr(type(report), name) is not getattr(Report, name)


def _suffix(report: Report, path: str | os.PathLike[str], known) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in known:
        raise ValueError(f"{type(report).__name__}: cannot write {str(path)!r}; the suffix must be {', '.join(known)}")
    return suffix
