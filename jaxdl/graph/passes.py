"""Passes over a graph: values, adjoints from the outputs back, tangents from the arguments forward.

In the backward pass downstream = local × upstream at every node: the local product is the `jax.vjp` of that one
operation, which uses its hand-written rule if it has one. Contributions add up.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl import symbolic_zeros
from jaxdl.graph.node import AnyGraph, Edge, Node, Output

# A node and the positions of its active inputs → for each of its outputs whether it is active.
ActiveOutputsOfNode = Callable[[Node, tuple[int, ...]], Iterable[bool]]


def compute_values(graph: AnyGraph) -> None:
    """Computes the values of all nodes that have none."""
    missing = next((x for x in graph.flat_arguments if x.node.kept is None), None)
    if missing is not None:
        raise ValueError(
            f"{graph.name} was traced on types alone, {missing} is {jx.typed(missing.type)}: "
            f"trace it on arrays for values"
        )
    for node in graph.nodes:
        if node.kept is None:
            with _errors_name(node, "evaluated"):
                node.kept = jx.binding(node.equation)(*_inputs(node))


def _inputs(node):
    return [_kept(e.source) if isinstance(e, Edge) else e for e in node.inputs]


def _kept(x: Output):
    assert x.node.kept is not None
    return x.node.kept[x.place]


@contextlib.contextmanager
def _errors_name(node: Node, action: str) -> Iterator[None]:
    """Any error that JAX or a rule raises becomes one that names the node."""
    try:
        yield
    except Exception as error:
        reason = str(error) or type(error).__name__
        place = f" at {node.where}" if node.where else ""
        raise ValueError(f"{node.label} ({node.name}{place}) cannot be {action}: {reason}") from error


# --- backward ----------------------------------------------------------------------------------------


def seeds(graph: AnyGraph, cotangent: Any) -> list[tuple[Output, Any]]:
    """The outputs with their cotangents, without those whose cotangent is None."""
    given = jax.tree.leaves(cotangent, is_leaf=lambda c: c is None)
    whole = jax.tree.leaves(graph.outputs, is_leaf=lambda y: y is None or isinstance(y, Output))
    if len(given) == len(whole):  # a result may have None in it, too
        given = [c for y, c in zip(whole, given, strict=True) if y is not None]
    if len(given) != len(graph.flat_outputs):
        raise ValueError(
            f"backward: {graph.name} gives {len(graph.flat_outputs)} arrays, got {len(given)} cotangents; give one for "
            f"each, in the same structure, None for those without a cotangent"
        )
    return [(y, c) for y, c in zip(graph.flat_outputs, given, strict=True) if c is not None]


def backward_pass(graph: AnyGraph, seeded: list[Any], retain: bool, starts: list[Output] | None = None) -> None:
    """Sets the adjoints of all nodes that depend on `starts`, by default on any floating-point argument."""
    for node in graph.nodes:
        node.adjoints = None
        for edge in node.edges:
            edge.adjoint = None
    starts = [x for x in graph.flat_arguments if x.is_smooth] if starts is None else starts
    memory = Memory(graph)
    outputs = {y.node for y in graph.flat_outputs}

    def finished(node, adjoints):
        node.adjoints = adjoints
        memory.add(*[a for a in adjoints if a is not None])
        if not retain and node not in outputs and node.equation is not None:
            memory.free(*node.kept)
            node.kept = None

    graph.active = active_outputs(graph, starts, [y for y, _ in seeded])
    adjoints = _propagated(graph, seeded, graph.active, finished)
    for x in starts:
        if adjoints.get(x) is None:
            x.node.adjoints = [jnp.zeros(x.type.shape, x.type.dtype)]
    graph.peak_bytes = memory.peak


def gradients(graph: AnyGraph, seeded: list[Any], inputs: list[Output]) -> list[Any]:
    """The adjoints of `inputs`; nothing is stored in the graph."""
    for x in dict.fromkeys(inputs):
        if not x.is_smooth:
            raise TypeError(f"grad: {x} is {jx.typed(x.type)}; derivatives are with respect to floating-point arrays")
    active = active_outputs(graph, inputs, [y for y, _ in seeded])
    found = _propagated(graph, seeded, active, lambda node, adjoints: None, keep_edges=False)
    return [jnp.zeros(x.type.shape, x.type.dtype) if found.get(x) is None else found[x] for x in inputs]


def _propagated(graph, seeded, active, finished, keep_edges=True) -> dict[Output, Any]:
    """The adjoint of each active output; `finished` is called with each node once its adjoints are complete."""
    graph.evaluate()
    adjoints = {}
    for y, cotangent in seeded:
        _add(adjoints, y, _checked_cotangent(y, cotangent))
    if keep_edges:
        graph.cotangents = dict(adjoints)
    for node in reversed(graph.nodes):
        outputs = [Output(node, k) for k in range(len(node.types))]
        upstream = [adjoints.get(y) if y in active else None for y in outputs]
        if node.edges and any(a is not None for a in upstream):
            for edge, contribution in _contributions(node, upstream, active):
                _add(adjoints, edge.source, contribution)
                if keep_edges:
                    edge.adjoint = contribution
        finished(node, [adjoints.get(y) for y in outputs])
    return adjoints


def _contributions(node, upstream, active):
    """What a node contributes to the adjoint of each active input."""
    edges = [e for e in node.edges if e.source in active]
    if not edges:  # the differentiation starts at this node
        return []
    with _errors_name(node, "differentiated in reverse mode"):
        local = jx.binding(node.equation)
        sent = symbolic_zeros.pulled(local, _inputs(node), [e.place for e in edges], upstream)
    return [(edge, c) for edge, c in zip(edges, sent, strict=True) if c is not None]


def _checked_cotangent(y, given):
    if not y.is_smooth:
        raise TypeError(f"{y} is {jx.typed(y.type)}: only floating-point arrays have derivatives")
    if jnp.iscomplexobj(given) and not jnp.issubdtype(y.type.dtype, jnp.complexfloating):
        raise TypeError(f"{y} is {jx.typed(y.type)}: its cotangent must be real, got {given}")
    if jnp.shape(given) != y.type.shape:
        raise ValueError(
            f"{y} is {jx.typed(y.type)}: its cotangent must have the shape {y.type.shape}, got {jnp.shape(given)}; "
            f"give one of that shape, or make the function return a single number"
        )
    return jnp.asarray(given, y.type.dtype)


def _add(adjoints, x, contribution):
    adjoints[x] = contribution if adjoints.get(x) is None else adjoints[x] + contribution


def active_outputs(
    graph: AnyGraph, starts: Iterable[Output], ends: Iterable[Output], of_node: ActiveOutputsOfNode | None = None
) -> set[Output]:
    """The outputs that depend differentiably on `starts` and on which `ends` depend.

    Args:
        graph: The graph.
        starts: Where differentiation starts; they are active.
        ends: Only nodes that these need are looked at.
        of_node: Which outputs of a node are active; by default those to which JAX passes a tangent.
    """
    needed = _ancestors({y.node for y in ends}, graph)
    found, known, of_node = set(starts), {}, of_node or _active_by_jax
    for node in graph.nodes:
        places = tuple(e.place for e in node.edges if e.source in found)
        if places and node in needed:
            key = (jx.likeness(node.equation), places)
            if key not in known:
                known[key] = of_node(node, places)
            found |= {Output(node, k) for k, is_active in enumerate(known[key]) if is_active}
    return found


def _active_by_jax(node, places):
    with _errors_name(node, "differentiated in reverse mode"):
        return symbolic_zeros.moved(jx.binding(node.equation), [v.aval for v in node.equation.invars], places)


def _ancestors(nodes, graph):
    """These nodes and all that they depend on."""
    found = set(nodes)
    for node in reversed(graph.nodes):
        if node in found:
            found |= {e.source.node for e in node.edges}
    return found


class Memory:
    """The bytes of the arrays that are held, each array counted once, and their maximum so far."""

    def __init__(self, graph: AnyGraph):
        graph.evaluate()
        self.references: Counter[int] = Counter()
        self.bytes: int = 0
        self.peak: int = 0
        self.arrays: dict[int, Any] = {}
        for node in graph.nodes:
            self.add(*node.values)

    def add(self, *arrays: Any) -> None:
        for x in arrays:
            self.arrays[id(x)] = x  # keeps x alive, so that no other array gets its id
            self.references[id(x)] += 1
            self.bytes += _nbytes(x) if self.references[id(x)] == 1 else 0
        self.peak = max(self.peak, self.bytes)

    def free(self, *arrays: Any) -> None:
        for x in arrays:
            self.references[id(x)] -= 1
            if not self.references[id(x)]:
                self.bytes -= _nbytes(x)
                del self.arrays[id(x)]


def _nbytes(x):
    return getattr(x, "nbytes", 0)


# --- forward -----------------------------------------------------------------------------------------


def tangents_by_argument(graph: AnyGraph, tangents: tuple[Any, ...]) -> dict[Output, Any]:
    """The tangent of each argument array that has one."""
    if len(tangents) != len(graph.arguments):
        raise ValueError(
            f"forward: {graph.name} was traced with {len(graph.arguments)} arguments, got {len(tangents)} tangents; "
            f"give None for an argument without a tangent"
        )
    found = {}
    for x, given in zip(graph.arguments, tangents, strict=True):
        leaves = jax.tree.leaves(x, is_leaf=lambda x: isinstance(x, Output))
        along = [None] * len(leaves) if given is None else jax.tree.leaves(given)
        if len(along) != len(leaves):
            raise ValueError(f"forward: {len(leaves)} arrays need as many tangents, got {len(along)}")
        found |= {y: _checked_cotangent(y, t) for y, t in zip(leaves, along, strict=True) if t is not None}
    return found


def forward_pass(graph: AnyGraph, tangents: dict[Output, Any]) -> None:
    """Sets the tangents of all nodes that depend on the arguments in `tangents`."""
    graph.evaluate()
    for node in graph.nodes:
        node.tangents = None
    for x, tangent in tangents.items():
        x.node.tangents = [tangent]
    for node in graph.nodes:
        along = {e.place: t for e in node.edges if (t := _tangent(e.source)) is not None}
        if along:
            with _errors_name(node, "differentiated in forward mode"):
                in_order = [along.get(place) for place in range(len(node.inputs))]
                node.tangents = symbolic_zeros.pushed(jx.binding(node.equation), _inputs(node), in_order)


def _tangent(x: Output):
    return x.node.tangents[x.place] if x.node.tangents else None
