"""The fastest mix of derivatives, found by measurement; and which values a backward pass keeps.

```text
tune(f, *args)                   # f with the choices that make its gradient fastest
rematerialized(f, max_bytes=…)   # f with a backward pass that keeps few bytes of the forward pass
```
"""

from jaxdl.tuner.rematerializing import Rematerialized, cut, rematerialized
from jaxdl.tuner.residual_plans import PlannedValue, ResidualPlan
from jaxdl.tuner.tuned import Alternative, Decision, Tuned
from jaxdl.tuner.tuning import tune

__all__ = [
    "Alternative",
    "Decision",
    "PlannedValue",
    "Rematerialized",
    "ResidualPlan",
    "Tuned",
    "cut",
    "rematerialized",
    "tune",
]
