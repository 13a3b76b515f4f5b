"""Training steps and epochs: jaxdl by hand and automatic, Flax, Equinox, PyTorch eager and compiled.

    python -m benchmarks.training [--model NAME] [--rounds N]       (needs the extra `peers`)

Four models (`benchmarks/twins.py`) on all 1,797 digits in batches of 64, 28 steps an epoch, Adam with the same rate
everywhere. A step is a compiled (or eager) update on one batch that is on the device; an epoch is what each library's
users write: jaxdl's compiled scan, and for Flax, Equinox and PyTorch a loop that slices batches from the data (of the
deep autoencoder, four of 28 batches are timed). The libraries take turns in one process with the same number of
threads, in alternating order; figures are median ratios. Peak memory is that of an epoch in a separate process, above
the memory between epochs.
"""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from benchmarks.process_memory import PEAK, forget_peak, memory_bytes
from benchmarks.results_folder import keep
from benchmarks.twins import TASKS, channels_first, equinox_module, flax_module, torch_module
from jaxdl import automatic, nn, ops
from jaxdl.data import load
from jaxdl.report import Table, bytes_text, ratio_text, seconds_text
from jaxdl.train import compiled_epoch, training_step

BATCH, RATE, STEPS, WARM, SECONDS = 64, 1e-3, 28, 1, 30


class Side(NamedTuple):
    """step() makes one step and waits for it; epoch(batches) makes one epoch and returns its mean loss."""

    step: Callable
    epoch: Callable
    parameters: int


def by_jaxdl(task, x, y, transform=lambda f: f) -> Side:
    model, optimizer = nn.with_function(task.model, transform), optax.adam(RATE)
    loss = transform(ops.squared_error if task.reconstructs else ops.softmax_cross_entropy_with_integer_labels)
    params = task.model.init(jax.random.key(0), x.shape[1:])
    x, y, key = jnp.asarray(x), jnp.asarray(y), jax.random.key(1)
    step, run = jax.jit(training_step(model, loss, optimizer)), compiled_epoch(model, loss, optimizer)
    state, first = [params, optimizer.init(params)], (x[:BATCH], y[:BATCH])

    def one_step():
        *state[:], value = step(*state, *first, key)
        value.block_until_ready()

    def epoch(batches):
        *state[:], losses = run(*state, x, y, batches, key)
        return float(losses.mean())

    return Side(one_step, epoch, nn.parameter_count(params))


def by_jaxdl_automatic(task, x, y) -> Side:
    return by_jaxdl(task, x, y, automatic)


def by_flax(task, x, y) -> Side:
    module = flax_module(task.rows)
    params = module.init(jax.random.key(0), x[:1])
    return _by_jitted_steps(task, params, module.apply, x, y)


def by_equinox(task, x, y) -> Side:
    import equinox as eqx

    params, static = eqx.partition(equinox_module(task.rows), eqx.is_inexact_array)
    apply = lambda params, x: jax.vmap(eqx.combine(params, static))(x)
    y = channels_first(y) if task.reconstructs else y
    return _by_jitted_steps(task, params, apply, channels_first(x), y)


def _by_jitted_steps(task, params, apply, x, y):
    optimizer = optax.adam(RATE)

    def loss(params, x, y):
        output = apply(params, x)
        if task.reconstructs:
            return optax.squared_error(output, y).mean()
        return optax.softmax_cross_entropy_with_integer_labels(output, y).mean()

    @jax.jit
    def step(params, state, x, y):
        value, gradients = jax.value_and_grad(loss)(params, x, y)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state, value

    state = [params, optimizer.init(params)]
    first = jnp.asarray(x[:BATCH]), jnp.asarray(y[:BATCH])

    def one_step():
        *state[:], value = step(*state, *first)
        value.block_until_ready()

    def epoch(batches):
        losses = []
        for rows in batches:
            *state[:], value = step(*state, x[rows], y[rows])
            losses.append(value)
        return float(np.mean(jax.device_get(losses)))

    return Side(one_step, epoch, nn.parameter_count(params))


def by_torch(task, x, y, compiled=False) -> Side:
    import torch

    torch.set_num_threads(os.cpu_count())
    model = torch_module(task.rows)
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True)
    run = torch.compile(model) if compiled else model
    loss = torch.nn.MSELoss() if task.reconstructs else torch.nn.CrossEntropyLoss()
    x = torch.from_numpy(channels_first(x))
    y = torch.from_numpy(channels_first(y)) if task.reconstructs else torch.from_numpy(y).long()
    first = x[:BATCH].clone(), y[:BATCH].clone()

    def step(x, y):
        optimizer.zero_grad()
        value = loss(run(x), y)
        value.backward()
        optimizer.step()
        return value.detach()

    def epoch(batches):
        return float(torch.stack([step(x[rows], y[rows]) for rows in torch.from_numpy(batches)]).mean())

    return Side(lambda: step(*first), epoch, sum(p.numel() for p in model.parameters()))


def by_torch_compiled(task, x, y) -> Side:
    return by_torch(task, x, y, compiled=True)


SIDES = {
    "jaxdl": by_jaxdl,
    "jaxdl, automatic": by_jaxdl_automatic,
    "Flax and optax": by_flax,
    "Equinox and optax": by_equinox,
    "PyTorch, eager": by_torch,
    "PyTorch, compiled": by_torch_compiled,
}


def task_data(task) -> tuple[np.ndarray, np.ndarray]:
    """All digits at the size that the model takes, and the targets."""
    digits = load("digits", size=task.size)
    x = np.concatenate([digits.train_x, digits.test_x])
    return x, x if task.reconstructs else np.concatenate([digits.train_y, digits.test_y])


def shuffled(task, x, seed) -> np.ndarray:
    """The rows of each batch, (steps, BATCH)."""
    order = np.random.default_rng(seed).permutation(len(x))
    return order[: task.batches * BATCH].reshape(-1, BATCH)


def in_turns(runs: dict[str, Callable], rounds: int, seconds: float = SECONDS) -> dict[str, np.ndarray]:
    """The seconds of each run, round by round, for up to `seconds`; the first round, which compiles, is dropped."""
    times, end = {name: [] for name in runs}, None
    for i in range(rounds + WARM):
        if i == WARM:
            end = time.perf_counter() + seconds
        if i > WARM + 2 and time.perf_counter() > end:
            break
        for name in list(runs)[:: 1 if i % 2 else -1]:
            start = time.perf_counter()
            runs[name](i)
            times[name].append(time.perf_counter() - start)
    return {name: np.array(t[WARM:]) for name, t in times.items()}


def measure(name: str, rounds: int) -> dict:
    """For each library: seconds of a step and of an epoch, their ratios to jaxdl's, the last loss, peak memory."""
    task = TASKS[name]
    x, y = task_data(task)
    sides, losses = {}, {}
    for side, make in SIDES.items():
        try:
            sides[side] = make(task, x, y)
            sides[side].step()
        except Exception as error:  # libraries raise errors of any kind
            sides.pop(side, None)
            print(f"{name}: {side} is skipped: {type(error).__name__}: {str(error).splitlines()[0]}")
    counts = {side: s.parameters for side, s in sides.items()}
    assert len(set(counts.values())) == 1, f"{name}: the twins are not the same model: {counts}"

    def epoch_of(side):
        def run(i):
            losses[side] = sides[side].epoch(shuffled(task, x, i))

        return run

    steps = in_turns({side: lambda i, s=s: s.step() for side, s in sides.items()}, 6 * rounds)
    epochs = in_turns({side: epoch_of(side) for side in sides}, rounds)
    ratio = lambda times, side: float(np.median(times[side] / times["jaxdl"]))
    return {
        side: {
            "parameters": counts[side],
            "step": float(np.median(steps[side])),
            "epoch": float(np.median(epochs[side])) * STEPS / task.batches,
            "step_ratio": ratio(steps, side),
            "epoch_ratio": ratio(epochs, side),
            "loss": losses[side],
            "memory": memory_of(name, side),
        }
        for side in sides
    }


def memory_of(model: str, side: str) -> int:
    """Peak bytes of a second epoch in a new process, above what it holds after the first."""
    command = [sys.executable, "-m", "benchmarks.training", "--memory", model, side]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(result.stdout.split()[-1])


def print_memory(model: str, side: str) -> None:
    """Prints what `memory_of` reads from a new process."""
    task = TASKS[model]
    x, y = task_data(task)
    run = SIDES[side](task, x, y).epoch
    run(shuffled(task, x, 0))
    ctypes.CDLL(None).malloc_trim(0)
    forget_peak()
    between = memory_bytes()
    run(shuffled(task, x, 1))
    print(memory_bytes(PEAK) - between)


def table(data: dict) -> Table:
    """One row per model and library."""
    rows = [
        (
            model if side == "jaxdl" else "", side,
            seconds_text(m["step"]), ratio_text(m["step_ratio"]),
            seconds_text(m["epoch"]), ratio_text(m["epoch_ratio"]),
            bytes_text(m["memory"]), f"{m['loss']:.4f}",
        )
        for model, sides in data.items()
        for side, m in sides.items()
    ]  # fmt: skip
    columns = ("model", "library", "step", "its ratio", "epoch", "its ratio", "peak memory", "loss at the end")
    return Table("Training on the digits, batches of 64", columns, rows, summary(data), words=2)


def summary(data: dict) -> str:
    """jaxdl against each library, geometric means over the models."""
    others = [side for side in SIDES if side != "jaxdl"]
    parts = []
    for side in others:
        for what in ("step", "epoch"):
            ratios = [sides[side][f"{what}_ratio"] for sides in data.values() if side in sides]
            if ratios:
                mean = float(np.exp(np.mean(np.log(ratios))))
                parts.append(f"{side}, {what}: {ratio_text(mean)}, at least {ratio_text(min(ratios))}")
    return "Ratios: its time over jaxdl's, the median of rounds. Geometric means: " + "; ".join(parts) + "."


def main(model: str = "all", rounds: int = 9, memory: tuple[str, str] | None = None) -> None:
    """Measure, print and keep the table.

    Args:
        model: One of the four models, or all.
        rounds: Epochs of each library; there are six times as many steps.
        memory: A model and a library, of which only the peak memory is printed.
    """
    if memory:
        return print_memory(*memory)
    data = {name: measure(name, rounds) for name in (TASKS if model == "all" else [model])}
    if model == "all":
        return keep("training", data, table(data))
    return table(data).print()


if __name__ == "__main__":
    tyro.cli(main)
