"""Orders in which to eliminate the vertices of a scalar graph with few multiplications.

Eliminating v joins each of its predecessors u to each of its successors w, ∂w/∂u += ∂w/∂v ∂v/∂u, and removes v. That
takes in(v) · out(v) multiplications (Griewank and Reese 1991), except those by ±1 or of two constants, which are free.
To find the best order is NP-complete (Naumann 2008); here: greedy by least cost (Markowitz), then simulated annealing.

The remaining graph depends on which vertices were eliminated, not on their order. So a change within a window of the
order changes costs only there, and is judged by the window alone.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
import random
import time
from collections.abc import Iterator, Sequence

from jaxdl.jacobian.analysis.elimination.accumulation import accumulate
from jaxdl.jacobian.analysis.elimination.scalar_graphs import ScalarGraph

MOVES_PER_VERTEX = 400
REFINING_MOVES = 2000


class RemainingGraph:
    """The graph after some eliminations, as bit masks: bit w of outs[v] is the edge v → w.

    unit_…: the edges with value ±1; fixed_…: those with a constant value. A sum of edges does not count as ±1.
    """

    __slots__ = ("fixed_ins", "fixed_outs", "ins", "outs", "unit_ins", "unit_outs")

    @classmethod
    def of(cls, graph: ScalarGraph) -> RemainingGraph:
        new, count = cls(), 1 + max([v for _, v in graph.edges] + [*graph.inner, graph.n])
        for name in cls.__slots__:
            setattr(new, name, [0] * count)
        for (u, v), weight in graph.edges.items():
            fixed = isinstance(weight, float)
            for kind, belongs in (("", True), ("unit_", fixed and abs(weight) == 1.0), ("fixed_", fixed)):
                if belongs:
                    getattr(new, f"{kind}outs")[u] |= 1 << v
                    getattr(new, f"{kind}ins")[v] |= 1 << u
        return new

    def copy(self) -> RemainingGraph:
        new = RemainingGraph()
        new.ins, new.outs = self.ins.copy(), self.outs.copy()
        new.unit_ins, new.unit_outs = self.unit_ins.copy(), self.unit_outs.copy()
        new.fixed_ins, new.fixed_outs = self.fixed_ins.copy(), self.fixed_outs.copy()
        return new

    def cost(self, v: int) -> int:
        """Multiplications to eliminate v now."""
        unit_in, unit_out = self.unit_ins[v], self.unit_outs[v]
        a, b = (self.ins[v] & ~unit_in).bit_count(), (self.outs[v] & ~unit_out).bit_count()
        return a * b - (self.fixed_ins[v] & ~unit_in).bit_count() * (self.fixed_outs[v] & ~unit_out).bit_count()

    def is_free_to_eliminate(self, v: int) -> bool:
        """Whether to eliminate v now costs no more than later, and makes no other vertex more expensive."""
        one_in, one_out = self.ins[v].bit_count() == 1, self.outs[v].bit_count() == 1
        return (one_in and one_out) or (one_in and self.unit_ins[v] != 0) or (one_out and self.unit_outs[v] != 0)

    def eliminate(self, v: int) -> None:
        _join(self.ins[v], self.unit_ins[v], self.fixed_ins[v], v, self.outs, self.unit_outs, self.fixed_outs)
        _join(self.outs[v], self.unit_outs[v], self.fixed_outs[v], v, self.ins, self.unit_ins, self.fixed_ins)

    def neighbours(self, v: int) -> Iterator[int]:
        return _bits(self.ins[v] | self.outs[v])


def _join(
    near: int, unit: int, fixed: int, v: int, outs: list[int], unit_outs: list[int], fixed_outs: list[int]
) -> None:
    """Gives each vertex of `near` the edges of v on the other side."""
    far, far_unit, far_fixed, others = outs[v], unit_outs[v], fixed_outs[v], ~(1 << v)
    while near:
        bit = near & -near
        near ^= bit
        u = bit.bit_length() - 1
        old = outs[u]
        outs[u] = (old | far) & others
        keep = ~far & others
        unit_outs[u] = unit_outs[u] & keep | (far_unit & ~old if unit & bit else 0)
        fixed_outs[u] = fixed_outs[u] & keep | (far_fixed & (fixed_outs[u] | ~old) if fixed & bit else 0)


def _bits(mask: int) -> Iterator[int]:
    while mask:
        bit = mask & -mask
        mask ^= bit
        yield bit.bit_length() - 1


# --- orders ------------------------------------------------------------------------------------------------


def multiplications(graph: ScalarGraph, order: Sequence[int]) -> int:
    """The number of multiplications of an order."""
    left, total = RemainingGraph.of(graph), 0
    for v in order:
        total += left.cost(v)
        left.eliminate(v)
    return total


def forward_order(graph: ScalarGraph) -> list[int]:
    return list(graph.inner)


def reverse_order(graph: ScalarGraph) -> list[int]:
    return list(reversed(graph.inner))


def markowitz_order(graph: ScalarGraph) -> list[int]:
    """Always the vertex that is cheapest at the time; of several the last one."""
    left, order, eliminated = RemainingGraph.of(graph), [], set()
    cost = {v: left.cost(v) for v in graph.inner}
    heap = [(c, -v) for v, c in cost.items()]
    heapq.heapify(heap)
    while heap:
        c, v = heapq.heappop(heap)
        v = -v
        if v in eliminated or c != cost[v]:
            continue
        order.append(v)
        eliminated.add(v)
        touched = [u for u in left.neighbours(v) if u in cost and u not in eliminated]
        left.eliminate(v)
        for u in touched:
            if (new := left.cost(u)) != cost[u]:
                cost[u] = new
                heapq.heappush(heap, (new, -u))
    return order


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """Orders by name, and the multiplications of each.

    "found" is the best order of annealing. "emitted" is improved from it by counting equal products once, and its
    count is that of its code. The other counts include all products.
    """

    orders: dict[str, list[int]]
    multiplications: dict[str, int]


def search_order(graph: ScalarGraph, seconds: float = 5.0, seed: int = 0) -> SearchResult:
    """Improves the best of forward, reverse and Markowitz by annealing.

    The number of moves depends on the graph's size. The same seed finds the same order, unless the time limit ends the
    search.

    Args:
        graph: The graph.
        seconds: The time limit.
        seed: Of the random moves.
    """
    end, draw = time.perf_counter() + seconds, random.Random(seed)
    orders = {"forward": forward_order(graph), "reverse": reverse_order(graph), "markowitz": markowitz_order(graph)}
    counts = {name: multiplications(graph, order) for name, order in orders.items()}
    start = orders[min(orders, key=lambda name: counts[name])]
    first, left = _eliminated_first(graph)
    annealed = [*first, *_annealed(left, [v for v in start if v not in set(first)], end, draw)]
    orders["found"] = min(start, annealed, key=lambda order: multiplications(graph, order))
    counts["found"] = multiplications(graph, orders["found"])
    orders["emitted"] = _refined(graph, orders["found"], end, draw)
    counts["emitted"] = accumulate(graph, orders["emitted"]).multiplications
    return SearchResult(orders, counts)


def _eliminated_first(graph: ScalarGraph) -> tuple[list[int], RemainingGraph]:
    """Vertices to eliminate before all others (those with one edge in and one out, or a single ±1 edge on one side).

    Returns:
        Their order, and the remaining graph.
    """
    left, order, todo = RemainingGraph.of(graph), [], set(graph.inner)
    while found := [v for v in sorted(todo) if left.is_free_to_eliminate(v)]:
        for v in found:
            if left.is_free_to_eliminate(v):
                left.eliminate(v)
                todo.remove(v)
                order.append(v)
    return order, left


def _annealed(left: RemainingGraph, start: list[int], end: float, draw: random.Random) -> list[int]:
    """Simulated annealing from an order with geometric cooling."""
    if len(start) < 2:
        return start
    current, moves = _CostedOrder(left, start), MOVES_PER_VERTEX * len(start)
    best, least = list(start), current.total
    hot, cold = max(1.0, 0.01 * current.total), 0.1
    for move in range(moves):
        if move % 256 == 0 and time.perf_counter() > end:
            break
        low, window = _proposal(current.order, draw)
        allowed = -(hot * (cold / hot) ** (move / moves)) * math.log(1.0 - draw.random())
        if current.change(low, window, allowed) and current.total < least:
            best, least = list(current.order), current.total
    return best


def _refined(graph: ScalarGraph, start: list[int], end: float, draw: random.Random) -> list[int]:
    """The same by the products of the emitted code. These take longer to count, so there are fewer moves."""
    if len(start) < 2:
        return start
    best = start
    least = cost = accumulate(graph, start).multiplications
    for move in range(REFINING_MOVES):
        if time.perf_counter() > end:
            break
        low, window = _proposal(start, draw)
        order = [*start[:low], *window, *start[low + len(window) :]]
        new = accumulate(graph, order).multiplications
        if new <= cost - (1.0 - move / REFINING_MOVES) * math.log(1.0 - draw.random()):
            start, cost = order, new
            if cost < least:
                best, least = start, cost
    return best


def _proposal(order: list[int], draw: random.Random) -> tuple[int, list[int]]:
    """A place in the order and a window to put there, with one vertex moved (3 of 4 times) or two exchanged.

    Half of the moves are by at most 10 places.
    """
    i = draw.randrange(len(order))
    j = i + draw.randint(-10, 10) if draw.random() < 0.5 else draw.randrange(len(order))
    j = min(max(j, 0), len(order) - 1)
    low, high = min(i, j), max(i, j)
    window = order[low : high + 1]
    if draw.random() < 0.75:
        window.insert(j - low, window.pop(i - low))
    else:
        window[0], window[-1] = window[-1], window[0]
    return low, window


class _CostedOrder:
    """An order with the cost of each elimination and, at every `stride`-th place, the graph before it."""

    def __init__(self, left: RemainingGraph, order: list[int]):
        self.order, self.costs = list(order), []
        self.stride = -(-len(order) // 128) or 1
        self.before, left = {}, left.copy()
        for place, v in enumerate(order):
            if place % self.stride == 0:
                self.before[place] = left.copy()
            self.costs.append(left.cost(v))
            left.eliminate(v)
        self.total = sum(self.costs)

    def change(self, low: int, window: list[int], allowed: float) -> bool:
        """Replaces the order from place `low` on by `window`, unless that adds more than `allowed` to the cost."""
        start = low - low % self.stride
        left = self.before[start].copy()
        for v in self.order[start:low]:
            left.eliminate(v)
        old = sum(self.costs[low : low + len(window)])
        most, total, costs, before = old + allowed, 0, [], {}
        for place, v in enumerate(window, low):
            if place % self.stride == 0 and place > low:
                before[place] = left.copy()
            cost = left.cost(v)
            total += cost
            if total > most:
                return False
            costs.append(cost)
            left.eliminate(v)
        self.order[low : low + len(window)] = window
        self.costs[low : low + len(window)] = costs
        self.before |= before
        self.total += total - old
        return True
