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
# The part of the time for orders of the emitted code; the first and last temperature, in multiplications.
REFINING = 0.1
HOT, COLD = 1.5, 0.1


class RemainingGraph:
    """The graph after some eliminations.

    The edges of a vertex on one side are three sets of vertices in one integer of 3 · size bits: those with value ±1,
    those with another constant value, and the computed ones. A sum of edges does not count as ±1. Only inner vertices
    are kept up to date.
    """

    __slots__ = ("inner", "ins", "outs", "size")

    def __init__(self, size: int, inner: int, ins: list[int], outs: list[int]):
        self.size, self.inner, self.ins, self.outs = size, inner, ins, outs

    @classmethod
    def of(cls, graph: ScalarGraph) -> RemainingGraph:
        size = 1 + max([v for _, v in graph.edges] + [*graph.inner, graph.n])
        new = cls(size, sum(1 << v for v in graph.inner), [0] * size, [0] * size)
        for (u, v), weight in graph.edges.items():
            kind = 2 if not isinstance(weight, float) else 0 if abs(weight) == 1.0 else 1
            new.outs[u] |= 1 << kind * size + v
            new.ins[v] |= 1 << kind * size + u
        return new

    def copy(self) -> RemainingGraph:
        return RemainingGraph(self.size, self.inner, self.ins.copy(), self.outs.copy())

    def cost(self, v: int) -> int:
        """Multiplications to eliminate v now."""
        size = self.size
        ins, outs = self.ins[v] >> size, self.outs[v] >> size
        a, b = ins.bit_count(), outs.bit_count()
        return a * b - (a - (ins >> size).bit_count()) * (b - (outs >> size).bit_count())

    def is_free_to_eliminate(self, v: int) -> bool:
        """Whether to eliminate v now costs no more than later, and leaves the other vertices as they are.

        Its one edge in and its one edge out become one edge. If one of them is constant, the other constants in its
        path are better multiplied first; a sum with an edge of ±1 is no longer free.
        """
        ins, outs, twice = self.ins[v], self.outs[v], 2 * self.size
        if ins.bit_count() != 1 or outs.bit_count() != 1:
            return False
        if ins >> twice and outs >> twice:
            return True
        return (ins >> self.size == 0 or outs >> self.size == 0) and not self._has_shortcut(v)

    def _has_shortcut(self, v: int) -> bool:
        """Whether one of the edges from a predecessor of v goes to a successor of it."""
        (u,) = _bits(self._every(self.ins[v]))
        return self._every(self.outs[u]) & self._every(self.outs[v]) != 0

    def _every(self, edges: int) -> int:
        """The vertices of all three sets."""
        return (edges | edges >> self.size | edges >> 2 * self.size) & (1 << self.size) - 1

    def eliminate(self, v: int) -> None:
        self._join(self.ins[v], self.outs[v], v, self.outs)
        self._join(self.outs[v], self.ins[v], v, self.ins)

    def _join(self, near: int, far: int, v: int, edges: list[int]) -> None:
        """Gives each inner vertex of `near` the edges of v on the other side, in place of that to v."""
        size, inner, every = self.size, self.inner, self._every(far)
        computed, gone = every << 2 * size, 1 << v
        kept = ~((every | gone) * (1 | 1 << size) | gone << 2 * size)
        todo = near >> 2 * size & inner
        while todo:
            u = (todo & -todo).bit_length() - 1
            todo &= todo - 1
            edges[u] = edges[u] & kept | computed
        for kind in (0, 1):
            todo = near >> kind * size & inner
            if todo:
                products = far if kind == 0 else far >> size << size | (far - (far >> size << size)) << size
                for u in _bits(todo):
                    edges[u] = self._sum(edges[u] & ~(gone | gone << size), products)

    def _sum(self, old: int, new: int) -> int:
        """Both sets of edges; where both have one, it is constant if both are, and not ±1."""
        size = self.size
        twice, either = self._every(old) & self._every(new), old | new
        if not twice:
            return either
        low = (1 << size) - 1
        computed = either >> 2 * size
        constant = (either >> size & low | twice) & ~computed
        return either & low & ~twice & ~computed | constant << size | computed << 2 * size

    def neighbours(self, v: int) -> Iterator[int]:
        """The inner vertices next to v."""
        return _bits(self.neighbour_mask(v))

    def neighbour_mask(self, v: int) -> int:
        return self._every(self.ins[v] | self.outs[v]) & self.inner


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

    The number of moves depends on the graph's size. The same seed finds the same order, unless the time limit shortens
    the search.

    Args:
        graph: The graph.
        seconds: The time limit.
        seed: Of the random moves.
    """
    end, draw = time.perf_counter() + seconds, random.Random(seed)
    orders = {"forward": forward_order(graph), "reverse": reverse_order(graph), "markowitz": markowitz_order(graph)}
    counts = {name: multiplications(graph, order) for name, order in orders.items()}
    # Markowitz's order is a poor start, also where it is the best one: it is hard to leave.
    start = orders[sweep := min(("forward", "reverse"), key=counts.__getitem__)]
    if counts[sweep] == 0:
        found = {"found": start, "emitted": start}
        return SearchResult(orders | found, counts | dict.fromkeys(found, 0))
    first, left = _eliminated_first(graph)
    annealed = [*first, *_annealed(left, [v for v in start if v not in set(first)], end - REFINING * seconds, draw)]
    orders["found"] = min([annealed, *orders.values()], key=lambda order: multiplications(graph, order))
    counts["found"] = multiplications(graph, orders["found"])
    orders["emitted"] = _refined(graph, orders["found"], end, draw)
    counts["emitted"] = accumulate(graph, orders["emitted"]).multiplications
    return SearchResult(orders, counts)


def _eliminated_first(graph: ScalarGraph) -> tuple[list[int], RemainingGraph]:
    """Vertices to eliminate before all others: see `RemainingGraph.is_free_to_eliminate`.

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
    begin, progress = time.perf_counter(), 0.0
    for move in range(moves):
        if move % 64 == 0:
            # If the time is too short for all moves, the cooling keeps pace with the time.
            now = time.perf_counter()
            progress = max(move / moves, (now - begin) / max(end - begin, 1e-9))
            if now > end:
                break
        low, window = _proposal(current.order, draw)
        allowed = -(HOT * (COLD / HOT) ** progress) * math.log(1.0 - draw.random())
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
        low, window = self._without_idle(low, window)
        if not window:
            return False
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

    def _without_idle(self, low: int, window: list[int]) -> tuple[int, list[int]]:
        """The change without moves of a vertex past others that are no neighbours of it, which change no cost."""
        old = self.order[low : low + len(window)]
        earlier, later = window[1:] == old[:-1], window[:-1] == old[1:]
        if low % self.stride or not (earlier or later):
            return low, window
        near = self.before[low].neighbour_mask(old[-1] if earlier else old[0])
        others = window[1:] if earlier else window[:-1]
        first = next((i for i, v in enumerate(others) if near >> v & 1), None)
        if first is None:
            return low, []
        return (low + first, [window[0], *others[first:]]) if earlier else (low, window)
