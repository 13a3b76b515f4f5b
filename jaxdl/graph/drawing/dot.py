"""A graph as text for other programs: Graphviz' DOT and Mermaid, with a box for each scope."""

import functools
import itertools
from typing import NamedTuple

from jaxdl.graph.drawing.boxes import Box
from jaxdl.graph.drawing.picture import title
from jaxdl.graph.node import Node
from jaxdl.graph.text import shape_text, value_text


class Syntax(NamedTuple):
    """How a language writes the beginning, a node, the beginning and the end of a box, an edge, and the end; and what
    it writes in the place of characters that would end a text or mean something in it."""

    begin: str
    node: str
    box: str
    box_end: str
    edge: str
    end: str
    instead: dict[str, str]


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


def written(root: Box, opened: set, syntax: Syntax) -> bytes:
    """The whole graph, all boxes open: values in the edges' labels, and gradients where it has been swept."""
    ids = {node: f"n{k}" for k, node in enumerate(root.nodes)}
    lines = [syntax.begin, *_items(root, "  ", ids, itertools.count(1), syntax)]
    for node in root.nodes:
        for edge in node.edges:
            lines.append(
                "  " + syntax.edge.format(a=ids[edge.source.node], b=ids[node], text=_quoted(_told(edge), syntax))
            )
    return "\n".join([*lines, syntax.end]).rstrip().encode() + b"\n"


dot, mermaid = (functools.partial(written, syntax=syntax) for syntax in (DOT, MERMAID))


def _items(box, indent, ids, numbers, syntax):
    for item in box.items:
        if isinstance(item, Node):
            yield indent + syntax.node.format(id=ids[item], text=_quoted(" ".join(title(item)).strip(), syntax))
        else:
            yield indent + syntax.box.format(id=next(numbers), text=_quoted(item.name, syntax))
            yield from _items(item, indent + "  ", ids, numbers, syntax)
            yield indent + syntax.box_end


def _told(edge):
    """Value, and the local product where it has been swept."""
    value = shape_text(edge.source.type) if edge.source.node.kept is None else value_text(edge.value)
    return value if edge.adjoint is None else f"{value} | {value_text(edge.adjoint)}"


def _quoted(text, syntax):
    return '"' + "".join(syntax.instead.get(c, c) for c in " ".join(text.splitlines())) + '"'
