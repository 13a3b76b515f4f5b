"""Runs whose derivatives are tuned: before the first step, once for the run."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.data import Records
from jaxdl.train.checkpoints import Checkpoint
from jaxdl.tuner import Tuned, tune

FILE = "tuned.json"  # beside the checkpoints


def tuned_objective(
    objective: Callable[..., jax.Array],
    params: Any,
    source: Records,
    rows: int,
    key: jax.Array,
    checkpoint: Checkpoint | None,
    quiet: bool,
) -> Tuned:
    """The objective with tuned derivatives in the parameters: those of the run, or of a new measurement.

    Args:
        objective: The function (params, x, y, key) → loss.
        params: The parameters.
        source: The data; the first rows are used.
        rows: How many rows the objective is called with.
        key: Any key.
        checkpoint: Where the run is saved; a run that is resumed has its choices there.
        quiet: Whether no progress bar is shown.

    Raises:
        ValueError: The choices of the run were measured on another device or version.
    """
    path = checkpoint and Path(checkpoint.folder) / FILE
    if path and path.exists():
        return Tuned.load(path, objective)
    x, y = jax.tree.map(jnp.asarray, source.read(np.arange(rows)))
    find = tune(objective, argnums=0, choose_compiler_options=True, quiet=quiet)
    return find(params, x, y, key)


def keep_tuned(tuned: Tuned, folder: str | os.PathLike[str]) -> None:
    """Saves the choices of a run, unless they are there."""
    path = Path(folder) / FILE
    if not path.exists():
        tuned.save(path)
