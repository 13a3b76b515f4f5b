"""What every report of jaxdl can do: print, tabulate, draw, save and show itself in a notebook."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxdl.report.files import plain, write_whole
from jaxdl.report.page import Page
from jaxdl.report.table import Table
from jaxdl.report.terminal import terminal

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

PICTURES = (".png", ".svg", ".pdf")


class Report:
    """The base of all reports. A subclass defines `table()` or `tables()`, and `to_json()` and `_figure()` if it can.

    `save` writes the form that the suffix of a path names: `.json` the data, `.md` and `.txt` the tables, `.html` a
    page that needs no other file, `.png`, `.svg` and `.pdf` the plot.
    """

    def table(self) -> Table:
        """The report as one table."""
        raise NotImplementedError

    def tables(self) -> Sequence[Table]:
        """All tables of the report, in the order in which they are printed."""
        return (self.table(),)

    def to_json(self) -> Any:
        """The report as plain data: numbers, strings, lists and dictionaries."""
        raise NotImplementedError

    def plot(self, path: str | os.PathLike | None = None) -> Figure:
        """Draws the report.

        Args:
            path: where to save the picture as well; the suffix chooses PNG, SVG or PDF.

        Returns:
            The figure of matplotlib.
        """
        figure = self._figure()
        if path is not None:
            suffix = _suffix(self, path, PICTURES)
            write_whole(path, picture(figure, suffix))
        return figure

    def _figure(self) -> Figure:
        raise NotImplementedError

    def print(self, console: Console | None = None) -> None:
        """Prints all tables, on the standard output or on a console of rich."""
        console = console or terminal()
        for table in self.tables():
            table.print(console)

    def save(self, path: str | os.PathLike) -> None:
        """Writes the report to a file, whole or not at all, in the form that the suffix of the path names.

        Raises:
            ValueError: if the suffix names no form that this report has.
        """
        forms = self._forms()
        write_whole(path, forms[_suffix(self, path, forms)]())

    def _forms(self) -> dict[str, Callable[[], bytes]]:
        """What writes each form, by suffix."""
        forms: dict[str, Callable[[], bytes]] = {
            ".txt": lambda: f"{self}\n".encode(),
            ".md": lambda: "\n\n".join(table.markdown() for table in self.tables()).encode() + b"\n",
            ".html": lambda: self._page().html().encode(),
        }
        if _gives(self, "to_json"):
            forms[".json"] = lambda: json.dumps(plain(self.to_json()), indent=1, ensure_ascii=False).encode()
        if _gives(self, "_figure"):
            forms |= {suffix: lambda suffix=suffix: picture(self._figure(), suffix) for suffix in PICTURES}
        return forms

    def _page(self) -> Page:
        tables = self.tables()
        page = Page(tables[0].title)
        if _gives(self, "_figure"):
            page.picture(picture(self._figure(), ".png"), tables[0].title)
        for table in tables:
            page.table(table)
        return page

    def __str__(self) -> str:
        return "\n\n".join(map(str, self.tables()))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return "".join(table.html() for table in self.tables())


def picture(figure: Figure, suffix: str) -> bytes:
    """A figure as the bytes of a file of the format that a suffix names."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix.removeprefix("."))
    return buffer.getvalue()


def _gives(report: Report, name: str) -> bool:
    return getattr(type(report), name) is not getattr(Report, name)


def _suffix(report: Report, path: str | os.PathLike, known) -> str:
    suffix = Path(path).suffix.lower()
    if suffix not in known:
        raise ValueError(f"{type(report).__name__}: cannot write {str(path)!r}; the suffix must be {', '.join(known)}")
    return suffix
