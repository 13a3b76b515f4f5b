"""`rematerialized(f)`: which values a backward pass keeps, and which it computes again."""

from jaxdl.tuner.rematerializing import Rematerialized, cut, rematerialized
from jaxdl.tuner.residual_plans import PlannedValue, ResidualPlan

__all__ = ["PlannedValue", "Rematerialized", "ResidualPlan", "cut", "rematerialized"]
