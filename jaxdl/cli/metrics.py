"""What a run tells of itself while it goes on: lines of JSON, and files for TensorBoard."""

import json
from pathlib import Path

import jax

from jaxdl.report import plain, write_whole

COMPILED = "/jax/core/compile/backend_compile_duration"


class Metrics:
    """Called with each epoch's row, those of before a stop as well, writes it to metrics.jsonl and for TensorBoard.

    A context, in which it counts the programs that JAX compiles: `compiled`, the seconds `compiling`, and those that
    are compiled `again`, after the second epoch, when all should be known. `begin` opens its files: nothing is written
    before.
    """

    def __init__(self, folder: Path):
        self.folder, self.path, self.board = folder, folder / "metrics.jsonl", None
        self.compiled, self.compiling, self.again = 0, 0.0, 0
        self.epochs = 0  # in this process
        self.there: list[str] = []  # the file's lines when the run began
        self.told: list[str] = []  # the lines of the rows so far

    def begin(self) -> None:
        from tensorboardX import SummaryWriter  # slow to import, and only needed here

        self.there = [*_whole_lines(self.path)]
        self.known = len(self.there)
        self.board = SummaryWriter(str(self.folder / "tensorboard"))

    def __call__(self, row: dict) -> None:
        line = json.dumps(plain(row))
        if self.there is not None:
            self.told.append(line)
            if self.there[: len(self.told)] == self.told:
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
        """The file, once, with the lines of all rows so far; after that lines are appended."""
        write_whole(self.path, ("\n".join(self.told) + "\n").encode())
        self.there = self.told = None

    def __enter__(self):
        jax.monitoring.register_event_duration_secs_listener(self._heard)
        return self

    def _heard(self, event, seconds, **_):
        if event == COMPILED:
            self.compiled += 1
            self.compiling += seconds
            self.again += self.epochs >= 2

    def __exit__(self, *error):
        jax.monitoring.unregister_event_duration_listener(self._heard)
        if self.told and self.told != self.there:
            self._catch_up()
        if self.board:
            self.board.close()


def _whole_lines(path):
    """The lines up to one that was cut off, or is none of ours."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            json.loads(line)
        except ValueError:
            return
        yield line
