"""Passes over a graph: values, adjoints back from outputs, tangents on from arguments.

Downstream = local × upstream: at every node the local Jacobian product is JAX's for its one operation, or the
hand-written rule's. Contributions add.
"""

from collections import Counter

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.graph.node import CONSTANT, Edge, Output


def evaluate(graph) -> None:
    missing = next((x for x in graph.flat_arguments if x.node.kept is None), None)
    if missing:
        raise ValueError(
            f"{graph.name} was traced on types alone, {missing} is {jx.typed(missing.type)}: "
            f"trace it on arrays for values"
        )
    for node in graph.nodes:
        if node.kept is None:
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


def backward(graph, seeded, retain) -> None:
    """Adjoints of all nodes that depend on an argument."""
    for node in graph.nodes:
        node.adjoints = None
        for edge in node.edges:
            edge.adjoint = None
    moving = depending(graph, [x for x in graph.flat_arguments if x.is_smooth])
    memory = Memory(graph)
    stay = {y.node for y in graph.flat_outputs}

    def swept(node, adjoints):
        node.adjoints = adjoints
        memory.add(*[a for a in adjoints if a is not None])
        if not retain and node not in stay and node.equation is not None:
            memory.drop(*node.kept)
            node.kept = None

    adjoints = _swept_back(graph, seeded, moving, swept)
    for x in graph.flat_arguments:
        if x.is_smooth and adjoints.get(x) is None:
            x.node.adjoints = [jnp.zeros(x.type.shape, x.type.dtype)]
    graph.peak_bytes = memory.peak


def gradients(graph, seeded, inputs) -> list:
    """The adjoints of some outputs of nodes."""
    wanted = dict.fromkeys(inputs)
    for x in wanted:
        if not x.is_smooth:
            raise TypeError(f"grad: {x} is {jx.typed(x.type)}; derivatives are with respect to floating-point arrays")
    found = _swept_back(graph, seeded, depending(graph, inputs), lambda node, adjoints: None, keep_edges=False)
    return [jnp.zeros(x.type.shape, x.type.dtype) if found.get(x) is None else found[x] for x in inputs]


def _swept_back(graph, seeded, moving, swept, keep_edges=True) -> dict:
    """Adjoints by `Output`. moving: the nodes to which it flows; swept is called with each node that is done."""
    graph.evaluate()
    adjoints = {}
    for y, cotangent in seeded:
        _add(adjoints, y, _cotangent(y, cotangent))
    if keep_edges:
        graph.cotangents = dict(adjoints)
    for node in reversed(graph.nodes):
        of_node = [adjoints.get(Output(node, k)) for k in range(len(node.types))]
        if node.kind != CONSTANT and node in moving and any(a is not None for a in of_node):
            for edge, contribution in _pulled(node, of_node, moving):
                _add(adjoints, edge.source, contribution)
                if keep_edges:
                    edge.adjoint = contribution
        swept(node, of_node)
    return adjoints


def _pulled(node, cotangents, moving):
    """What a node sends back along each edge that something smooth moves on."""
    edges = [e for e in node.edges if e.source.node in moving and e.source.is_smooth]
    if not edges:
        return []
    inputs = _arguments(node)
    places = [e.place for e in edges]
    smooth = [
        jnp.zeros(t.shape, t.dtype) if c is None else c
        for t, c in zip(node.types, cotangents, strict=True)
        if jnp.issubdtype(t.dtype, jnp.inexact)
    ]
    try:
        _, pullback = jax.vjp(jx.in_some(jx.binding(node.equation), inputs, places), *[inputs[i] for i in places])
        return list(zip(edges, pullback(smooth), strict=True))
    except Exception as error:  # JAX's, of any kind
        raise ValueError(f"{node.label} ({node.name} at {node.where}) cannot be swept backward: {error}") from error


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


def depending(graph, starts) -> set:
    """The nodes of `starts`, and all that depend on them by floating-point arrays."""
    found = {x.node for x in starts}
    for node in graph.nodes:
        if any(e.source.node in found and e.source.is_smooth for e in node.edges):
            found.add(node)
    return found


def _is_output(x):
    return isinstance(x, Output)


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
        leaves = jax.tree.leaves(x, is_leaf=_is_output)
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
    inputs, places = _arguments(node), [e.place for e in edges]
    along = [e.source.node.tangents[e.source.place] for e in edges]
    _, moved = jax.jvp(jx.in_some(jx.binding(node.equation), inputs, places), [inputs[i] for i in places], along)
    moved = iter(moved)
    return [next(moved) if jnp.issubdtype(t.dtype, jnp.inexact) else None for t in node.types]
