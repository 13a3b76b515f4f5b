"""A graph as text for other programs: Graphviz' DOT and Mermaid, with a box for each scope."""

import itertools

from jaxdl.graph.boxes import Box
from jaxdl.graph.node import Node
from jaxdl.graph.picture import title
from jaxdl.graph.words import shape_text, value_text


def dot(root: Box, opened: set) -> bytes:
    """For Graphviz: values in the edges' labels, all boxes open."""
    ids = _ids(root)
    lines = ["digraph {", "  rankdir=LR; node [shape=box, style=rounded];"]
    lines += _dot_items(root, "  ", ids, itertools.count(1))
    for node in root.nodes:
        for edge in node.edges:
            lines.append(f"  {ids[edge.source.node]} -> {ids[node]} [label={_quoted(_told(edge))}];")
    return "\n".join([*lines, "}", ""]).encode()


def _dot_items(box, indent, ids, numbers):
    for item in box.items:
        if isinstance(item, Node):
            yield f"{indent}{ids[item]} [label={_quoted(' '.join(title(item)).strip())}];"
        else:
            yield f"{indent}subgraph cluster_{next(numbers)} {{ label={_quoted(item.name)};"
            yield from _dot_items(item, indent + "  ", ids, numbers)
            yield f"{indent}}}"


def mermaid(root: Box, opened: set) -> bytes:
    """For Mermaid, as Markdown pages show it: the same."""
    ids = _ids(root)
    lines = ["flowchart LR", *_mermaid_items(root, "  ", ids, itertools.count(1))]
    for node in root.nodes:
        for edge in node.edges:
            lines.append(f"  {ids[edge.source.node]} -- {_quoted(_told(edge))} --> {ids[node]}")
    return "\n".join([*lines, ""]).encode()


def _mermaid_items(box, indent, ids, numbers):
    for item in box.items:
        if isinstance(item, Node):
            yield f"{indent}{ids[item]}({_quoted(' '.join(title(item)).strip())})"
        else:
            yield f"{indent}subgraph b{next(numbers)} [{_quoted(item.name)}]"
            yield from _mermaid_items(item, indent + "  ", ids, numbers)
            yield f"{indent}end"


def _ids(root):
    return {node: f"n{k}" for k, node in enumerate(root.nodes)}


def _told(edge):
    """Value, and the local product where it has been swept."""
    value = shape_text(edge.source.type) if edge.source.node.kept is None else value_text(edge.value)
    return value if edge.adjoint is None else f"{value} | {value_text(edge.adjoint)}"


def _quoted(text):
    return '"' + text.replace('"', "'") + '"'
