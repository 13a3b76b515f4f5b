"""What hand-written and automatic derivatives cost and how they differ."""

from jaxdl.measure.comparison import Comparison, Contrast, Difference, contrast
from jaxdl.measure.differentiated import Cost, Differentiated
from jaxdl.measure.timing import Pairs, pairs

__all__ = ["Comparison", "Contrast", "Cost", "Difference", "Differentiated", "Pairs", "contrast", "pairs"]
