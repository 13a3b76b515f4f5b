"""One process of a run, started by `launch`: `python -m tests.train.run_in_processes FOLDER EPOCHS [KILLED]`.

The process KILLED ends itself in the middle. The first one prints the losses on held-out data.
"""

import json
import os
import signal
import sys

import jax
import numpy as np
import optax

from jaxdl import nn, ops
from jaxdl.data import in_memory
from jaxdl.train import Checkpoint, Diverged, fit, fully_sharded
from jaxdl.train.processes import initialize_launched

MODEL = nn.mlp(256, 64, 4)
BAD = 7  # the example with a NaN


def losses(folder, epochs, killed=None):
    """The losses of two runs, on arrays and on records, with checkpoints; then the path of a step with a NaN."""
    x = np.sin(np.arange(480, dtype=np.float32)).reshape(48, 10)
    y = np.arange(48, dtype=np.int32) % 4

    def log(row):
        if row["epoch"] == 3 and jax.process_index() == killed:
            os.kill(os.getpid(), signal.SIGKILL)

    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("devices",))
    loss = ops.softmax_cross_entropy_with_integer_labels
    run = lambda name, data: fit(
        MODEL, loss, data, optax.sgd(0.1), epochs, jax.random.key(0), batch=16, test=(x, y), mesh=mesh,
        shard=fully_sharded, log=log, quiet=True, checkpoint=Checkpoint(folder / name, every=2),
    )  # fmt: skip
    for name, data in {"in memory": (x, y), "read": in_memory(x, y)}.items():
        yield [row["test_loss"] for row in run(name, data).history]
    x_bad = np.where(np.arange(48)[:, None] == BAD, np.nan, x).astype(np.float32)
    try:
        run("with a NaN", in_memory(x_bad, y))
    except Diverged as error:
        yield str(error.path)


if __name__ == "__main__":
    from pathlib import Path

    jax.config.update("jax_platforms", "cpu")
    initialize_launched()
    folder, epochs, *killed = sys.argv[1:]
    for found in losses(Path(folder), int(epochs), *map(int, killed)):
        if jax.process_index() == 0:
            print("losses", json.dumps(found), flush=True)
