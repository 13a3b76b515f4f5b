"""Training: an epoch of data in memory is one compiled scan."""

from jaxdl.train.descent import gradient_descent
from jaxdl.train.fit import Diverged, Trained, fit

__all__ = ["Diverged", "Trained", "fit", "gradient_descent"]
