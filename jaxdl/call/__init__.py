"""One call of an op on flat lists of arrays: its primal, its rule, its pullback, and each of them under vmap.

A call has two methods, `primal(*arrays) -> arrays` and `rule(*arrays) -> (arrays, BoundPullback)`. A pullback on flat
lists is a function `pullback(residuals, cotangents) -> cotangents`, with None where nothing flows back. All of them
are hashable: they are parameters of primitives and, where `lasts` is true, keys of caches.
"""

from jaxdl.call.batched import BatchedCall, BatchedPullback, SelectedPullback
from jaxdl.call.bound_pullback import BoundPullback, saving
from jaxdl.call.capturing import CapturingCall, capture
from jaxdl.call.op_call import OpCall, refuse_recursion
from jaxdl.call.tracing import evaluate, primal, pull, push, rule

__all__ = [
    "BatchedCall",
    "BatchedPullback",
    "BoundPullback",
    "CapturingCall",
    "OpCall",
    "SelectedPullback",
    "capture",
    "evaluate",
    "primal",
    "pull",
    "push",
    "refuse_recursion",
    "rule",
    "saving",
]
