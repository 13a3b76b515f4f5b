"""From a graph with operators on its edges to products and sums of them, as far as the graph is series-parallel."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable
from typing import Any

import jax

from jaxdl.jacobian.operators.base import Identity, Operator, common_dtype, compose, node, size_text, static
from jaxdl.jacobian.operators.selection import Selection
from jaxdl.jacobian.operators.sums import add_operators


@node
class Network(Operator):
    """Operators on the edges of a graph, from vertex 0 to the last, where paths add: no product of sums."""

    operators: tuple[Operator, ...]
    ends: tuple[tuple[int, int], ...] = static()
    sizes: tuple[int, ...] = static()

    @property
    def shape(self) -> tuple[int, int]:
        return self.sizes[-1], self.sizes[0]

    @property
    def dtype(self) -> Any:
        return common_dtype(self.operators)

    @property
    def label(self) -> str:
        return f"graph({len(self.ends)} operators, {size_text(self)})"

    @property
    def work(self) -> float:
        return sum(operator.work for operator in self.operators)

    def push(self, v: jax.Array) -> jax.Array:
        sums = {0: v}
        for (start, end), operator in sorted(self._edges(), key=lambda edge: edge[0]):
            _add_to(sums, end, operator.push(sums[start]))
        return sums[len(self.sizes) - 1]

    def pull(self, w: jax.Array) -> jax.Array:
        sums = {len(self.sizes) - 1: w}
        for (start, end), operator in sorted(self._edges(), key=lambda edge: edge[0][::-1], reverse=True):
            _add_to(sums, start, operator.pull(sums[end]))
        return sums[0]

    def _edges(self) -> Iterable[tuple[tuple[int, int], Operator]]:
        return zip(self.ends, self.operators, strict=True)


def _add_to(sums: dict[Any, Any], vertex: int, value: jax.Array) -> None:
    sums[vertex] = sums[vertex] + value if vertex in sums else value


class _Graph:
    """A graph with one operator between two vertices, which can be simplified."""

    def __init__(self, edges: Iterable[tuple[Hashable, Hashable, Operator]]):
        self.operators: dict[Any, dict[Any, Operator]] = {}
        self.predecessors: dict[Any, dict[Any, None]] = {}
        for start, end, operator in edges:
            self.connect(start, end, operator)

    def connect(self, start: Hashable, end: Hashable, operator: Operator) -> None:
        """Adds an edge, to the one that is there if there is one."""
        successors = self.operators.setdefault(start, {})
        successors[end] = add_operators(successors[end], operator) if end in successors else operator
        self.predecessors.setdefault(end, {})[start] = None

    def successors(self, vertex: Hashable) -> Iterable[Any]:
        return self.operators.get(vertex, ())

    def simplify(self, order: list[Any], first: Hashable, last: Hashable) -> None:
        """Replaces vertices between two edges by the product of their operators, until there is none."""
        waiting = [vertex for vertex in order if vertex not in (first, last)]
        while waiting:
            vertex = waiting.pop()
            if vertex in self.predecessors and self._is_removable(vertex):
                starts, ends = self.predecessors.pop(vertex), self.operators.pop(vertex)
                for start in starts:
                    before = self.operators[start].pop(vertex)
                    for end, after in ends.items():
                        self.predecessors[end].pop(vertex, None)
                        self.connect(start, end, compose(after, before))
                waiting += [v for v in (*starts, *ends) if v not in (first, last)]

    def _is_removable(self, vertex: Hashable) -> bool:
        """Whether one edge enters and one leaves, or one on either side only moves entries, so that it may repeat."""
        entering = [self.operators[start][vertex] for start in self.predecessors[vertex]]
        leaving = list(self.operators[vertex].values())
        if len(entering) == 1 == len(leaving):
            return True
        return any(len(side) == 1 and isinstance(side[0], Selection | Identity) for side in (entering, leaving))

    def between(self, vertices: list[Any]) -> Operator:
        """The operator from the first of these vertices to the last."""
        place = {vertex: i for i, vertex in enumerate(vertices)}
        edges = [
            ((place[start], place[end]), operator)
            for start in vertices[:-1]
            for end, operator in self.operators[start].items()
        ]
        if len(edges) == 1:
            return edges[0][1]
        sizes = [0] * len(vertices)
        for (start, end), operator in edges:
            sizes[end], sizes[start] = operator.shape
        return Network(tuple(operator for _, operator in edges), tuple(ends for ends, _ in edges), tuple(sizes))


def reduce_graph(edges: list[tuple[Hashable, Hashable, Operator]], first: Hashable, last: Hashable) -> Operator:
    """The operator from vertex `first` to `last` of a graph, by series-parallel reduction.

    Vertices between two edges become products, parallel edges sums. What remains between two vertices that all paths
    pass is a `Network`.

    Args:
        edges: (start, end, operator), with the starts in topological order.
        first: The vertex of the input.
        last: The vertex of the output.
    """
    useful = {last}
    for start, end, _ in reversed(edges):
        useful.update([start] if end in useful else [])
    edges = [edge for edge in edges if edge[1] in useful]
    graph = _Graph(edges)
    order = list(dict.fromkeys([first, *(vertex for edge in edges for vertex in edge[:2])]))
    graph.simplify(order, first, last)
    remaining = [vertex for vertex in order if vertex == last or graph.successors(vertex)]
    place = {vertex: i for i, vertex in enumerate(remaining)}
    common, reached = [], 0  # the vertices on all paths
    for i, vertex in enumerate(remaining):
        if reached <= i:
            common.append(i)
        reached = max([reached, *(place[end] for end in graph.successors(vertex))])
    return compose(*reversed([graph.between(remaining[i : j + 1]) for i, j in itertools.pairwise(common)]))
