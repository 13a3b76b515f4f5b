"""A graph as one self-contained HTML page: boxes open on a click, the pass goes step by step, the mouse tells more."""

import itertools
import json
from html import escape
from importlib.resources import files

from jaxdl.graph.boxes import Box
from jaxdl.graph.layout import Passing, columns
from jaxdl.graph.node import Node
from jaxdl.graph.picture import title
from jaxdl.graph.steps import steps
from jaxdl.graph.words import formula, full_text, shape_text, value_text

PORT = 26  # pixels between the ends of edges at one node, as in the page's script
MOST_STEPS = 2_000  # of the slider; a larger graph has none


def page(root: Box, opened: set) -> bytes:
    """The bytes of the page; what stands beside what is settled here, the browser finds the places."""
    ids = {item: f"i{k}" for k, item in enumerate(_items(root))}
    nodes = [item for item in ids if isinstance(item, Node)]
    graph = nodes[-1].graph  # the results are its own, and last
    has_values = all(x.node.kept for x in graph.flat_arguments)
    data = {
        "edges": [_edge(edge, ids) for node in nodes for edge in node.edges],
        "cards": {ids[node]: _card(node) for node in nodes},
        "steps": [_step(s, ids) for s in itertools.islice(steps(graph), MOST_STEPS + 1)] if has_values else [],
    }
    if len(data["steps"]) > MOST_STEPS:
        data["steps"] = []
    template = files("jaxdl.graph").joinpath("page.html").read_text(encoding="utf-8")
    parts = {
        "TITLE": escape(graph.name),
        "GRAPH": _html(root, opened, ids),
        "DATA": json.dumps(data, ensure_ascii=False).replace("</", "<\\/"),
    }
    for name, text in parts.items():
        template = template.replace(f"{{{{{name}}}}}", text)
    return template.encode()


def _items(item):
    yield item
    if isinstance(item, Box):
        for inner in item.items:
            yield from _items(inner)


def _html(item, opened, ids):
    if isinstance(item, Passing):
        ends = " ".join(ids.get(end, "") for end in item.ends)
        return f'<i class="pass" data-ends="{ends}"></i>'
    first, second = map(escape, title(item))
    if isinstance(item, Node):
        height = PORT * len({edge.source for edge in item.edges})
        style = f' style="min-height: {height}px"' if height > PORT else ""
        words = f"<b>{first}</b><small>{second}</small>"
        return f'<div class="node is-{item.kind}" id="{ids[item]}" tabindex="0"{style}>{words}</div>'
    rows = "".join(
        f'<div class="column">{"".join(_html(x, opened, ids) for x in row)}</div>' for row in columns(item)[0]
    )
    state = "" if item in opened else " closed"
    words, expanded = f"<b>{first}</b> <small>{second}</small>", str(item in opened).lower()
    button = f'<button type="button" aria-expanded="{expanded}">{words}</button>'
    return f'<div class="box{state}" id="{ids[item]}">{button}<div class="columns">{rows}</div></div>'


def _edge(edge, ids):
    source, target = edge.source.node, edge.target
    kept = source.kept is not None
    return {
        "from": ids[source],
        "to": ids[target],
        "array": f"{ids[source]}.{edge.source.place}",
        "value": value_text(edge.value) if kept else shape_text(edge.source.type),
        "adjoint": "" if edge.adjoint is None else value_text(edge.adjoint),
    }


def _card(node):
    lines = {"": f"{node.label}: {node.name}"}
    if node.equation is not None:
        lines["formula"] = formula(node)
    for k, t in enumerate(node.types):
        which = f" {k}" if len(node.types) > 1 else ""
        lines[f"value{which}"] = full_text(node.kept[k]) if node.kept else shape_text(t)
        if node.adjoints and node.adjoints[k] is not None:
            lines[f"adjoint{which}"] = full_text(node.adjoints[k])
    if node.where:
        lines["source"] = node.where
    return lines


def _step(step, ids):
    back = step.edge is not None
    return {"node": ids[step.node], "to": ids[step.edge.source.node] if back else "", "text": step.text}
