"""Training: an epoch of data in memory is one compiled scan."""

from jaxdl.train.descent import gradient_descent
from jaxdl.train.fit import Diverged, Trained, compiled_epoch, fit, training_step
from jaxdl.train.gradients import accumulated, frozen, grad_where

__all__ = [
    "Diverged",
    "Trained",
    "accumulated",
    "compiled_epoch",
    "fit",
    "frozen",
    "grad_where",
    "gradient_descent",
    "training_step",
]
