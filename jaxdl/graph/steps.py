"""The forward and the backward pass, one node at a time, as on lecture slides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from jaxdl.graph.local_gradients import in_brackets, product_text
from jaxdl.graph.node import AnyGraph, Edge, Node, Output
from jaxdl.graph.text import formula, value_text


class PassStep(NamedTuple):
    """One step of a pass: a value (forward), the gradient of a result, a contribution to an input, or a sum of them.

    Attributes:
        node: The node whose value, gradient or contribution it is.
        edge: The edge along which the contribution flows; None in other steps.
        text: The step as one line, with its numbers.
        backward: Whether the step is one of the backward pass.
    """

    node: Node
    edge: Edge | None
    text: str
    backward: bool = True


def steps_of(graph: AnyGraph) -> Iterator[PassStep]:
    """Arguments and operations in the order of evaluation, then the edges in reverse order with their local products.

    A node contributes to its inputs only after all of its users have contributed to it. Several contributions to one
    value are followed by their sum.
    """
    for node in graph.nodes:
        yield PassStep(node, None, f"{formula(node)} = {', '.join(map(value_text, node.values))}", False)
    for y, cotangent in graph.cotangents.items():
        yield PassStep(y.node, None, f"∂L/∂{y} = {value_text(cotangent)}")
    for node in reversed(graph.nodes):
        yield from _sums(node)
        for edge in node.edges:
            if edge.adjoint is not None:
                yield PassStep(node, edge, _contribution(edge))


def contributions(x: Output) -> list[Edge]:
    """The edges along which something flows back to x."""
    return [edge for edge in x.node.users if edge.source == x and edge.adjoint is not None]


def _sums(node):
    """∂L/∂x = 3 + 4 = 7, for each output with several contributions."""
    for k, total in enumerate(node.adjoints or ()):
        found = contributions(Output(node, k))
        if len(found) > 1:
            of = f"∂L/∂{Output(node, k)}"
            start = node.graph.cotangents.get(Output(node, k))
            first, *others = [value_text(term) for term in (start, *[e.adjoint for e in found]) if term is not None]
            yield PassStep(node, None, f"{of} = {' + '.join([first, *map(in_brackets, others)])} = {value_text(total)}")


def _contribution(edge: Edge) -> str:
    """Downstream = local · upstream, in symbols and then in numbers."""
    x, y = edge.source, edge.target
    sign = "=" if len(contributions(x)) == 1 else "+="
    numbers = [text for text in (product_text(edge), value_text(edge.adjoint)) if text]
    return f"∂L/∂{x} {sign} ∂{y.label}/∂{x} · ∂L/∂{y.label} = {' = '.join(numbers)}"
