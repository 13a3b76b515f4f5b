"""A run that is killed again and again: `python -m tests.train.run_with_kills FOLDER KILLS` prints the result.

Every run is a fork of this process, which has imported all and started nothing, so that a start takes no time.
"""

import json
import math
import os
import random
import signal
import sys
import time
from pathlib import Path

import jax
import numpy as np
import optax

from jaxdl import nn, ops
from jaxdl.train import Checkpoint, checksums, fit

EPOCHS = 70
OF_A_LIFE = 3  # epochs until a run that will be killed waits for it: a busy machine may be late to kill


def slow_saves():
    """Every file takes a tenth of a second to reach the disk, so that a save lasts until it is seen."""
    fsync = os.fsync

    def slowly(descriptor):
        time.sleep(0.1)
        fsync(descriptor)

    os.fsync = slowly


def train(folder, started, epochs):
    def report(epoch, params):
        nonlocal epochs
        os.write(started, b".")
        epochs -= 1
        if not epochs:
            time.sleep(600)

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_compilation_cache_dir", str(folder.parent / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    x = np.sin(np.arange(60, dtype=np.float32)).reshape(20, 3)
    y = x.sum(1, keepdims=True)
    model = nn.serial(nn.dense(64), nn.tanh, nn.dense(64), nn.tanh, nn.dense(1))
    trained = fit(
        model, ops.squared_error, (x, y), optax.adam(1e-3), EPOCHS, jax.random.key(0), batch=5,
        checkpoint=Checkpoint(folder, every=2), watch=report, quiet=True,
    )  # fmt: skip
    (folder / "end.json").write_text(json.dumps(checksums(trained.params)))


def forked(folder, epochs=math.inf, before=lambda: None):
    """Starts a run in a fork; returns its id and a pipe to which it writes a byte per epoch.

    After so many epochs it waits; what comes before the run is called in the fork.
    """
    read_end, write_end = os.pipe()
    process = os.fork()
    if process == 0:
        before()
        train(folder, write_end, epochs)
        os._exit(0)
    os.close(write_end)
    return process, read_end


def saving(folder):
    return any("tmp" in path.name for path in folder.iterdir())


def wait_for_a_save(folder):
    while not saving(folder):
        time.sleep(0.0005)


def main(folder, kills):
    for name in ("whole", "killed"):
        (folder / name).mkdir(parents=True)
    process, _ = forked(folder / "whole")
    os.waitpid(process, 0)
    draws, killed, cut_off = random.Random(0), 0, 0
    while not (folder / "killed" / "end.json").exists():
        if killed == kills:
            process, epochs = forked(folder / "killed")
        elif killed % 2:  # every second kill is in the middle of a save, which random moments rarely hit
            process, epochs = forked(folder / "killed", OF_A_LIFE, slow_saves)
            os.read(epochs, 1)
            wait_for_a_save(folder / "killed")
        else:
            process, epochs = forked(folder / "killed", OF_A_LIFE)
            os.read(epochs, 1)
            time.sleep(draws.uniform(0, 0.15))
        if killed < kills:
            os.kill(process, signal.SIGKILL)
            killed += 1
        os.waitpid(process, 0)
        os.close(epochs)
        cut_off += saving(folder / "killed")
    ends = {name: json.loads((folder / name / "end.json").read_text()) for name in ("whole", "killed")}
    print(json.dumps({"kills": killed, "saves cut off": cut_off, **ends}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
