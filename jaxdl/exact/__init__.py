"""Values and derivatives of JAX functions in arbitrary precision, with no derivative rule in them.

evaluate     a function by the mathematical definition of its primitives
derivative   its first or second derivative along a line, from both sides: kinks, jumps and infinite slopes are known
"""

from jaxdl.exact.differentiation import Derivative, derivative
from jaxdl.exact.evaluation import evaluate
from jaxdl.exact.interpreter import UnknownPrimitive

__all__ = ["Derivative", "UnknownPrimitive", "derivative", "evaluate"]
