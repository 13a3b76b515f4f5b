"""A progress bar."""

from typing import Any

from jaxdl.report.console import terminal


class ProgressBar:
    """A progress bar on a terminal, invisible elsewhere; a context manager, in which it is called to report progress.

    Args:
        title: The text before the bar.
        total: How much there is to do.
        quiet: Whether nothing is shown.

    Example:
        >>> with ProgressBar("training", 10, quiet=True) as bar:
        ...     bar(1, "loss 0.5")
    """

    def __init__(self, title: str, total: float, quiet: bool = False):
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = terminal(stderr=True)
        counted = (MofNCompleteColumn(),) if isinstance(total, int) else ()
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            *counted,
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        self.bar: Any = Progress(*columns, console=console, transient=True)
        self.bar.disable = quiet or not console.is_terminal
        self.task: Any = self.bar.add_task(title, total=total, note="")

    def __enter__(self) -> "ProgressBar":
        self.bar.start()
        return self

    def __call__(self, done: float, note: str = "") -> None:
        """Shows how much is done, and a note after the bar."""
        self.bar.update(self.task, completed=done, note=note)

    def __exit__(self, *error: object) -> None:
        self.bar.stop()
