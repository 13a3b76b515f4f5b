"""The progress bar of a run."""

from typing import Any

from jaxdl.report import terminal


class StepsBar:
    """A progress bar of steps on a terminal, invisible elsewhere; calling it reports the steps done and the loss."""

    def __init__(self, title: str, steps: int, quiet: bool):
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = terminal(stderr=True)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[last]}"),
        )
        self.bar: Any = Progress(*columns, console=console, transient=True)
        self.bar.disable = quiet or not console.is_terminal
        self.task: Any = self.bar.add_task(title, total=steps, last="")

    def __enter__(self) -> "StepsBar":
        self.bar.start()
        return self

    def __call__(self, done: int, loss: float) -> None:
        """Shows how many steps are done, and the last loss."""
        self.bar.update(self.task, completed=done, last=f"loss {loss:.4f}")

    def __exit__(self, *error: object) -> None:
        self.bar.stop()
