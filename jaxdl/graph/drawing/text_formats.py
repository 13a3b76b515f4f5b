"""A graph as text for other programs: Graphviz' DOT and Mermaid, with a box for each scope."""

import itertools
from typing import Any, NamedTuple

from jaxdl.graph.drawing.boxes import Box, title
from jaxdl.graph.local_gradients import flow_text
from jaxdl.graph.node import Node
from jaxdl.graph.text import shape_text, value_text


class Syntax(NamedTuple):
    """Templates for the parts of a graph in a language, and replacements for characters that are special in it."""

    begin: str
    node: str
    box: str
    box_end: str
    edge: str
    end: str
    replacements: dict[str, str]


DOT = Syntax(
    "digraph {\n  rankdir=LR; node [shape=box, style=rounded];",
    "{id} [label={text}];",
    "subgraph cluster_{id} {{ label={text};",
    "}",
    "{a} -> {b} [label={text}];",
    "}",
    {"\\": "\\\\", '"': '\\"'},
)
MERMAID = Syntax(
    "flowchart LR", "{id}({text})", "subgraph b{id} [{text}]", "end", "{a} -- {text} --> {b}", "",
    {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "\\": "#92;", "`": "#96;"},
)  # fmt: skip


def graph_text(root: Box, syntax: Syntax) -> bytes:
    """The whole graph, all boxes open. Edges are labelled with values, and with adjoints after a backward pass."""
    ids = {node: f"n{k}" for k, node in enumerate(root.nodes)}
    lines = [syntax.begin, *_items(root, "  ", ids, itertools.count(1), syntax)]
    for node in root.nodes:
        for edge in node.drawn_edges:
            lines.append(
                "  " + syntax.edge.format(a=ids[edge.source.node], b=ids[node], text=_quoted(_label(edge), syntax))
            )
    return "\n".join([*lines, syntax.end]).rstrip().encode() + b"\n"


def dot(root: Box, opened: set[Any]) -> bytes:
    """The graph in the language of Graphviz."""
    return graph_text(root, DOT)


def mermaid(root: Box, opened: set[Any]) -> bytes:
    """The graph in the language of Mermaid."""
    return graph_text(root, MERMAID)


def _items(box, indent, ids, numbers, syntax):
    for item in box.items:
        if isinstance(item, Node):
            yield indent + syntax.node.format(id=ids[item], text=_quoted(" ".join(title(item)).strip(), syntax))
        else:
            yield indent + syntax.box.format(id=next(numbers), text=_quoted(item.name, syntax))
            yield from _items(item, indent + "  ", ids, numbers, syntax)
            yield indent + syntax.box_end


def _label(edge):
    """The value, and after a backward pass the adjoint with the product that gave it."""
    value = shape_text(edge.source.type) if edge.source.node.kept is None else value_text(edge.value)
    return value if edge.adjoint is None else f"{value} | {flow_text(edge)}"


def _quoted(text, syntax):
    return '"' + "".join(syntax.replacements.get(c, c) for c in " ".join(text.splitlines())) + '"'
