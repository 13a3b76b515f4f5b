"""Training on the digits, killed at random about once a minute: it must end like an uninterrupted run, to the bit.

    python -m benchmarks.soak                          # an hour with kills, then as long without
    python -m benchmarks.soak --minutes 3 --every 15

A multi-layer perceptron, with a checkpoint every ten epochs. The result has the checksums of both runs' parameters, the
number of kills, and the memory of the uninterrupted run at about 300 of its epochs, with the seconds since the first.
tests/train/test_resume.py is the short form: twenty kills within seconds.
"""

import json
import multiprocessing
import random
import tempfile
import time
from pathlib import Path

import numpy as np
import tyro

from benchmarks.process_memory import memory_bytes
from benchmarks.results_folder import keep
from jaxdl.report import Table, bytes_text

STEPS_BETWEEN = 220  # checkpoints: ten epochs
WARM = 300  # seconds, in which memory may still grow: compiled programs, caches, the arenas of threads


def train(folder: Path, epochs: int) -> None:
    """Trains, and writes the memory at each epoch and finally the checksums to the folder."""
    import jax
    import optax

    from jaxdl import data, nn, ops
    from jaxdl.train import Checkpoint, checksums, fit
    from jaxdl.train.checkpoints import Store

    def save(store, *args, whole=Store.save):
        start = time.perf_counter()
        whole(store, *args)
        with open(folder / "saves", "a") as file:
            file.write(f"{time.perf_counter() - start}\n")

    def watch(epoch, params):
        with open(folder / "memory", "a") as file:
            file.write(f"{time.monotonic()} {memory_bytes()}\n")

    Store.save = save
    digits, loss = data.load("digits"), ops.softmax_cross_entropy_with_integer_labels
    trained = fit(
        nn.mlp(512, 512, 10), loss, (digits.train_x, digits.train_y), optax.adam(1e-3), epochs, jax.random.key(0),
        checkpoint=Checkpoint(folder / "checkpoints", every=STEPS_BETWEEN), watch=watch, quiet=True,
    )  # fmt: skip
    (folder / "end.json").write_text(json.dumps(checksums(trained.params)))


def started(folder: Path, epochs: int) -> multiprocessing.Process:
    folder.mkdir(exist_ok=True)
    process = multiprocessing.get_context("spawn").Process(target=train, args=(folder, epochs))
    process.start()
    return process


def killed(folder: Path, seconds: float, every: float) -> int:
    """Trains for some seconds, killed every `every` seconds on average; returns the number of kills."""
    draws, end, kills = random.Random(0), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        process = started(folder, 10**6)
        process.join(min(draws.uniform(0.5, 1.5) * every, max(end - time.monotonic(), 1)))
        process.kill()
        process.join()
        kills += 1
    return kills


def save_seconds(folder: Path, count: int = 20) -> tuple[float, float]:
    """The median seconds that the run waits for a save, at its beginning (without the first) and at its end."""
    seconds = np.loadtxt(folder / "saves", ndmin=1)
    return float(np.median(seconds[1 : count + 1])), float(np.median(seconds[-count:]))


def epochs_in(folder: Path) -> int:
    """The epochs up to the last checkpoint."""
    step = max((int(p.name) for p in (folder / "checkpoints").iterdir() if p.name.isdigit()), default=0)
    return step // (1437 // 64)


def main(minutes: float = 60, every: float = 60) -> None:
    """Train, kill, resume, compare.

    Args:
        minutes: How long the run with kills takes; the other one trains as many epochs.
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
        seconds, memory = np.loadtxt(whole / "memory", unpack=True, ndmin=2)
        spent = save_seconds(whole)
    same, seconds = ends["killed"] == ends["whole"], seconds - seconds[0]
    is_warm = seconds >= min(WARM, seconds[-1] / 2)
    warm, growth = memory[is_warm], np.polyfit(seconds[is_warm], memory[is_warm], 1)[0] * 3600
    rows = [
        ("minutes with kills", f"{minutes:g}"), ("kills", str(kills)), ("epochs", str(epochs)),
        ("parameters at the end", "the same to the bit" if same else "DIFFERENT"),
        (f"memory after {seconds[is_warm][0]:.0f} s", bytes_text(int(warm[0]))),
        (f"memory at the end, after {seconds[-1]:.0f} s", bytes_text(int(warm[-1]))),
        ("growth per hour, fitted from there to the end", f"{growth / 1e6:.2f} MB"),
        ("median time of 20 saves at the end of the run over that at its beginning", f"{spent[1] / spent[0]:.2f}"),
    ]  # fmt: skip
    every = max(1, len(memory) // 300)
    some = [seconds[::every].round(1).tolist(), memory[::every].astype(int).tolist()]
    data = {"minutes": minutes, "kills": kills, "epochs": epochs, "same": same, "ends": ends, "memory": some}
    keep("soak", data, Table("A run killed again and again, and an uninterrupted one", ("what", "figure"), rows))


if __name__ == "__main__":
    tyro.cli(main)
