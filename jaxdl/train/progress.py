"""How far a run is, on a terminal."""

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from jaxdl.report import terminal


class StepsBar:
    """A progress bar of steps on a terminal; elsewhere nothing. Calling it says how many are done, and the loss."""

    def __init__(self, title: str, steps: int, quiet: bool):
        console = terminal(stderr=True)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self.bar = Progress(*columns, TextColumn("{task.fields[last]}"), console=console, transient=True)
        self.bar.disable = quiet or not console.is_terminal
        self.task = self.bar.add_task(title, total=steps, last="")

    def __enter__(self):
        self.bar.start()
        return self

    def __call__(self, done: int, loss: float) -> None:
        self.bar.update(self.task, completed=done, last=f"loss {loss:.4f}")

    def __exit__(self, *error):
        self.bar.stop()
