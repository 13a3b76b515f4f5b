"""jaxdl: every operation has two derivatives, one written by hand and one derived by JAX.

op, saving      write an operation with its rule          automatic(f)   f without hand-written rules
contrast(f)     what the two cost and how they differ     rules(f)       the hand-written rules f calls
audit(f)        which derivatives are wrong, and who says so
trace(f)        the computation as a graph, with values forward and gradients backward
source(f)       the derivative as Python, in the form of a rule
"""

import importlib

from jaxdl.auditor import audit
from jaxdl.graph import source, trace
from jaxdl.measure import contrast
from jaxdl.rule import Op, op, saving
from jaxdl.strip import Site, automatic, rules

__all__ = ["Op", "Site", "audit", "automatic", "contrast", "op", "rules", "saving", "source", "trace"]

_MODULES = {"data", "exact", "interop", "jacobian", "nn", "ops", "testing", "train"}


def __getattr__(name):
    """Imports a module of jaxdl when it is first used: `import jaxdl` alone is quick."""
    if name in _MODULES:
        return importlib.import_module(f"jaxdl.{name}")
    raise AttributeError(f"module 'jaxdl' has no attribute {name!r}")
