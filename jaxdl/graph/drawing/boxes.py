"""Nested boxes of nodes, by the scopes of the function. Each box holds consecutive nodes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.graph.bodies import has_a_step
from jaxdl.graph.node import ARGUMENT, BOX, CONSTANT, RESULT, AnyGraph, Edge, Node
from jaxdl.graph.steps import contributions
from jaxdl.graph.text import INFIX, symbol, value_text

MOST_ITEMS = 40  # in one box; more items are grouped into boxes
LEGIBLE = 20  # items in a picture by default


@dataclass(eq=False)
class Box:
    """A part of a graph: nodes and boxes in the order of evaluation."""

    name: str
    items: list[Node | Box] = field(default_factory=list)

    @property
    def nodes(self) -> Iterator[Node]:
        """All nodes, at any depth."""
        for item in self.items:
            if isinstance(item, Node):
                yield item
            else:
                yield from item.nodes

    @property
    def size(self) -> int:
        """The number of operations."""
        return sum(node.equation is not None for node in self.nodes)


def boxes_of(graph: AnyGraph) -> Box:
    """All nodes of a graph, and one for each result.

    Constants and parts of arguments, such as parameters, are in the innermost box that contains all of their users. An
    argument that is one array is outside of all boxes, so that a folded model shows its input.
    """
    root = Box(graph.name)
    operations = [node for node in graph.nodes if node.kind not in (ARGUMENT, CONSTANT)]
    place = _fill(root, operations, 0)
    for node in reversed([node for node in graph.nodes if node.kind in (ARGUMENT, CONSTANT)]):
        paths = [place[edge.target] for edge in node.users]
        is_whole = node.kind == ARGUMENT and node.label.isidentifier()
        (root if is_whole else _common(paths, root)).items.insert(0, node)
    _simplify(root)
    if len(operations) <= LEGIBLE:
        _draw_numbers(root)
    if graph.has_values:
        _open(root, graph)
    _divide(root)
    for label, output in zip(graph.result_labels, graph.flat_outputs, strict=True):
        result = Node(graph, -1, label, label, RESULT, (), None, (output.type,))
        result.inputs = (Edge(output, result, 0, graph.cotangents.get(output)),)
        root.items.append(result)
    return root


def _fill(box, nodes, depth, path=()) -> dict[Any, Any]:
    """Puts nodes into a box, and returns the boxes around each. A scope that is left and entered again is two boxes."""
    path, place = (*path, box), {}
    scope_of = lambda node: node.scope[depth] if len(node.scope) > depth else None
    for scope, run in itertools.groupby(nodes, key=scope_of):
        run = list(run)
        if scope is None:
            box.items += run
            place |= dict.fromkeys(run, path)
        else:
            inner = Box(scope.name)
            box.items.append(inner)
            place |= _fill(inner, run, depth + 1, path)
    return place


def _common(paths, root):
    found = root
    for level in zip(*paths, strict=False):
        if any(box is not level[0] for box in level):
            break
        found = level[0]
    return found


def _open(box, graph):
    """Replaces each loop, branch and checkpoint by a box of the node and its body; for a loop, its first step."""
    for i, item in enumerate(box.items):
        if isinstance(item, Box):
            _open(item, graph)
        elif item.kind == BOX and has_a_step(item):
            inner = boxes_of(graph.inside(item))
            inner.name = "first step" if item.name in ("scan", "while") else "inside"
            box.items[i] = Box(f"{item.label}: {item.name}", [item, inner])


def _draw_numbers(box):
    """Adds a node for each number of the program that an operation between two values uses."""
    for item in [*box.items]:
        if isinstance(item, Box):
            _draw_numbers(item)
        elif item.name in INFIX and len(item.inputs) == 2 and len(item.edges) == 1:
            (place,) = {0, 1} - {item.edges[0].place}
            number = jnp.asarray(item.inputs[place])
            kind = jax.ShapeDtypeStruct(number.shape, number.dtype)
            leaf = Node(item.graph, -1, value_text(number), "number", CONSTANT, (), None, (kind,), kept=[number])
            leaf.users = item.numbers = [Edge(leaf[0], item, place)]
            box.items.insert(box.items.index(item), leaf)


def _simplify(box):
    """Removes boxes around a single item."""
    for item in box.items:
        if isinstance(item, Box):
            _simplify(item)
    box.items = [item.items[0] if isinstance(item, Box) and len(item.items) == 1 else item for item in box.items]


def _divide(box):
    """Groups the items of a box with too many into boxes, and these again, until no box has too many."""
    for item in box.items:
        if isinstance(item, Box):
            _divide(item)
    count = len(box.items)
    if count > MOST_ITEMS:
        levels = math.ceil(math.log(count, MOST_ITEMS))
        length = math.ceil(count ** (1 - 1 / levels))
        runs = [box.items[i : i + length] for i in range(0, count, length)]
        box.items = [Box(_range(run), run) for run in runs]
        for run in box.items:
            _divide(run)


def _range(items):
    """The label of a group: the labels of its first and last node."""
    nodes = [*Box("", items).nodes]
    return f"{nodes[0].label} … {nodes[-1].label}"


def title(item: Node | Box) -> tuple[str, str]:
    """The two lines of text in an item."""
    if isinstance(item, Box):
        return item.name, "1 operation" if item.size == 1 else f"{item.size} operations"
    if item.equation is None:
        return item.label, ""
    return symbol(item), item.label


def total_text(item: Node | Box) -> str:
    """The gradient of a value with several uses, which no edge shows: Σ 7."""
    if isinstance(item, Box) or len(item.types) != 1 or len(contributions(item[0])) < 2:
        return ""
    return f"Σ {value_text(item.adjoint)}"


def opened_at_first(root: Box, depth: int | None) -> set[Box]:
    """The boxes that are drawn open: the root and `depth` levels in it, by default as many as stay legible."""
    levels = [[root]]
    while levels[-1]:
        levels.append([item for box in levels[-1] for item in box.items if isinstance(item, Box)])
    opened, shown = set(), 1
    for level, found in enumerate(levels[:-1]):
        shown += sum(len(box.items) for box in found)
        if level > 0 and (shown > LEGIBLE if depth is None else level > depth):
            break
        opened |= set(found)
    return opened
