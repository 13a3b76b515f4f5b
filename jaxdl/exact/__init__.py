"""Values and derivatives of JAX functions in arbitrary precision. No derivative rule is used.

```text
evaluate     a function by the mathematical definition of its primitives
derivative   its first or second derivative along a line, from both sides, with kinks and jumps
```
"""

from jaxdl.exact.differentiation import Derivative, derivative
from jaxdl.exact.evaluation import evaluate
from jaxdl.exact.interpreter import UnknownPrimitive

__all__ = ["Derivative", "UnknownPrimitive", "derivative", "evaluate"]
