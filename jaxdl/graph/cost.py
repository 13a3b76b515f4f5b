"""The cost of each node of a graph: operations forward and backward, and the bytes kept in between.

An array is kept if the pullback of a node that takes or returns it needs it. A pullback may need more, such as the
cosine for a sine: that is the node's own. All of this is found from types alone, by tracing `jax.vjp` of each node.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl import symbolic_zeros
from jaxdl.graph.node import ARGUMENT, AnyGraph, Node, Output
from jaxdl.graph.passes import active_outputs
from jaxdl.report import Report, Table, bytes_text, count_text


@dataclass(frozen=True)
class NodeCost:
    """The cost of one operation.

    Attributes:
        forward: Floating-point operations of the forward pass.
        backward: Those of the backward pass; None where JAX cannot differentiate the operation in reverse mode.
        kept: For each incoming edge the bytes of its array, 0 where the pullback does not need it.
        results: The same for each output of the node.
        own: Bytes of what the pullback needs besides the node's inputs and outputs.
    """

    forward: float
    backward: float | None
    kept: tuple[int, ...]
    results: tuple[int, ...]
    own: int


@dataclass(frozen=True)
class Costs(Report):
    """The costs of all operations of a graph.

    Attributes:
        nodes: The cost of each operation, by its node.
    """

    nodes: dict[Node, NodeCost]

    @property
    def forward(self) -> float:
        """Floating-point operations of the forward pass."""
        return sum(cost.forward for cost in self.nodes.values())

    @property
    def backward(self) -> float:
        """Floating-point operations of the backward pass, without the nodes that have no reverse mode."""
        return sum(cost.backward or 0 for cost in self.nodes.values())

    @property
    def kept_bytes(self) -> int:
        """Bytes kept from the forward to the backward pass, each array counted once, without the arguments."""
        arrays = {}
        for node, cost in self.nodes.items():
            arrays |= {e.source: kept for e, kept in zip(node.edges, cost.kept, strict=True) if kept}
            arrays |= {Output(node, k): kept for k, kept in enumerate(cost.results) if kept}
        passed = sum(kept for x, kept in arrays.items() if x.node.kind != ARGUMENT)
        return passed + sum(cost.own for cost in self.nodes.values())

    def table(self) -> Table:
        """One row for each operation."""
        rows = [
            (node.label, node.name, count_text(c.forward), count_text(c.backward), _kept_inputs(node, c), _kept_rest(c))
            for node, c in self.nodes.items()
        ]
        ratio = f" ({self.backward / self.forward:.2f} times as many)" if self.forward else ""
        note = (
            f"{count_text(self.forward)} operations forward, {count_text(self.backward)} backward{ratio}; "
            f"{bytes_text(self.kept_bytes)} kept from forward to backward besides the arguments"
        )
        columns = ("node", "operation", "FLOPs forward", "FLOPs backward", "kept inputs", "kept outputs + own")
        return Table("Cost of each operation", columns, rows, note, words=2)

    def to_json(self) -> dict[str, Any]:
        """The totals, and the cost of each operation."""
        return {
            "forward": self.forward,
            "backward": self.backward,
            "kept_bytes": self.kept_bytes,
            "nodes": [
                {"label": node.label, "operation": node.name, "forward": c.forward, "backward": c.backward,
                 "kept": list(c.kept), "results": list(c.results), "own": c.own}
                for node, c in self.nodes.items()
            ],
        }  # fmt: skip


def costs_of(graph: AnyGraph) -> Costs:
    """The costs of all operations; equal operations on equal types are analysed once."""
    ends = [Output(node, k) for node in graph.nodes for k in range(len(node.types))]
    active = active_outputs(graph, [x for x in graph.flat_arguments if x.is_smooth], ends, _active_places)
    found, known = {}, {}
    for node in graph.nodes:
        if node.equation is not None:
            places = tuple(e.place for e in node.edges if e.source in active)
            key = jx.likeness(node.equation), places
            if key not in known:
                known[key] = _cost(node, places)
            of_inputs = known[key].kept
            found[node] = replace(known[key], kept=tuple(of_inputs[e.place] for e in node.edges))
    return Costs(found)


def _active_places(node, places):
    """Which outputs of a node are active if its inputs at `places` are; all that could be where JAX cannot say."""
    try:
        return symbolic_zeros.moved(jx.binding(node.equation), [v.aval for v in node.equation.invars], places)
    except Exception:  # any error of JAX or of a rule: `_cost` then finds no backward pass either
        return [jnp.issubdtype(t.dtype, jnp.inexact) for t in node.types]


def _cost(node, places) -> NodeCost:
    """The cost when differentiated in the inputs at `places`; `kept` has an entry for every input, numbers too."""
    types = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in node.equation.invars]
    forward = jx.flops(jx.trace(jx.binding(node.equation), *types)[0])
    nothing = (0,) * len(types), (0,) * len(node.types), 0
    if not places or not any(jnp.issubdtype(t.dtype, jnp.inexact) for t in node.types):
        return NodeCost(forward, 0.0, *nothing)
    tree = {}

    def run_forward(*inputs):
        y, pullback = jax.vjp(jx.in_some(jx.binding(node.equation), inputs, places), *[inputs[i] for i in places])
        leaves, tree["pullback"] = jax.tree.flatten(pullback)
        return y, leaves

    def run_backward(residuals, dy):
        return tree["pullback"].unflatten(residuals)(dy)

    try:
        jaxpr, (y, residuals) = jx.trace(run_forward, *types)
        pullback = jx.trace(run_backward, residuals, y)[0]
    except Exception:  # no reverse mode, as for a loop of unknown length
        return NodeCost(forward, None, *nothing)
    plain, used = jx.opened(jaxpr), jx.used_inputs(pullback)
    smooth = [k for k, t in enumerate(node.types) if jnp.issubdtype(t.dtype, jnp.inexact)]
    results = {k: v for k, v in zip(smooth, plain.outvars[: len(y)], strict=True) if jx.is_variable(v)}
    kept = {v for v, needed in zip(plain.outvars[len(y) :], used, strict=False) if needed and jx.is_variable(v)}
    size = lambda v: _bytes(v.aval) if v in kept else 0
    return NodeCost(
        forward,
        jx.flops(pullback) + max(jx.flops(jaxpr) - forward, 0.0),
        tuple(map(size, plain.invars)),
        tuple(
            size(results[k]) if k in results and results[k] not in plain.invars else 0 for k in range(len(node.types))
        ),
        sum(_bytes(v.aval) for v in kept - set(plain.invars) - set(results.values())),
    )


def _bytes(aval):
    return math.prod(aval.shape) * jnp.dtype(aval.dtype).itemsize


def _kept_inputs(node, cost):
    sizes = {e.place: b for e, b in zip(node.edges, cost.kept, strict=True)}
    in_order = [sizes.get(place, 0) for place in range(len(node.inputs))]
    return ", ".join(bytes_text(b) if b else "–" for b in in_order)


def _kept_rest(cost):
    return " + ".join(bytes_text(b) for b in (*cost.results, cost.own) if b) or "–"
