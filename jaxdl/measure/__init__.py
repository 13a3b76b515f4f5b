"""What hand-written and automatic derivatives cost and how they differ."""

from jaxdl.measure.contrast_report import Comparison, Contrast, Difference
from jaxdl.measure.contrasting import contrast
from jaxdl.measure.differentiated import DerivativeCost, Differentiated
from jaxdl.measure.timing import Pairs, pairs, rounds

__all__ = [
    "Comparison",
    "Contrast",
    "DerivativeCost",
    "Difference",
    "Differentiated",
    "Pairs",
    "contrast",
    "pairs",
    "rounds",
]
