"""What a run tells of itself while it goes on: lines of JSON, and files for TensorBoard."""

import json
from pathlib import Path

import jax

from jaxdl.report import plain, write_whole

COMPILED = "/jax/core/compile/backend_compile_duration"


class Metrics:
    """Called with each epoch's row, those of before a stop as well, writes it to metrics.jsonl and for TensorBoard.

    A context, in which it counts the programs that JAX compiles: `compiled`, the seconds `compiling`, and those that
    are compiled `again`, after the second epoch, when all should be known.
    """

    def __init__(self, folder: Path):
        from tensorboardX import SummaryWriter  # slow to import, and only needed here

        self.path = folder / "metrics.jsonl"
        self.known = len(self.path.read_text().splitlines()) if self.path.exists() else 0
        self.lines: list[str] = []
        self.board = SummaryWriter(str(folder / "tensorboard"))
        self.compiled, self.compiling, self.again = 0, 0.0, 0
        self.epochs = 0  # in this process

    def __call__(self, row: dict) -> None:
        self.lines.append(json.dumps(plain(row)))
        write_whole(self.path, ("\n".join(self.lines) + "\n").encode())
        if len(self.lines) > self.known:
            self.epochs += 1
            for name in row.keys() - {"epoch"}:
                self.board.add_scalar(name, row[name], row["epoch"])
            self.board.flush()

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
        self.board.close()
