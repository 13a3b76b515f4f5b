"""What each node of a graph costs: operations forward and backward, and the bytes kept from the one to the other.

An array that goes into a node, or comes out of it, is kept for the way back where the node's pullback needs it; what
the pullback needs besides (the cosine of a sine) the node keeps itself. Found from types alone, by JAX's own `vjp`.
"""

import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl import symbolic_zeros
from jaxdl.graph.node import ARGUMENT, Node, Output
from jaxdl.graph.passes import moving
from jaxdl.report import Table, bytes_text, count_text


@dataclass(frozen=True)
class NodeCost:
    """forward, backward: floating-point operations, backward None where there is no way back. kept: bytes of the array
    on each of the node's edges, results: of each of its outputs, 0 where the pullback does not need it; own: bytes of
    what the node keeps besides.
    """

    forward: float
    backward: float | None
    kept: tuple[int, ...]
    results: tuple[int, ...]
    own: int


@dataclass(frozen=True)
class Costs:
    """The costs of all operations of a graph, by node. kept_bytes counts an array once, whoever needs it, and no
    arguments.
    """

    nodes: dict[Node, NodeCost]

    @property
    def forward(self) -> float:
        return sum(cost.forward for cost in self.nodes.values())

    @property
    def backward(self) -> float:
        return sum(cost.backward or 0 for cost in self.nodes.values())

    @property
    def kept_bytes(self) -> int:
        arrays = {}
        for node, cost in self.nodes.items():
            arrays |= {e.source: kept for e, kept in zip(node.edges, cost.kept, strict=True) if kept}
            arrays |= {Output(node, k): kept for k, kept in enumerate(cost.results) if kept}
        passed = sum(kept for x, kept in arrays.items() if x.node.kind != ARGUMENT)
        return passed + sum(cost.own for cost in self.nodes.values())

    def table(self) -> Table:
        """One row for each operation."""
        rows = [
            (node.label, node.name, count_text(c.forward), count_text(c.backward), _kept(node, c), _made(c))
            for node, c in self.nodes.items()
        ]
        ratio = f", {self.backward / self.forward:.2f} times as many" if self.forward else ""
        note = (
            f"{count_text(self.forward)} operations forward, {count_text(self.backward)} backward{ratio}; "
            f"{bytes_text(self.kept_bytes)} kept from forward to backward besides the arguments"
        )
        columns = ("node", "operation", "FLOPs forward", "FLOPs backward", "keeps of its inputs",
                   "of its results, and besides")  # fmt: skip
        return Table("What each operation costs", columns, rows, note, words=2)


def costs(graph) -> Costs:
    """Of all operations; of equal ones on equal types once."""
    ends = [Output(node, k) for node in graph.nodes for k in range(len(node.types))]
    smooth = moving(graph, [x for x in graph.flat_arguments if x.is_smooth], ends, _moved)
    found, known = {}, {}
    for node in graph.nodes:
        if node.equation is not None:
            places = tuple(e.place for e in node.edges if e.source in smooth)
            key = jx.likeness(node.equation), places
            if key not in known:
                known[key] = _cost(node, places)
            of_inputs = known[key].kept
            found[node] = replace(known[key], kept=tuple(of_inputs[e.place] for e in node.edges))
    return Costs(found)


def _moved(node, places):
    """As JAX says; where it has no derivative, all that could have one."""
    try:
        return symbolic_zeros.moved(jx.binding(node.equation), [v.aval for v in node.equation.invars], places)
    except Exception:  # JAX's or a rule's, of any kind: `_cost` finds no way back either
        return [jnp.issubdtype(t.dtype, jnp.inexact) for t in node.types]


def _cost(node, moving) -> NodeCost:
    """`kept` is here of each input, whether an array or a number goes in."""
    types = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in node.equation.invars]
    forward = jx.flops(jx.trace(jx.binding(node.equation), *types)[0])
    nothing = (0,) * len(types), (0,) * len(node.types), 0
    if not moving or not any(jnp.issubdtype(t.dtype, jnp.inexact) for t in node.types):
        return NodeCost(forward, 0.0, *nothing)
    tree = {}

    def ahead(*inputs):
        y, pullback = jax.vjp(jx.in_some(jx.binding(node.equation), inputs, moving), *[inputs[i] for i in moving])
        leaves, tree["pullback"] = jax.tree.flatten(pullback)
        return y, leaves

    def back(residuals, dy):
        return tree["pullback"].unflatten(residuals)(dy)

    try:
        jaxpr, (y, residuals) = jx.trace(ahead, *types)
        pullback = jx.trace(back, residuals, y)[0]
    except Exception:  # JAX has no reverse mode for it: a loop of unknown length
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


def _kept(node, cost):
    sizes = {e.place: b for e, b in zip(node.edges, cost.kept, strict=True)}
    told = [sizes.get(place, 0) for place in range(len(node.inputs))]
    return ", ".join(bytes_text(b) if b else "–" for b in told)


def _made(cost):
    return " + ".join(bytes_text(b) for b in (*cost.results, cost.own) if b) or "–"
