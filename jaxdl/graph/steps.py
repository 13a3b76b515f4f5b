"""The forward and the backward pass, one node at a time, as on lecture slides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from jaxdl.graph.node import AnyGraph, Edge, Node
from jaxdl.graph.text import formula, value_text


class PassStep(NamedTuple):
    """One step of a pass: the value of a node (forward), or what it contributes to one of its inputs (backward).

    Attributes:
        node: The node.
        edge: The edge along which the contribution flows; None in the forward pass.
        text: The step as one line, with its numbers.
    """

    node: Node
    edge: Edge | None
    text: str


def steps_of(graph: AnyGraph) -> Iterator[PassStep]:
    """Arguments and operations in the order of evaluation, then the edges in reverse order with their local products.

    A node contributes to its inputs only after all of its users have contributed to it.
    """
    for node in graph.nodes:
        yield PassStep(node, None, f"{formula(node)} = {', '.join(map(value_text, node.values))}")
    for y, cotangent in graph.cotangents.items():
        yield PassStep(y.node, None, f"∂L/∂{y} = {value_text(cotangent)}")
    for node in reversed(graph.nodes):
        for edge in node.edges:
            if edge.adjoint is not None:
                yield PassStep(node, edge, _contribution(edge))


def _contribution(edge: Edge) -> str:
    x, y, sent = edge.source, edge.target, value_text(edge.adjoint)
    product = f"∂L/∂{y.label} · ∂{y.label}/∂{x}"
    sign = "=" if len(x.node.users) == 1 else "+="
    return f"∂L/∂{x} {sign} {product} = {sent}"
