"""The metrics of a run: lines of JSON, and files for TensorBoard."""

import json
import time
from pathlib import Path
from typing import Any

import jax

from jaxdl.report import plain, write_whole

COMPILED = "/jax/core/compile/backend_compile_duration"


class Metrics:
    """Writes each epoch's row to metrics.jsonl and for TensorBoard when it is called with it.

    A resumed run calls it with the rows of earlier epochs too. Nothing is written before `begin`. As a context manager
    it counts the programs that JAX compiles.

    Attributes:
        compiled: The number of programs that were compiled.
        compiling: The seconds that this took.
        again: The number of programs that were compiled after the second epoch, when all should have been.
    """

    def __init__(self, folder: Path):
        self.folder: Path = folder
        self.path: Path = folder / "metrics.jsonl"
        self.board: Any = None  # a tensorboardX.SummaryWriter
        self.compiled: int = 0
        self.compiling: float = 0.0
        self.again: int = 0
        self.epochs: int = 0  # of this process
        self.there: list[str] | None = []  # the file's lines when the run began; None once the file is complete
        self.lines: list[str] = []  # of the rows so far

    def begin(self) -> None:
        """Opens the files."""
        from tensorboardX import SummaryWriter  # slow to import, and only needed here

        self.there = [*_whole_lines(self.path)]
        self.known: int = len(self.there)
        # Its file names only tell seconds apart: a run that is resumed sooner would replace the first file.
        self.board = SummaryWriter(str(self.folder / "tensorboard"), filename_suffix=f".{time.time_ns()}")

    def __call__(self, row: dict[str, Any]) -> None:
        line = json.dumps(plain(row))
        if self.there is not None:
            self.lines.append(line)
            if self.there[: len(self.lines)] == self.lines:
                return
            if row["epoch"] <= self.known:  # more rows from before a stop may follow
                return
            self._catch_up()
        else:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(line + "\n")
        self.epochs += 1
        for name in row.keys() - {"epoch"}:
            self.board.add_scalar(name, row[name], row["epoch"])
        self.board.flush()

    def _catch_up(self):
        """Writes the lines of all rows so far; later lines are appended."""
        write_whole(self.path, ("\n".join(self.lines) + "\n").encode())
        self.there, self.lines = None, []

    def __enter__(self) -> "Metrics":
        jax.monitoring.register_event_duration_secs_listener(self._heard)
        return self

    def _heard(self, event: str, duration_secs: float, **_: str | int) -> None:
        if event == COMPILED:
            self.compiled += 1
            self.compiling += duration_secs
            self.again += self.epochs >= 2

    def __exit__(self, *error: object) -> None:
        jax.monitoring.unregister_event_duration_listener(self._heard)
        if self.lines and self.lines != self.there:
            self._catch_up()
        if self.board:
            self.board.close()


def _whole_lines(path):
    """The lines before the first that is not JSON."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            json.loads(line)
        except ValueError:
            return
        yield line
