"""A graph drawn by matplotlib: values above the edges and gradients below them."""

import itertools
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve

from jaxdl.graph.drawing.boxes import Box, title, total_text
from jaxdl.graph.drawing.layout import Frame, Passing, frames
from jaxdl.graph.local_gradients import flow_text
from jaxdl.graph.node import ARGUMENT, BOX, CONSTANT, RESULT, RULE, Node
from jaxdl.graph.text import ORDERED, shape_text, shapes_text, value_text
from jaxdl.report import AUTOMATIC_TEXT, HAND, picture

# Names may contain dollar signs, so that text is not parsed as mathematics.
PLAIN: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 4, "parse_math": False}
PORT = 19.0  # points between the ends of two edges at one item
LETTER, SMALL_LETTER = 5.6, 4.2  # width of a character in points
MOST_PIXELS = 12_000
FILLS = {ARGUMENT: "#ffffff", CONSTANT: "#ffffff", RESULT: "#ffffff", RULE: "#d8eee6", BOX: "#e9e4f5"}
OPERATION_FILL, CLOSED_FILL, OPEN_FILL = "#f2f2f2", "#dfe7f2", "#fafafa"


@dataclass(eq=False)
class Link:
    """A line between two items: one or more edges of the graph, with the boxes around its ends, from outside in."""

    left: tuple[Node | Box, ...]
    right: tuple[Node | Box, ...]
    edges: list[Any]

    @property
    def a(self) -> Node | Box:
        return self.left[-1]

    @property
    def b(self) -> Node | Box:
        return self.right[-1]

    @property
    def value(self) -> str:
        source = self.edges[0].source
        if not self.is_one_array:
            return shapes_text([source.type for source in dict.fromkeys(edge.source for edge in self.edges)])
        return shape_text(source.type) if source.node.kept is None else value_text(source.value)

    @property
    def adjoint(self) -> str:
        """The sum of what flows back along all of its edges; of a single one with the product that gave it."""
        sent = [edge.adjoint for edge in self.edges if edge.adjoint is not None]
        if len(self.edges) == 1:
            return flow_text(self.edges[0])
        return value_text(sum(sent[1:], sent[0])) if sent and self.is_one_array else ""

    @property
    def room(self) -> float:
        """The width of its labels."""
        return max(len(self.value), len(self.adjoint)) * SMALL_LETTER + 14

    @property
    def is_one_array(self) -> bool:
        return all(edge.source == self.edges[0].source for edge in self.edges)


def links(root: Box, opened: set[Any]) -> list[Link]:
    """One for each pair of visible items with an edge between them, in the order of evaluation."""
    above = {}
    _note_above(root, (), above)
    found = {}
    for node in root.nodes:
        for edge in node.drawn_edges:
            left, right = (_visible(above[end], end, opened) for end in (edge.source.node, node))
            if left[-1] is not right[-1]:
                found.setdefault((left[-1], right[-1]), Link(left, right, [])).edges.append(edge)
    return list(found.values())


def _ways(placed):
    """The frames kept free in the columns between two items."""
    ways = defaultdict(list)
    for item, frame in placed.items():
        if isinstance(item, Passing):
            ways[item.ends].append(frame)
    return ways


def _way(link, ways):
    """The frames between two items: out of the boxes around the first, past their neighbours, into the second's."""
    left, right = link.left, link.right
    apart = next(k for k, (a, b) in enumerate(zip(left, right, strict=False)) if a is not b)
    out = [(item, None) for item in reversed(left[apart + 1 :])]
    ends = [*out, (left[apart], right[apart]), *((None, item) for item in right[apart + 1 :])]
    return [frame for pair in ends for frame in sorted(ways.get(pair, ()), key=lambda frame: frame.x)]


def _note_above(box, path, above):
    for item in box.items:
        if isinstance(item, Node):
            above[item] = (*path, box)
        else:
            _note_above(item, (*path, box), above)


def _visible(path, node, opened):
    """The boxes around a node from outside in, up to the first closed one, or up to the node if all are open."""
    for k, box in enumerate(path):
        if box not in opened:
            return path[: k + 1]
    return (*path, node)


def size_of(item: Any) -> tuple[float, float]:
    """Width and height of a node or a closed box."""
    if isinstance(item, Passing):
        return 0.0, 14.0
    lines = [*title(item), total_text(item)]
    return max(max(map(len, lines)) * LETTER * 1.1 + 14, 30), max(30.0, PORT * len(_sources(item)) + 6)


def _sources(item):
    """The outputs that an item uses from outside itself."""
    own = set(item.nodes) if isinstance(item, Box) else {item}
    return {e.source for node in own for e in node.drawn_edges if e.source.node not in own}


def drawn(root: Box, opened: set[Any]) -> Figure:
    """The picture; a unit of the layout is a point."""
    by_end = defaultdict(list)
    for link in links(root, opened):
        by_end[link.b].append(link)
    placed = frames(root, opened, lambda item: _with_room(item, by_end[item]))
    whole, ways = placed[root], _ways(placed)
    figure = Figure(figsize=(whole.width / 72, whole.height / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, whole.width), ylim=(whole.height, 0))
    axes.axis("off")
    for box in sorted(opened, key=lambda box: -placed[box].width):
        _box(axes, box, placed[box])
    for end, arriving in by_end.items():
        way = {link: _way(link, ways) for link in arriving}
        if end.name not in ORDERED:
            arriving.sort(key=lambda link: way[link][-1].middle if way[link] else placed[link.a].middle)
        for k, link in enumerate(arriving):
            y = placed[end].middle + PORT * (k - (len(arriving) - 1) / 2)
            _link(axes, link, way[link], placed[link.a], placed[end], y)
    for item, frame in placed.items():
        if item not in opened and not isinstance(item, Passing):
            _item(axes, item, _without_room(item, frame))
    return figure


def _with_room(item, arriving):
    width, height = size_of(item)
    return width + max((link.room for link in arriving), default=0.0), height


def _without_room(item, frame):
    """An item's own rectangle: right of the labels of its edges."""
    width, _ = size_of(item)
    return Frame(frame.x + frame.width - width, frame.y, width, frame.height)


def _box(axes, box, frame):
    _rectangle(axes, frame, OPEN_FILL, "#b5b5b5", 6, 0)
    axes.text(frame.x + 8, frame.y + 12, box.name, fontsize=8, color="#555555", va="center", parse_math=False)


def _item(axes, item, frame):
    fill = CLOSED_FILL if isinstance(item, Box) else FILLS.get(item.kind, OPERATION_FILL)
    _rectangle(axes, frame, fill, "#444444", 12 if isinstance(item, Node) else 4, 3)
    first, second = title(item)
    lines = [(first, 9, "#000000"), (second, 6.5, "#5c5c5c"), (total_text(item), 6.5, AUTOMATIC_TEXT)]
    lines = [line for line in lines if line[0]]
    y = frame.middle - 5 * (len(lines) - 1)
    for text, size, colour in lines:
        axes.text(frame.x + frame.width / 2, y, text, fontsize=size, color=colour, **PLAIN)
        y += 11


def _rectangle(axes, frame, fill, line, rounding, order):
    style = f"round,pad=0,rounding_size={min(rounding, frame.height / 2)}"
    corner = (frame.x, frame.y)
    axes.add_patch(FancyBboxPatch(corner, frame.width, frame.height, style, fc=fill, ec=line, lw=0.8, zorder=order))


def _link(axes, link, way, start, frame, y):
    """A line that ends at height y, with the value above it and the gradient below."""
    end = _without_room(link.b, frame)
    between = [(x, f.middle) for f in way for x in (f.x, f.x + f.width)]
    points = [(start.x + start.width, start.middle), *between, (frame.x, y), (end.x - 3, y)]
    axes.add_patch(PathPatch(_curve(points), fc="none", ec="#9a9a9a", lw=0.9, zorder=1))
    axes.plot(*points[-1], marker=">", ms=4, color="#8a8a8a", zorder=2)
    write = {"fontsize": 6.5, "ha": "right", "va": "center", "zorder": 5}
    axes.text(end.x - 9, y - 5.5, link.value, color=HAND["color"], **write)
    axes.text(end.x - 9, y + 5.5, link.adjoint, color=AUTOMATIC_TEXT, **write)


def _curve(points):
    """A curve through all points, horizontal at each."""
    corners, codes = [points[0]], [Curve.MOVETO]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        middle = x0 + 0.4 * (x1 - x0)
        corners += [(middle, y0), (middle, y1), (x1, y1)]
        codes += [Curve.CURVE4] * 3
    return Curve(corners, codes)


def image(root: Box, opened: set[Any], kind: str) -> bytes:
    """The bytes of an SVG, PNG or PDF file."""
    with rc_context({"svg.fonttype": "none", "font.family": "DejaVu Sans"}):
        figure = drawn(root, opened)
        return picture(figure, f".{kind}", dpi=min(160, MOST_PIXELS / max(figure.get_size_inches())))
