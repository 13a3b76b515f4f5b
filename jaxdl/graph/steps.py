"""The forward and the backward pass, one node at a time, as on slides."""

from collections.abc import Iterator
from typing import NamedTuple

from jaxdl.graph.node import Edge, Node
from jaxdl.graph.text import formula, value_text


class PassStep(NamedTuple):
    """One node of a pass: forward its value, backward what it sends to one of its inputs.

    edge: None forward. text: the step in a line, with its numbers.
    """

    node: Node
    edge: Edge | None
    text: str


def steps(graph) -> Iterator[PassStep]:
    """Arguments and operations in the order of evaluation, then the edges, each with its local product, back again.

    A node's adjoint is complete when all that use it have sent theirs: then it sends its own.
    """
    for node in graph.nodes:
        yield PassStep(node, None, f"{formula(node)} = {', '.join(map(value_text, node.values))}")
    for y, cotangent in graph.cotangents.items():
        yield PassStep(y.node, None, f"∂L/∂{y} = {value_text(cotangent)}")
    for node in reversed(graph.nodes):
        for edge in node.edges:
            if edge.adjoint is not None:
                yield PassStep(node, edge, _sent(edge))


def _sent(edge):
    x, y, sent = edge.source, edge.target, value_text(edge.adjoint)
    up = f"∂L/∂{y.label} · ∂{y.label}/∂{x}"
    if len(x.node.users) == 1:
        return f"∂L/∂{x} = {up} = {sent}"
    return f"∂L/∂{x} += {up} = {sent}"
