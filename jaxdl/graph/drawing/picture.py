"""A graph drawn by matplotlib: values above the edges and gradients below them."""

import itertools
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Curve

from jaxdl.graph.drawing.boxes import Box, title
from jaxdl.graph.drawing.layout import Passing, frames
from jaxdl.graph.figures import image_bytes
from jaxdl.graph.node import ARGUMENT, BOX, CONSTANT, RESULT, RULE, Node
from jaxdl.graph.text import shape_text, value_text
from jaxdl.report import AUTOMATIC, HAND

# Names may contain dollar signs, so that text is not parsed as mathematics.
PLAIN: dict[str, Any] = {"ha": "center", "va": "center", "zorder": 4, "parse_math": False}
PORT = 19.0  # points between the ends of two edges at one item
LETTER = 5.6  # width of a character in points
MOST_PIXELS = 12_000
FILLS = {ARGUMENT: "#ffffff", CONSTANT: "#ffffff", RESULT: "#ffffff", RULE: "#d8eee6", BOX: "#e9e4f5"}
OPERATION_FILL, CLOSED_FILL, OPEN_FILL = "#f2f2f2", "#dfe7f2", "#fafafa"


@dataclass(eq=False)
class Link:
    """A line between two items: one or more edges of the graph, and the frames that the line passes."""

    a: Node | Box
    b: Node | Box
    edges: list[Any]
    way: list[Any]

    @property
    def value(self) -> str:
        source = self.edges[0].source
        if not self.is_one_array:
            return f"{len({edge.source for edge in self.edges})} arrays"
        return shape_text(source.type) if source.node.kept is None else value_text(source.value)

    @property
    def adjoint(self) -> str:
        """The sum of what flows back along all of its edges."""
        sent = [edge.adjoint for edge in self.edges if edge.adjoint is not None]
        return value_text(sum(sent[1:], sent[0])) if sent and self.is_one_array else ""

    @property
    def is_one_array(self) -> bool:
        return all(edge.source == self.edges[0].source for edge in self.edges)


def links(root: Box, opened: set[Any], placed: dict[Any, Any]) -> list[Link]:
    """One for each pair of visible items with an edge between them, in the order of evaluation."""
    above = {}
    _note_above(root, (), above)
    ways = defaultdict(list)
    for item, frame in placed.items():
        if isinstance(item, Passing):
            ways[item.ends].append(frame)
    found = {}
    for node in root.nodes:
        for edge in node.edges:
            left, right = (_visible(above[end], end, opened) for end in (edge.source.node, node))
            if left[-1] is not right[-1]:
                link = found.setdefault((left[-1], right[-1]), Link(left[-1], right[-1], [], _way(left, right, ways)))
                link.edges.append(edge)
    return list(found.values())


def _way(left, right, ways):
    """The frames between two items: out of the boxes around the first, past their neighbours, into the second's."""
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
    if isinstance(item, Passing):
        return 0.0, 14.0
    lines = title(item)
    return max(max(map(len, lines)) * LETTER * 1.1 + 14, 30), max(30.0, PORT * len(_sources(item)) + 6)


def _sources(item):
    """The outputs that an item uses from outside itself."""
    own = set(item.nodes) if isinstance(item, Box) else {item}
    return {e.source for node in own for e in node.edges if e.source.node not in own}


def drawn(root: Box, opened: set[Any]) -> Figure:
    """The picture; a unit of the layout is a point."""
    placed = frames(root, opened, size_of)
    whole = placed[root]
    figure = Figure(figsize=(whole.width / 72, whole.height / 72))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, whole.width), ylim=(whole.height, 0))
    axes.axis("off")
    for box in sorted(opened, key=lambda box: -placed[box].width):
        _box(axes, box, placed[box])
    found = links(root, opened, placed)
    for end, arriving in _by_end(found).items():
        arriving.sort(key=lambda link: link.way[-1].middle if link.way else placed[link.a].middle)
        for k, link in enumerate(arriving):
            _link(axes, link, placed, placed[end].middle + PORT * (k - (len(arriving) - 1) / 2))
    for item, frame in placed.items():
        if item not in opened and not isinstance(item, Passing):
            _item(axes, item, frame)
    return figure


def _box(axes, box, frame):
    _rectangle(axes, frame, OPEN_FILL, "#b5b5b5", 6, 0)
    axes.text(frame.x + 8, frame.y + 12, box.name, fontsize=8, color="#555555", va="center", parse_math=False)


def _item(axes, item, frame):
    fill = CLOSED_FILL if isinstance(item, Box) else FILLS.get(item.kind, OPERATION_FILL)
    _rectangle(axes, frame, fill, "#444444", 12 if isinstance(item, Node) else 4, 3)
    first, second = title(item)
    middle = frame.x + frame.width / 2
    axes.text(middle, frame.middle - (5 if second else 0), first, fontsize=9, **PLAIN)
    if second:
        axes.text(middle, frame.middle + 8, second, fontsize=6.5, color="#666666", **PLAIN)


def _rectangle(axes, frame, fill, line, rounding, order):
    style = f"round,pad=0,rounding_size={min(rounding, frame.height / 2)}"
    corner = (frame.x, frame.y)
    axes.add_patch(FancyBboxPatch(corner, frame.width, frame.height, style, fc=fill, ec=line, lw=0.8, zorder=order))


def _by_end(found):
    by_end = defaultdict(list)
    for link in found:
        by_end[link.b].append(link)
    return by_end


def _link(axes, link, placed, y):
    """A curve that ends at height y, with the value above it and the gradient below."""
    start, end = placed[link.a], placed[link.b]
    points = [(start.x + start.width, start.middle), *((f.x + f.width / 2, f.middle) for f in link.way), (end.x - 3, y)]
    axes.add_patch(PathPatch(_curve(points), fc="none", ec="#9a9a9a", lw=0.9, zorder=1))
    axes.plot(*points[-1], marker=">", ms=4, color="#8a8a8a", zorder=2)
    write = {"fontsize": 6.5, "ha": "right", "va": "center", "zorder": 5}
    axes.text(end.x - 9, y - 5, link.value, color=HAND["color"], **write)
    axes.text(end.x - 9, y + 4.5, link.adjoint, color=AUTOMATIC["color"], **write)


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
    with rc_context({"svg.fonttype": "none", "font.family": "DejaVu Sans", "svg.hashsalt": "jaxdl"}):
        figure = drawn(root, opened)
        return image_bytes(figure, kind, dpi=min(160, MOST_PIXELS / max(figure.get_size_inches())))
