"""A step that is not finite, and what it saw, so that it can be looked into."""

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding

from jaxdl.train.processes import from_first_process
from jaxdl.train.trained import Trained

KEPT = "nonfinite"  # the folder
MOST = 10  # steps that are left out and kept


class FailedStep(NamedTuple):
    """What a step saw: its number from 0, the parameters before it, its batch (x, y) and its key.

    The step is `training_step(model, loss, optimizer)(params, state, x, y, key)`; its loss alone
    `loss(model.apply(params, x, key=key), y)`, best under `jax.debug_nans`.
    """

    step: int
    params: Any
    x: Any
    y: Any
    key: jax.Array


class Diverged(FloatingPointError):
    """Loss or parameters became NaN or infinite. `trained` is what there was before that step, `before` what the step
    saw, `path` where that is kept (None where the run is not).
    """

    def __init__(self, loss: float | None, when: str, path: Path | None, trained: Trained, before: FailedStep | None):
        """loss: None where the steps of a whole epoch were left out, for different reasons."""
        kept = f"; what the step saw is in {path}, for train.load_failed_step" if path else ""
        labels, slope = "check the labels (a label outside the classes gives NaN)", "check its derivative and the rate"
        if loss is None:
            what, why = "loss, gradients and parameters are not finite together", f"{labels} and the loss's derivative"
        elif math.isfinite(loss):
            what, why = f"the loss is {loss}, but the parameters that follow are not finite,", slope
        else:
            what, why = f"the loss is {loss}", labels
        super().__init__(f"{what} at {when}: try a smaller learning rate, and {why}{kept}")
        self.trained, self.before, self.path = trained, before, path


def enough_failed_steps(folder: Path) -> bool:
    """Whether so many steps are kept under `folder` that more would tell nothing new."""
    kept = folder / KEPT
    return from_first_process(kept.is_dir() and len(list(kept.iterdir())) >= MOST)


def save_failed_step(folder: Path, before: FailedStep) -> Path:
    """Keeps it under `folder`; one that is there of the same step stays."""
    import orbax.checkpoint as ocp  # slow to import, and only needed here

    path = folder / KEPT / f"step-{before.step}"
    if not from_first_process(path.exists()):
        with ocp.StandardCheckpointer() as writer:
            writer.save(path, before._replace(key=np.asarray(jax.random.key_data(before.key)))._asdict())
    return path


def load_failed_step(path: str | os.PathLike, params: Any) -> FailedStep:
    """What `fit` kept of a step in `path`. params: like those of the model; abstract ones will do.

    Raises ValueError where the parameters are not like them. Tuples in x and y come back as lists.
    """
    import orbax.checkpoint as ocp

    path, here = Path(path).absolute(), SingleDeviceSharding(jax.devices()[0])
    with ocp.StandardCheckpointer() as reader:
        kept = reader.metadata(path).item_metadata
        types = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=here), kept.tree)
        read = reader.restore(path, types)
    found, wanted = jax.tree.leaves(read["params"]), jax.tree.leaves(params)
    if [x.shape for x in found] != [x.shape for x in wanted]:
        raise ValueError(f"the parameters of the step in {path} are not like those given")
    like = jax.tree.unflatten(jax.tree.structure(params), found)
    key = jax.random.wrap_key_data(read["key"])
    return FailedStep(int(read["step"]), like, read["x"], read["y"], key)
