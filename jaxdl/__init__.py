"""jaxdl: every operation has two derivatives, one written by hand and one derived by JAX.

```text
op, saving         write an operation with its rule
audit(f)           which derivatives are wrong, and which witness says so
contrast(f)        what the two derivatives cost and how they differ
tune(f)            f with the fastest mix of the two on this machine
rematerialized(f)  f with a backward pass that keeps few bytes of the forward pass
rules(f)           the hand-written rules that f calls
automatic(f)       f without hand-written rules
stock(f)           f with functions of jax.nn, jax.numpy and lax in place of operations
trace(f)           the computation as a graph, with values forward and gradients backward
source(f)          the derivative as Python, in the form of a rule
```
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxdl import data as data
    from jaxdl import exact as exact
    from jaxdl import interop as interop
    from jaxdl import jacobian as jacobian
    from jaxdl import nn as nn
    from jaxdl import ops as ops
    from jaxdl import testing as testing
    from jaxdl import train as train
    from jaxdl.auditor import audit
    from jaxdl.graph import source, trace
    from jaxdl.measure import contrast
    from jaxdl.rule import Op, op, saving
    from jaxdl.strip import Site, automatic, rules, stock
    from jaxdl.tuner import Tuned, rematerialized, tune

__version__ = "0.2.0"
__all__ = [
    "Op",
    "Site",
    "Tuned",
    "audit",
    "automatic",
    "contrast",
    "op",
    "rematerialized",
    "rules",
    "saving",
    "source",
    "stock",
    "trace",
    "tune",
]

_MODULES = ["data", "exact", "interop", "jacobian", "nn", "ops", "testing", "train"]
_ROOMS = {
    "Op": "rule",
    "Site": "strip",
    "audit": "auditor",
    "automatic": "strip",
    "contrast": "measure",
    "op": "rule",
    "rematerialized": "tuner",
    "rules": "strip",
    "saving": "rule",
    "source": "graph",
    "stock": "strip",
    "trace": "graph",
    "Tuned": "tuner",
    "tune": "tuner",
}


def __getattr__(name: str) -> Any:
    """Imports a module, or the room of a function, when it is first used, so that `import jaxdl` is quick."""
    if name in _MODULES:
        return importlib.import_module(f"jaxdl.{name}")
    if name in _ROOMS:
        value = getattr(importlib.import_module(f"jaxdl.{_ROOMS[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'jaxdl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES, "__version__"])
