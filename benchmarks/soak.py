"""Training on the digits, killed at random about once a minute: it must end as an unbroken run does, to the bit.

    python -m benchmarks.soak                          # an hour with kills, then as long without
    python -m benchmarks.soak --minutes 3 --every 15

A multi-layer perceptron, a checkpoint every ten epochs. Kept are the checksums of both runs' parameters, the number of
kills, and the memory of the unbroken run at some 300 of its epochs. The short form in the tests is
tests/train/test_checkpoints.py: twenty kills within seconds.
"""

import json
import multiprocessing
import os
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro

from benchmarks.results_folder import keep
from jaxdl.report import Table, bytes_text

STEPS_BETWEEN = 220  # checkpoints: ten epochs
WARM = 20  # epochs, in which memory may still grow: compiled programs, caches


def train(folder: Path, epochs: int) -> None:
    """Trains up to so many epochs, and writes each epoch's memory, and in the end the checksums, to the folder."""
    import jax
    import optax

    from jaxdl import data, nn, ops
    from jaxdl.train import Checkpoint, checksums, fit

    def watch(epoch, params):
        with open(folder / "memory", "a") as file:
            file.write(f"{resident()}\n")

    digits, loss = data.load("digits"), ops.softmax_cross_entropy_with_integer_labels
    trained = fit(
        nn.mlp(512, 512, 10), loss, (digits.train_x, digits.train_y), optax.adam(1e-3), epochs, jax.random.key(0),
        checkpoint=Checkpoint(folder / "checkpoints", every=STEPS_BETWEEN), watch=watch, quiet=True,
    )  # fmt: skip
    (folder / "end.json").write_text(json.dumps(checksums(trained.params)))


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def started(folder: Path, epochs: int) -> multiprocessing.Process:
    folder.mkdir(exist_ok=True)
    process = multiprocessing.get_context("spawn").Process(target=train, args=(folder, epochs))
    process.start()
    return process


def killed(folder: Path, seconds: float, every: float) -> int:
    """Trains for so long, killed at random moments, `every` seconds apart on average; how many times."""
    draws, end, kills = random.Random(0), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        process = started(folder, 10**6)
        process.join(min(draws.uniform(0.5, 1.5) * every, max(end - time.monotonic(), 1)))
        process.kill()
        process.join()
        kills += 1
    return kills


def epochs_in(folder: Path) -> int:
    """Up to the last checkpoint."""
    step = max((int(p.name) for p in (folder / "checkpoints").iterdir() if p.name.isdigit()), default=0)
    return step // (1437 // 64)


def main(minutes: float = 60, every: float = 60) -> None:
    """Train, kill, go on, compare.

    Args:
        minutes: How long the run with kills takes; the one without goes as far.
        every: Seconds between kills, on average.
    """
    with tempfile.TemporaryDirectory() as scratch:
        broken, whole = Path(scratch) / "killed", Path(scratch) / "whole"
        kills = killed(broken, 60 * minutes, every)
        epochs = epochs_in(broken) + 1
        ends = {}
        for folder in (broken, whole):
            started(folder, epochs).join()
            ends[folder.name] = json.loads((folder / "end.json").read_text())
        memory = np.array([int(line) for line in (whole / "memory").read_text().split()])
    same = ends["killed"] == ends["whole"]
    warm = memory[min(WARM, len(memory) - 1) :]
    growth = np.polyfit(np.arange(len(warm)), warm, 1)[0] if len(warm) > 1 else 0.0
    rows = [
        ("minutes with kills", f"{minutes:g}"), ("kills", str(kills)), ("epochs", str(epochs)),
        ("parameters at the end", "the same to the bit" if same else "DIFFERENT"),
        (f"memory after {WARM} epochs", bytes_text(int(warm[0]))), ("memory at the end", bytes_text(int(warm[-1]))),
        ("growth an epoch, fitted", f"{growth / 1000:.1f} kB"),
    ]  # fmt: skip
    some = memory[:: max(1, len(memory) // 300)].tolist()
    data = {"minutes": minutes, "kills": kills, "epochs": epochs, "same": same, "ends": ends, "memory": some}
    keep("soak", data, Table("A run killed again and again, and one without a break", ("what", "figure"), rows))


if __name__ == "__main__":
    tyro.cli(main)
