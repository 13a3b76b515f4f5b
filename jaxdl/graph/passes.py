"""Passes over a graph: values, adjoints back from outputs, tangents on from arguments.

Downstream = local × upstream: at every node the local Jacobian product is JAX's for its one operation, or the
hand-written rule's. Contributions add.
"""

import contextlib
from collections import Counter

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl import symbolic_zeros
from jaxdl.graph.node import Edge, Output


def evaluate(graph) -> None:
    missing = next((x for x in graph.flat_arguments if x.node.kept is None), None)
    if missing:
        raise ValueError(
            f"{graph.name} was traced on types alone, {missing} is {jx.typed(missing.type)}: "
            f"trace it on arrays for values"
        )
    for node in graph.nodes:
        if node.kept is None:
            with _blamed(node, "evaluated"):
                node.kept = jx.binding(node.equation)(*_arguments(node))


def _arguments(node):
    return [e.source.node.kept[e.source.place] if isinstance(e, Edge) else e for e in node.inputs]


# --- backward ----------------------------------------------------------------------------------------


def seeds(graph, cotangent) -> list:
    """Outputs with their cotangents, from one that is given like the function's result; None where there is none."""
    given = jax.tree.leaves(cotangent, is_leaf=lambda c: c is None)
    if len(given) != len(graph.flat_outputs):
        raise ValueError(
            f"backward: {graph.name} gives {len(graph.flat_outputs)} arrays, got {len(given)} cotangents; give one for "
            f"each, in the same structure, None for those from which nothing flows"
        )
    return [(y, c) for y, c in zip(graph.flat_outputs, given, strict=True) if c is not None]


def backward(graph, seeded, retain, starts=None) -> None:
    """Adjoints of all nodes that move with `starts`, by default with every floating-point argument."""
    for node in graph.nodes:
        node.adjoints = None
        for edge in node.edges:
            edge.adjoint = None
    starts = [x for x in graph.flat_arguments if x.is_smooth] if starts is None else starts
    memory = Memory(graph)
    stay = {y.node for y in graph.flat_outputs}

    def swept(node, adjoints):
        node.adjoints = adjoints
        memory.add(*[a for a in adjoints if a is not None])
        if not retain and node not in stay and node.equation is not None:
            memory.drop(*node.kept)
            node.kept = None

    graph.moving = moving(graph, starts, [y for y, _ in seeded])
    adjoints = _swept_back(graph, seeded, graph.moving, swept)
    for x in starts:
        if adjoints.get(x) is None:
            x.node.adjoints = [jnp.zeros(x.type.shape, x.type.dtype)]
    graph.peak_bytes = memory.peak


def gradients(graph, seeded, inputs) -> list:
    """The adjoints of some outputs of nodes."""
    wanted = dict.fromkeys(inputs)
    for x in wanted:
        if not x.is_smooth:
            raise TypeError(f"grad: {x} is {jx.typed(x.type)}; derivatives are with respect to floating-point arrays")
    moved = moving(graph, inputs, [y for y, _ in seeded])
    found = _swept_back(graph, seeded, moved, lambda node, adjoints: None, keep_edges=False)
    return [jnp.zeros(x.type.shape, x.type.dtype) if found.get(x) is None else found[x] for x in inputs]


def _swept_back(graph, seeded, moved, swept, keep_edges=True) -> dict:
    """Adjoints by `Output`. moved: the outputs to which it flows; swept is called with each node that is done."""
    graph.evaluate()
    adjoints = {}
    for y, cotangent in seeded:
        _add(adjoints, y, _cotangent(y, cotangent))
    if keep_edges:
        graph.cotangents = dict(adjoints)
    for node in reversed(graph.nodes):
        outputs = [Output(node, k) for k in range(len(node.types))]
        sending = [adjoints.get(y) if y in moved else None for y in outputs]
        if node.edges and any(a is not None for a in sending):
            for edge, contribution in _pulled(node, sending, moved):
                _add(adjoints, edge.source, contribution)
                if keep_edges:
                    edge.adjoint = contribution
        swept(node, [adjoints.get(y) for y in outputs])
    return adjoints


def _pulled(node, cotangents, moved):
    """What a node sends back along each edge on which anything comes back."""
    edges = [e for e in node.edges if e.source in moved]
    if not edges:  # what is differentiated in stands here
        return []
    with _blamed(node, "swept backward"):
        local = jx.binding(node.equation)
        sent = symbolic_zeros.pulled(local, _arguments(node), [e.place for e in edges], cotangents)
    return [(edge, c) for edge, c in zip(edges, sent, strict=True) if c is not None]


@contextlib.contextmanager
def _blamed(node, done):
    """An error of JAX's or of a rule's, of any kind, names the node at which it arises."""
    try:
        yield
    except Exception as error:
        told = str(error) or type(error).__name__
        place = f" at {node.where}" if node.where else ""
        raise ValueError(f"{node.label} ({node.name}{place}) cannot be {done}: {told}") from error


def _cotangent(y, given):
    if not y.is_smooth:
        raise TypeError(f"{y} is {jx.typed(y.type)}: only floating-point arrays have derivatives")
    if jnp.shape(given) != y.type.shape:
        raise ValueError(
            f"{y} is {jx.typed(y.type)}: its cotangent must have the shape {y.type.shape}, got {jnp.shape(given)}; "
            f"give one like it, or make the function end in a single number"
        )
    return jnp.asarray(given, y.type.dtype)


def _add(adjoints, x, contribution):
    adjoints[x] = contribution if adjoints.get(x) is None else adjoints[x] + contribution


def moving(graph, starts, ends, moved=None) -> set:
    """The outputs that move with those in `starts`, as far as JAX lets tangents through, on the way to `ends`.

    moved(node, places): which outputs of a node move with its inputs at these places.
    """
    needed = _needed({y.node for y in ends}, graph)
    found, known, moved = set(starts), {}, moved or _moved
    for node in graph.nodes:
        places = tuple(e.place for e in node.edges if e.source in found)
        if places and node in needed:
            key = (jx.likeness(node.equation), places)
            if key not in known:
                known[key] = moved(node, places)
            found |= {Output(node, k) for k, m in enumerate(known[key]) if m}
    return found


def _moved(node, places):
    with _blamed(node, "swept backward"):
        return symbolic_zeros.moved(jx.binding(node.equation), [v.aval for v in node.equation.invars], places)


def _needed(nodes, graph):
    """These nodes and all that they depend on."""
    found = set(nodes)
    for node in reversed(graph.nodes):
        if node in found:
            found |= {e.source.node for e in node.edges}
    return found


class Memory:
    """Bytes of the arrays that are held, each counted once, and the most there were."""

    def __init__(self, graph):
        graph.evaluate()
        self.held, self.bytes, self.peak = Counter(), 0, 0
        self.arrays = {}
        for node in graph.nodes:
            self.add(*node.kept)

    def add(self, *arrays):
        for x in arrays:
            self.arrays[id(x)] = x  # or its number might be given to another
            self.held[id(x)] += 1
            self.bytes += _nbytes(x) if self.held[id(x)] == 1 else 0
        self.peak = max(self.peak, self.bytes)

    def drop(self, *arrays):
        for x in arrays:
            self.held[id(x)] -= 1
            if not self.held[id(x)]:
                self.bytes -= _nbytes(x)
                del self.arrays[id(x)]


def _nbytes(x):
    return getattr(x, "nbytes", 0)


# --- forward -----------------------------------------------------------------------------------------


def directions(graph, tangents) -> dict:
    """The tangent of each argument array that moves."""
    if len(tangents) != len(graph.arguments):
        raise ValueError(
            f"forward: {graph.name} was traced with {len(graph.arguments)} arguments, got {len(tangents)} tangents; "
            f"None is for one that stays"
        )
    moving = {}
    for x, given in zip(graph.arguments, tangents, strict=True):
        leaves = jax.tree.leaves(x, is_leaf=lambda x: isinstance(x, Output))
        along = [None] * len(leaves) if given is None else jax.tree.leaves(given)
        if len(along) != len(leaves):
            raise ValueError(f"forward: {len(leaves)} arrays need as many tangents, got {len(along)}")
        moving |= {y: _cotangent(y, t) for y, t in zip(leaves, along, strict=True) if t is not None}
    return moving


def forward(graph, moving) -> None:
    graph.evaluate()
    for node in graph.nodes:
        node.tangents = None
    for x, tangent in moving.items():
        x.node.tangents = [tangent]
    for node in graph.nodes:
        edges = [e for e in node.edges if e.source.node.tangents and e.source.node.tangents[e.source.place] is not None]
        if edges:
            node.tangents = _pushed(node, edges)


def _pushed(node, edges):
    along = {e.place: e.source.node.tangents[e.source.place] for e in edges}
    with _blamed(node, "swept forward"):
        tangents = [along.get(place) for place in range(len(node.inputs))]
        return symbolic_zeros.pushed(jx.binding(node.equation), _arguments(node), tangents)
