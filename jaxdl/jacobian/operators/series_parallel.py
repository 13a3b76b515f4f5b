"""From a graph with operators on its edges to a chain of sums of chains, as far as it is one."""

import itertools

from jaxdl.jacobian.operators.base import Identity, Operator, chain, common_dtype, node, size, static, total
from jaxdl.jacobian.operators.kinds import Selection


@node
class Graph(Operator):
    """Operators on the edges of a graph, from vertex 0 to the last: paths add. For what is no chain of sums."""

    operators: tuple
    ends: tuple = static()
    sizes: tuple = static()
    shape = property(lambda self: (self.sizes[-1], self.sizes[0]))
    dtype = property(lambda self: common_dtype(self.operators))
    label = property(lambda self: f"graph({len(self.ends)} operators, {size(self)})")
    work = property(lambda self: sum(operator.work for operator in self.operators))

    def push(self, v):
        arrived = {0: v}
        for (start, end), operator in sorted(self._edges(), key=lambda edge: edge[0]):
            _add(arrived, end, operator.push(arrived[start]))
        return arrived[len(self.sizes) - 1]

    def pull(self, w):
        arrived = {len(self.sizes) - 1: w}
        for (start, end), operator in sorted(self._edges(), key=lambda edge: edge[0][::-1], reverse=True):
            _add(arrived, start, operator.pull(arrived[end]))
        return arrived[0]

    def _edges(self):
        return zip(self.ends, self.operators, strict=True)


def _add(arrived, vertex, value):
    arrived[vertex] = arrived[vertex] + value if vertex in arrived else value


def collected(edges: list, first, last) -> Operator:
    """The operator from vertex `first` to `last`, with edges as (start, end, operator), starts in topological order.

    Vertices between two edges become products, parallel edges sums (series-parallel reduction); what is left between
    two vertices that all paths pass is a `Graph`.
    """
    into, out, leads = {}, {}, {last}
    for start, end, _ in reversed(edges):
        leads.update([start] if end in leads else [])
    edges = [edge for edge in edges if edge[1] in leads]
    for start, end, operator in edges:
        _connect(into, out, start, end, operator)
    order = list(dict.fromkeys([first, *(vertex for edge in edges for vertex in edge[:2])]))
    _reduce(into, out, order, first, last)
    left = [vertex for vertex in order if vertex == last or out.get(vertex)]
    place = {vertex: i for i, vertex in enumerate(left)}
    gates, reached = [], 0
    for i, vertex in enumerate(left):
        if reached <= i:
            gates.append(i)
        reached = max([reached, *(place[end] for end in out.get(vertex, ()))])
    pieces = [_between(left[i : j + 1], out) for i, j in itertools.pairwise(gates)]
    return chain(*reversed(pieces))


def _connect(into, out, start, end, operator):
    ends = out.setdefault(start, {})
    ends[end] = total(ends[end], operator) if end in ends else operator
    into.setdefault(end, {})[start] = None


def _reduce(into, out, order, first, last):
    waiting = [vertex for vertex in order if vertex not in (first, last)]
    while waiting:
        vertex = waiting.pop()
        if vertex in into and _may_go(vertex, into, out):
            starts, ends = into.pop(vertex), out.pop(vertex)
            for start in starts:
                before = out[start].pop(vertex)
                for end, after in ends.items():
                    into[end].pop(vertex, None)
                    _connect(into, out, start, end, chain(after, before))
            waiting += [v for v in (*starts, *ends) if v not in (first, last)]


def _may_go(vertex, into, out):
    """One edge in and one out; or one on the one side that only moves entries, so that it costs nothing to repeat."""
    befores, afters = [out[start][vertex] for start in into[vertex]], list(out[vertex].values())
    if len(befores) == 1 == len(afters):
        return True
    return any(len(side) == 1 and isinstance(side[0], Selection | Identity) for side in (befores, afters))


def _between(vertices, out):
    place = {vertex: i for i, vertex in enumerate(vertices)}
    edges = [(place[a], place[b], operator) for a in vertices[:-1] for b, operator in out[a].items()]
    if len(edges) == 1:
        return edges[0][2]
    sizes = [0] * len(vertices)
    for a, b, operator in edges:
        sizes[b], sizes[a] = operator.shape
    return Graph(tuple(o for *_, o in edges), tuple((a, b) for a, b, _ in edges), tuple(sizes))
