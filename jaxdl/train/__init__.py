"""Training: `fit`, its checkpoints, and runs on many devices or in many processes."""

from jaxdl.train.checkpoints import Checkpoint, CheckpointError
from jaxdl.train.checksum import checksums
from jaxdl.train.chips import CHIPS, Chip
from jaxdl.train.compiled_collectives import Collective, collectives
from jaxdl.train.descent import gradient_descent
from jaxdl.train.devices import fully_sharded, in_bfloat16, replicated
from jaxdl.train.failed_step import Diverged, FailedStep, load_failed_step
from jaxdl.train.gradients import accumulated, frozen, grad_where
from jaxdl.train.interrupt import Interrupted
from jaxdl.train.memory_plan import MemoryPlan, plan
from jaxdl.train.processes import initialize, launch
from jaxdl.train.steps import compiled_epoch, training_step
from jaxdl.train.trained import Trained
from jaxdl.train.training_loop import fit

__all__ = [
    "CHIPS",
    "Checkpoint",
    "CheckpointError",
    "Chip",
    "Collective",
    "Diverged",
    "FailedStep",
    "Interrupted",
    "MemoryPlan",
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
    "initialize",
    "launch",
    "load_failed_step",
    "plan",
    "replicated",
    "training_step",
]
