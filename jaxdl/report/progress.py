"""A progress bar on a terminal or in a notebook."""

import time
from html import escape
from typing import Any

from jaxdl.report.console import terminal
from jaxdl.report.numbers import number_text

OFTEN = 0.1  # seconds between two changes of a bar in a notebook


class ProgressBar:
    """A progress bar on a terminal and in a notebook, invisible elsewhere.

    It is a context manager, and is called to report progress.

    Args:
        title: The text before the bar.
        total: How much there is to do.
        quiet: Whether nothing is shown.

    Examples:
        >>> with ProgressBar("training", 10, quiet=True) as bar:
        ...     bar(1, "loss 0.5")
    """

    def __init__(self, title: str, total: float, quiet: bool = False):
        console = terminal(stderr=True)
        in_notebook = console.is_jupyter and not quiet
        self.bar: Any = _NotebookBar(title, total) if in_notebook else _TerminalBar(title, total, quiet, console)

    def __enter__(self) -> "ProgressBar":
        self.bar.start()
        return self

    def __call__(self, done: float, note: str = "", total: float | None = None) -> None:
        """Shows how much is done, and a note after the bar; a total replaces the one before."""
        self.bar.show(done, note, total)

    def __exit__(self, *error: object) -> None:
        self.bar.stop()


class _TerminalBar:
    def __init__(self, title, total, quiet, console):
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        counted = (MofNCompleteColumn(),) if isinstance(total, int) else ()
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            *counted,
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        bar = Progress(*columns, console=console, transient=True)
        bar.disable = quiet or not console.is_terminal
        if bar.disable:  # rich before 14.3 prints an empty line when a bar that is not shown stops
            self.start = self.stop = lambda: None
        else:
            self.start, self.stop = bar.start, bar.stop
        self.task, self.bar = bar.add_task(title, total=total, note=""), bar

    def show(self, done, note, total):
        self.bar.update(self.task, completed=done, note=note, total=total)


class _NotebookBar:
    def __init__(self, title, total):
        self.title, self.total = title, total
        self.handle: Any = None
        self.shown = 0.0

    def start(self):
        from IPython.display import display

        self.handle = display(_State(self.title, 0, self.total, ""), display_id=True)

    def show(self, done, note, total):
        self.total = self.total if total is None else total
        now = time.monotonic()
        if now - self.shown >= OFTEN:
            self.shown = now
            self.handle.update(_State(self.title, done, self.total, note))

    def stop(self):
        self.handle.update(_Nothing())


class _State:
    """What a notebook displays: a bar, or text where it has no HTML."""

    def __init__(self, title, done, total, note):
        self.done, self.total = done, total
        count = f"{int(done)}/{total}" if isinstance(total, int) else f"{number_text(100 * done / (total or 1))}%"
        self.title, self.text = title, f"{count} {note}".strip()

    def __repr__(self):
        return f"{self.title} {self.text}"

    def _repr_html_(self):
        bar = f'<progress max="{self.total}" value="{self.done}"></progress>'
        return f"{escape(self.title)} {bar} {escape(self.text)}"


class _Nothing:
    def __repr__(self):
        return ""

    def _repr_html_(self):
        return ""
