"""A graph as one self-contained HTML page: boxes open on a click, a slider shows the passes step by step."""

import itertools
import json
import re
from collections import defaultdict
from html import escape
from importlib.resources import files

from jaxdl.graph.drawing.boxes import Box, title, total_text
from jaxdl.graph.drawing.layout import Passing, columns_of, nodes_of
from jaxdl.graph.local_gradients import flow_text
from jaxdl.graph.node import RESULT, Node
from jaxdl.graph.steps import steps_of
from jaxdl.graph.text import ORDERED, formula, full_text, numbers_text, shape_text, value_text

MOST_STEPS = 2_000  # of the slider; a graph with more steps has no slider
MOST_ITEMS = 6_000  # on the page; in a larger graph the innermost boxes cannot be opened


def html(root: Box, opened: set[Box]) -> bytes:
    """The bytes of the page. The columns are settled here; the browser computes the positions."""
    parents = _parents(root)
    ids = {item: f"i{k}" for k, item in enumerate([root, *(item for box in parents for item in box.items)])}
    holder = {node: item for item in ids if item not in parents for node in nodes_of(item)}
    *_, result = root.nodes
    graph = result.graph  # the outer graph; other nodes may be of a loop's step
    nodes = [item for item in root.items if isinstance(item, Node)]
    results = {edge.source.node: node for node in nodes if node.kind == RESULT for edge in node.edges}
    is_whole = all(isinstance(item, Node) for item in holder.values())
    shown = [*itertools.islice(steps_of(graph), MOST_STEPS + 1)] if graph.has_values and is_whole else []
    data = {
        "edges": _edges(holder, ids),
        "sums": _sums(parents, ids, holder),
        "cards": {ids[item]: _card(item) for item in holder.values() if isinstance(item, Node)},
        "steps": [_step(step, ids, results) for step in shown] if len(shown) <= MOST_STEPS else [],
    }
    template = files("jaxdl.graph.drawing").joinpath("page.html").read_text(encoding="utf-8")
    parts = {
        "TITLE": escape(graph.name),
        "GRAPH": _html(root, opened, parents, ids),
        "DATA": json.dumps(data, ensure_ascii=False).replace("<", "\\u003c"),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template).encode()


def _parents(root) -> list[Box]:
    """The boxes whose items are on the page, from outside in; in a very large graph not all boxes."""
    found, level = [], [root]
    while level and sum(len(box.items) for box in (*found, *level)) <= MOST_ITEMS:
        found += level
        level = [item for box in level for item in box.items if isinstance(item, Box)]
    return found


def _edges(holder, ids):
    """One for each edge between two items of the page; a single one between two items if either is a closed box."""
    found, joined = [], set()
    for node, item in holder.items():
        for edge in node.drawn_edges:
            source = holder[edge.source.node]
            if source is item or (source, item) in joined:
                continue
            if isinstance(source, Box) or isinstance(item, Box):
                joined.add((source, item))
            found.append(_edge(edge, ids[source], ids[item]))
    return found


def _sums(parents, ids, holder):
    """What flows back to each array from all of its uses in a box, for boxes with several; the text of a closed box."""
    found = defaultdict(list)
    for box in parents:
        inside = {node for node in box.nodes if node in holder}
        for edge in (edge for node in inside for edge in node.edges if edge.adjoint is not None):
            if edge.source.node not in inside:
                found[f"{ids[holder[edge.source.node]]}.{edge.source.place} {ids[box]}"].append(edge.adjoint)
    return {key: value_text(sum(sent[1:], sent[0])) for key, sent in found.items() if len(sent) > 1}


def _html(item, opened, parents, ids):
    if isinstance(item, Passing):
        ends = " ".join(ids.get(end, "") for end in item.ends)
        return f'<i class="pass" data-ends="{ends}"></i>'
    first, second = map(escape, title(item))
    if isinstance(item, Node):
        words = f"<b>{first}</b><small>{second}</small>{_total(item)}"
        ordered = " ordered" if item.name in ORDERED else ""
        return _cell(f'<div class="node is-{item.kind}{ordered}" id="{ids[item]}" tabindex="0">{words}</div>')
    if item not in parents:
        return _cell(f'<div class="node is-box" id="{ids[item]}"><b>{first}</b><small>{second}</small></div>')
    rows = "".join(
        f'<div class="column">{"".join(_html(x, opened, parents, ids) for x in row)}</div>'
        for row in columns_of(item)[0]
    )
    state = "" if item in opened else " closed"
    words, expanded = f"<b>{first}</b> <small>{second}</small>", str(item in opened).lower()
    button = f'<button type="button" aria-expanded="{expanded}">{words}</button>'
    return _cell(f'<div class="box{state}" id="{ids[item]}">{button}<div class="columns">{rows}</div></div>')


def _cell(html):
    """An item, after a place for the labels of the edges that end at it."""
    return f'<div class="cell"><div class="ports"></div>{html}</div>'


def _total(node):
    text = total_text(node)
    return text and f'<small class="adjoint total">{escape(text)}</small>'


def _edge(edge, source, target):
    kept = edge.source.node.kept is not None
    return {
        "from": source,
        "to": target,
        "array": f"{source}.{edge.source.place}",
        "shape": shape_text(edge.source.type),
        "value": value_text(edge.value) if kept else shape_text(edge.source.type),
        "adjoint": flow_text(edge),
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
    for edge in node.edges:
        if edge.local is not None:
            lines[f"∂{node.label}/∂{edge.source}"] = numbers_text(edge.local)
    if node.where:
        lines["source"] = node.where
    return lines


def _step(step, ids, results):
    """The gradient of a result flows along the edge to it."""
    node, source = step.node, step.edge.source.node if step.edge else None
    if step.backward and step.edge is None and node in results:
        node, source = results.pop(node), node
    return {"node": ids[node], "to": ids.get(source, ""), "back": step.backward, "text": step.text}
