"""Training: an epoch of data in memory is one compiled scan, and a run that was stopped goes on where it was."""

from jaxdl.train.checkpoints import Checkpoint, CheckpointError
from jaxdl.train.checksum import checksums
from jaxdl.train.chips import CHIPS, Chip
from jaxdl.train.collectives import collectives
from jaxdl.train.descent import gradient_descent
from jaxdl.train.devices import fully_sharded, in_bfloat16, replicated
from jaxdl.train.fit import fit
from jaxdl.train.gradients import accumulated, frozen, grad_where
from jaxdl.train.interrupt import Interrupted
from jaxdl.train.nonfinite import Diverged, Trained, read_before
from jaxdl.train.plan import Plan, plan
from jaxdl.train.processes import join, launch
from jaxdl.train.steps import compiled_epoch, training_step

__all__ = [
    "CHIPS",
    "Checkpoint",
    "CheckpointError",
    "Chip",
    "Diverged",
    "Interrupted",
    "Plan",
    "Trained",
    "accumulated",
    "checksums",
    "collectives",
    "compiled_epoch",
    "fit",
    "frozen",
    "fully_sharded",
    "grad_where",
    "gradient_descent",
    "in_bfloat16",
    "join",
    "launch",
    "plan",
    "read_before",
    "replicated",
    "training_step",
]
