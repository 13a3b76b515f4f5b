"""Layered layout of a graph: columns from left to right, ordered so that few edges cross (Sugiyama et al. 1981).

Each open box is laid out by itself; in the box around it, it is one item of the resulting size.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from jaxdl.graph.drawing.boxes import Box
from jaxdl.graph.node import Node

SWEEPS = 8


@dataclass(eq=False)
class Passing:
    """A free place in a column through which an edge passes; an end outside the box is None."""

    ends: tuple[Any, ...]


def columns_of(box: Box) -> tuple[list[list[Any]], dict[Any, Any]]:
    """The items of a box in columns, with a `Passing` where an edge passes a column; and the predecessors of each."""
    holder = {node: item for item in box.items for node in nodes_of(item)}
    place = {item: i for i, item in enumerate(box.items)} | {None: -1}
    links = {(holder.get(e.source.node), item) for node, item in holder.items() for e in node.drawn_edges}
    links |= {(item, holder.get(e.target)) for node, item in holder.items() for e in node.users}
    links = sorted((link for link in links if link[0] is not link[1]), key=lambda link: [place[end] for end in link])
    depth = _depths(box.items, [link for link in links if None not in link])
    rows: list[list[Node | Box | Passing]] = [
        [item for item in box.items if depth[item] == k] for k in range(max(depth.values(), default=0) + 1)
    ]
    before, after = defaultdict(list), defaultdict(list)
    for a, b in links:
        first, last = depth.get(a, -1), depth.get(b, len(rows))
        chain = [Passing((a, b)) for _ in range(first + 1, last)]
        for k, passing in enumerate(chain, first + 1):
            rows[k].append(passing)
        for left, right in itertools.pairwise([x for x in (a, *chain, b) if x is not None]):
            before[right].append(left)
            after[left].append(right)
    _untangle(rows, before, after)
    return rows, before


def _depths(items, links):
    """The column of each item: right of what it needs; inputs are moved right, up to their first use."""
    into, out = defaultdict(list), defaultdict(list)
    for a, b in links:
        into[b].append(a)
        out[a].append(b)
    depth = {}
    for item in items:  # in the order of evaluation
        depth[item] = max((depth[a] + 1 for a in into[item] if a in depth), default=0)
    for item in reversed(items):
        if not into[item] and out[item]:
            depth[item] = min(depth[b] for b in out[item]) - 1
    return depth


def _untangle(rows, before, after):
    """Sorts each column by the mean position of its neighbours in the previous column, then in the next, in turn."""
    for sweep in range(SWEEPS):
        beside, order = (before, rows) if sweep % 2 == 0 else (after, rows[::-1])
        for fixed, row in itertools.pairwise(order):
            place, own = ({item: i for i, item in enumerate(items)} for items in (fixed, row))

            def mean(item, place=place, own=own, beside=beside):
                near = [place[x] for x in beside[item]]
                return sum(near) / len(near) if near else own[item]

            row.sort(key=mean)


# --- coordinates -------------------------------------------------------------------------------------------


@dataclass
class Frame:
    """The rectangle of an item in points, from its upper left corner; for an open box, with the items in it."""

    x: float
    y: float
    width: float
    height: float
    inside: tuple[Any, ...] = ()

    @property
    def middle(self) -> float:
        """The height of the centre."""
        return self.y + self.height / 2


GAP_X, GAP_Y, PADDING, TITLE = 30.0, 14.0, 12.0, 16.0


def frames(box: Box, opened: set[Any], size: Callable[[Any], tuple[float, float]]) -> dict[Any, Any]:
    """The frame of an open box and of every item in it; size(item) is that of a node or a closed box."""
    found = {}
    _place(box, opened, size, found)
    return found


def _place(box, opened, size, found):
    """Adds the frames of a box, placed at (0, 0), and of everything in it."""
    rows, before = columns_of(box)
    inner = {}
    for item in box.items:
        if item in opened:
            _place(item, opened, size, inner)
        else:
            inner[item] = Frame(0, 0, *size(item))
    for row in rows:
        for item in row:
            if isinstance(item, Passing):
                inner[item] = Frame(0, 0, 0, GAP_Y)
    x = PADDING
    tallest = max((_height(row, inner) for row in rows), default=0.0)
    for row in rows:
        width = max((inner[item].width for item in row), default=0.0)
        y = TITLE + PADDING + (tallest - _height(row, inner)) / 2
        for item in row:
            frame = inner[item]
            if item not in opened:  # its edges reach it, or pass it, horizontally
                frame.width = width
            _shift(item, x + width - frame.width - frame.x, y - frame.y, inner)
            y += frame.height + GAP_Y
        x += width + GAP_X
    _straighten(rows, before, inner)
    top = min((inner[item].y for row in rows for item in row), default=0.0)
    for item in (item for row in rows for item in row):
        _shift(item, 0.0, TITLE + PADDING - top, inner)
    bottom = max((inner[item].y + inner[item].height for row in rows for item in row), default=TITLE)
    found |= inner
    all_items = tuple(item for row in rows for item in row)
    found[box] = Frame(0.0, 0.0, x - GAP_X + PADDING, bottom + PADDING, all_items)


def _height(row, inner):
    return sum(inner[item].height for item in row) + GAP_Y * max(len(row) - 1, 0)


def _shift(item, dx, dy, inner):
    inner[item].x += dx
    inner[item].y += dy
    for child in inner[item].inside:
        _shift(child, dx, dy, inner)


def _straighten(rows, before, inner):
    """Moves the items of each column toward the height of their predecessors, without changing their order."""
    for row in rows[1:]:
        lowest = -float("inf")
        for item in row:
            near = [inner[x].middle for x in before[item]]
            wish = sum(near) / len(near) if near else inner[item].middle
            y = max(wish - inner[item].height / 2, lowest)
            _shift(item, 0.0, y - inner[item].y, inner)
            lowest = y + inner[item].height + GAP_Y


def nodes_of(item: Node | Box) -> Iterable[Node]:
    """The node itself, or the nodes in a box."""
    return (item,) if isinstance(item, Node) else item.nodes
