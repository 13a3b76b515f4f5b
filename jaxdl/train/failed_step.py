"""A non-finite step: the error that it raises, and what the step was given, saved for inspection."""

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from jaxdl.optional_packages import install_hint
from jaxdl.train.processes import from_first_process
from jaxdl.train.trained import Trained

FOLDER = "nonfinite"
MOST_SAVED = 10  # failed steps in one run


class FailedStep(NamedTuple):
    """What a non-finite step was given, so that it can be run again.

    The step is `training_step(model, loss, optimizer)(params, state, x, y, key)`. Its loss is
    `loss(model.apply(params, x, key=key), y)`; `jax.debug_nans` finds the operation that fails.

    Attributes:
        step: The number of the step in the run, from 0.
        params: The parameters before the step.
        x: The inputs of the batch, of all processes.
        y: The targets of the batch.
        key: The step's PRNG key.
    """

    step: int
    params: Any
    x: Any
    y: Any
    key: jax.Array


class Diverged(FloatingPointError):
    """The loss or the parameters became NaN or infinite.

    Attributes:
        trained: Parameters and history before the failed step.
        before: The `FailedStep`; None if a whole epoch was skipped.
        path: Where the failed step is saved, for `load_failed_step`; None in a run without checkpoints.
    """

    trained: Trained
    before: FailedStep | None
    path: Path | None

    def __init__(self, loss: float | None, when: str, path: Path | None, trained: Trained, before: FailedStep | None):
        """Writes the message.

        Args:
            loss: The loss of the step; None if all steps of an epoch were skipped.
            when: Which step it was, for the message.
            path: Where the failed step is saved.
            trained: Parameters and history before the failed step.
            before: What the step was given.
        """
        saved = f"; the step is saved in {path}, for train.load_failed_step" if path else ""
        labels = "check the labels (a label outside the classes gives NaN)"
        if loss is None:
            what, why = "loss, gradients and parameters are not all finite", f"{labels} and the derivative of the loss"
        elif math.isfinite(loss):
            what = f"the loss is {loss}, but the new parameters are not finite,"
            why = "check the derivative of the loss and the learning rate"
        else:
            what, why = f"the loss is {loss}", labels
        super().__init__(f"{what} at {when}: try a smaller learning rate, and {why}{saved}")
        self.trained, self.before, self.path = trained, before, path


def enough_failed_steps(folder: Path) -> bool:
    """Whether `MOST_SAVED` failed steps are saved under `folder`."""
    saved = folder / FOLDER
    return from_first_process(saved.is_dir() and len(list(saved.iterdir())) >= MOST_SAVED)


def save_failed_step(folder: Path, failed: FailedStep) -> Path:
    """Saves a failed step under `folder`, unless that step is there already; returns its path."""
    import orbax.checkpoint as ocp

    path = folder / FOLDER / f"step-{failed.step}"
    if not from_first_process(path.exists()):
        with ocp.StandardCheckpointer() as writer:
            writer.save(path, failed._replace(key=np.asarray(jax.random.key_data(failed.key)))._asdict())
    return path


def load_failed_step(path: str | os.PathLike[str], params: Any) -> FailedStep:
    """Loads a non-finite step that `fit` saved.

    Args:
        path: Where it is saved: `Diverged.path`.
        params: A pytree like the model's parameters; abstract ones (`jax.eval_shape`) suffice.

    Returns:
        What the step was given. Tuples in x and y become lists.

    Raises:
        ValueError: If the saved parameters have other shapes than `params`.

    Examples:
        >>> step = load_failed_step(diverged.path, params)  # doctest: +SKIP
    """
    with install_hint("orbax-checkpoint", "train.load_failed_step"):
        import orbax.checkpoint as ocp

    path, here = Path(path).absolute(), SingleDeviceSharding(jax.devices()[0])
    with ocp.StandardCheckpointer() as reader:
        saved: Any = reader.metadata(path).item_metadata
        types = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=here), saved.tree)
        read = reader.restore(path, types)
    found, wanted = jax.tree.leaves(read["params"]), jax.tree.leaves(params)
    if [x.shape for x in found] != [x.shape for x in wanted]:
        raise ValueError(f"load_failed_step: the parameters saved in {path} have other shapes than those given")
    like = jax.tree.unflatten(jax.tree.structure(params), found)
    key = jax.random.wrap_key_data(read["key"])
    return FailedStep(int(read["step"]), like, read["x"], read["y"], key)
