"""Training: an epoch of data in memory is one compiled scan."""

from jaxdl.train.descent import gradient_descent
from jaxdl.train.fit import Diverged, Trained, compiled_epoch, fit, training_step

__all__ = ["Diverged", "Trained", "compiled_epoch", "fit", "gradient_descent", "training_step"]
