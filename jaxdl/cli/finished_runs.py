"""Runs in which nothing is left to train: their history is read, and nothing is compiled."""

import dataclasses
from pathlib import Path
from typing import Any

import jax

from jaxdl.cli.settings import Settings, settings_in
from jaxdl.nn import Layer
from jaxdl.train import Checkpoint, Trained
from jaxdl.train.checkpoints import Store
from jaxdl.train.history import History
from jaxdl.train.run import HISTORY


def finished(settings: Settings, out: Path, same: dict[str, Any], steps: int, epochs: int) -> list[dict[str, Any]]:
    """The history of the run in a folder, if it has these settings and all of its steps; else nothing.

    Args:
        settings: The settings of the command; those of the run may have another number of epochs.
        out: The folder.
        same: What identifies the run, by name.
        steps: The number of steps that the command asks for.
        epochs: The number of epochs.

    Raises:
        OSError: Another run is writing to the folder.
    """
    checkpoints, kept, metrics = out / "checkpoints", out / "settings.toml", out / "metrics.jsonl"
    if not epochs or max(saved_steps(checkpoints), default=-1) != steps or not (kept.exists() and metrics.exists()):
        return []
    if dataclasses.replace(settings_in(kept), epochs=settings.epochs) != settings:
        return []
    with Store(Checkpoint(checkpoints)) as store:
        run = store.run_at(steps) or {}
    if any(run.get(name) != value for name, value in same.items() if name != "data"):  # there it is a digest
        return []
    history = History()
    history.keep_in(checkpoints / HISTORY, epochs, writes=False)
    rows, lines = [*history], metrics.read_text(encoding="utf-8").splitlines()
    return rows if len(rows) == len(lines) == epochs else []


def saved_steps(checkpoints: Path) -> list[int]:
    """The steps of which a folder holds checkpoints."""
    return [int(path.name) for path in checkpoints.glob("*") if path.name.isdigit()]


def trained_before(model: Layer, shape: tuple[int, ...], history: list[dict[str, Any]]) -> Trained:
    """A run's history with the types of its parameters."""
    return Trained(jax.eval_shape(lambda: model.init(jax.random.key(0), shape)), history)
