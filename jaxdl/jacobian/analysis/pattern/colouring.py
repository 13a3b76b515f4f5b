"""Colours of columns and rows, so that one product serves all columns (or rows) of a colour.

Two columns may share a colour if no row has entries in both (Curtis, Powell, Reid 1974). Rows are the columns of the
transpose. If a few dense rows are computed by reverse products, the rest may need few colours: bicolouring (Coleman,
Verma 1998). In a symmetric matrix an entry may also be read from its mirror image: star colouring (Coleman, Moré 1984;
Gebremedhin, Tarafdar, Manne, Pothen 2007).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from scipy import sparse as sp

from jaxdl.jacobian.analysis.pattern.dependence import Matrix, without
from jaxdl.jacobian.analysis.pattern.grids import on_a_grid

# The cost of a reverse product, in forward products.
REVERSE_COST = 1.5

# How often a colouring is tried again, and about how many entries are looked at in search of a better one.
MOST_ROUNDS = 20
MOST_EFFORT = 2_000_000

NONE = -1


def cheapest(pattern: Matrix, forward: bool = True, reverse: bool = True) -> tuple[np.ndarray, np.ndarray, str]:
    """Chooses between colouring columns, rows, or both, by the cost of the products.

    Every entry of the pattern can be read from the products of its column's colour or of its row's (`recovery`).

    Args:
        pattern: The (m, n) boolean pattern.
        forward: Whether forward products are possible.
        reverse: Whether reverse products are possible; one of the two must be.

    Returns:
        Colours of columns (n,) and of rows (m,), −1 where there is none, and how they were chosen.
    """
    m, n = pattern.shape
    transposed = pattern.T.tocsr()
    by_columns = lambda: (columns(pattern), np.full(m, NONE), "by columns")
    by_rows = lambda: (np.full(n, NONE), columns(transposed), "by rows")
    ways: list[tuple[float, Any]] = []
    if forward:
        ways.append((_fullest(pattern), by_columns))
    if reverse:
        ways.append((REVERSE_COST * _fullest(transposed), by_rows))
    if forward and reverse:
        ways += [_peeled(pattern, 1, REVERSE_COST, "rows"), _peeled(transposed, REVERSE_COST, 1, "columns")]
    ways.sort(key=lambda way: way[0])
    cost = lambda found: number_of_colours(found[0]) + REVERSE_COST * number_of_colours(found[1])
    best = ways[0][1]()
    for bound, way in ways[1:]:
        if bound < cost(best):
            best = min(best, way(), key=cost)
    return best


def number_of_colours(colours: np.ndarray) -> int:
    """The number of colours."""
    return int(colours.max(initial=NONE)) + 1


def _fullest(pattern: Matrix) -> int:
    """The number of entries in the fullest row: no colouring of columns has fewer colours."""
    return int(np.diff(pattern.indptr).max(initial=0))


def _peeled(pattern: Matrix, cost: float, cost_of_peeled: float, what: str) -> tuple[float, Any]:
    """Colours columns, but the densest rows by the other mode: a lower bound of the cost, and the colouring."""
    entries = np.diff(pattern.indptr)
    sizes, places = np.unique(entries, return_counts=True)
    above = entries.size - np.cumsum(places)
    estimates = cost * sizes + cost_of_peeled * above
    size, rows = sizes[np.argmin(estimates)], above[np.argmin(estimates)]
    if rows in (0, entries.size):
        return np.inf, None
    peeled = entries > size

    def colour():
        rest = columns(without(pattern, peeled))
        apart = np.full(entries.size, NONE)
        apart[peeled] = columns(pattern[peeled].T.tocsr())
        why = f"{rows:,} dense {what} apart"
        return (rest, apart, why) if what == "rows" else (apart, rest, why)

    dense = pattern[peeled]
    return cost * size + cost_of_peeled * int(np.bincount(dense.indices).max()), colour


# --- columns ---------------------------------------------------------------------------------------------------


def columns(pattern: Matrix) -> np.ndarray:
    """A colour for each column such that no row has two entries of one colour: the best of a few heuristics.

    The effort is bounded by the number of entries, and the result is the same each time.
    """
    n = pattern.shape[1]
    least = _fullest(pattern)
    if least in (0, n):
        return np.arange(n, dtype=np.int32) if least else np.full(n, NONE)
    found = periodic(pattern, least)
    if found is not None:
        return found
    transposed = pattern.T.tocsr()
    best = greedy(transposed, range(n))
    for order in (densest_first, smallest_last):
        if number_of_colours(best) > least:
            best = min(best, greedy(transposed, order(pattern, transposed)), key=number_of_colours)
    if number_of_colours(best) > least:
        found = on_a_grid(pattern, least, number_of_colours(best))
        best = _again(transposed, best, least) if found is None else found
    return best


def _again(transposed: Matrix, colours: np.ndarray, least: int) -> np.ndarray:
    """Colours again, one colour after the other: never with more colours, often with fewer (Culberson 1992).

    The order of the colours is by turns the reverse one, the largest first, and a random one.
    """
    rng = np.random.default_rng(0)
    for i in range(min(MOST_ROUNDS, MOST_EFFORT // max(transposed.nnz, 1))):
        k = number_of_colours(colours)
        if k == least:
            break
        largest = np.argsort(-np.bincount(colours), kind="stable")
        rank = np.argsort((np.arange(k)[::-1], largest, rng.permutation(k))[i % 3])
        colours = greedy(transposed, np.argsort(rank[colours], kind="stable").tolist())
    return colours


def densest_first(pattern: Matrix, transposed: Matrix) -> list[int]:
    """Columns by their number of entries, the fullest first."""
    return np.argsort(-np.diff(transposed.indptr), kind="stable").tolist()


def smallest_last(pattern: Matrix, transposed: Matrix) -> list[int]:
    """Columns such that each shares rows with as few as possible of those before it (Matula, Beck 1983).

    In the natural order if that takes too long.
    """
    if np.square(np.diff(pattern.indptr), dtype=np.int64).sum() > MOST_EFFORT:
        return list(range(transposed.shape[0]))
    return _smallest_last(sp.csr_array(transposed @ pattern))


def _smallest_last(graph: Matrix) -> list[int]:
    """The vertex with the fewest neighbours that are left is taken out again and again, and becomes the last one."""
    starts, neighbours = graph.indptr.tolist(), graph.indices.tolist()
    left = np.diff(graph.indptr).tolist()
    waiting: list[list[int]] = [[] for _ in range(max(left, default=0) + 1)]
    for v, count in enumerate(left):
        waiting[count].append(v)
    order, fewest, taken = [], 0, -1
    while len(order) < len(left):
        while not waiting[fewest]:
            fewest += 1
        v = waiting[fewest].pop()
        if left[v] != fewest:
            continue
        left[v] = taken
        order.append(v)
        for w in neighbours[starts[v] : starts[v + 1]]:
            if left[w] > 0:
                left[w] -= 1
                waiting[left[w]].append(w)
                fewest = min(fewest, left[w])
    return order[::-1]


def periodic(pattern: Matrix, k: int) -> np.ndarray | None:
    """Colour j mod k for column j, as for bands and stencils; None if two columns of a row would share a colour."""
    m, n = pattern.shape
    row = np.repeat(np.arange(m), np.diff(pattern.indptr))
    seen = np.zeros(m * k, bool)
    seen[row * k + pattern.indices % k] = True
    return np.arange(n, dtype=np.int32) % k if np.count_nonzero(seen) == pattern.nnz else None


def greedy(transposed: Matrix, order: Iterable[int]) -> np.ndarray:
    """The first free colour for each column, in the given order.

    Row j of `transposed` lists the rows in which column j has entries. The colours in a row are the bits of an integer.
    """
    starts, rows = transposed.indptr.tolist(), transposed.indices.tolist()
    seen = [0] * transposed.shape[1]
    colours = [0] * transposed.shape[0]
    for j in order:
        members = rows[starts[j] : starts[j + 1]]
        used = 0
        for i in members:
            used |= seen[i]
        bit = ~used & (used + 1)
        colours[j] = bit.bit_length() - 1
        for i in members:
            seen[i] |= bit
    return np.array(colours, np.int32)


# --- symmetric matrices -------------------------------------------------------------------------------------------


def symmetric(pattern: Matrix) -> np.ndarray:
    """Colours of the columns of a symmetric pattern, such that each entry or its mirror image can be read."""
    least = _fullest(pattern)
    if least == 0:
        return np.full(pattern.shape[1], NONE)
    found = periodic(pattern, least) if least <= 5 else None
    if found is not None:
        return found
    orders = list(range(pattern.shape[0])), densest_first(pattern, pattern), _smallest_last(pattern)
    return min([*(star(pattern, order) for order in orders), columns(pattern)], key=number_of_colours)


def star(pattern: Matrix, order: Iterable[int]) -> np.ndarray:
    """A star colouring: neighbours differ, and every path of four vertices has at least three colours.

    Vertex v may not have a colour c if a coloured neighbour has it; nor if v has an uncoloured neighbour w that has a
    neighbour of colour c; nor if v has a neighbour w, one of two neighbours of a vertex x of colour c that share w's
    colour (v, w, x and the other would be a path of two colours).
    """
    starts, neighbours = pattern.indptr.tolist(), pattern.indices.tolist()
    n = pattern.shape[0]
    colours = [NONE] * n
    near = [0] * n  # the colours of a vertex's neighbours, as bits
    barred = [0] * n  # the colours of those neighbours of a vertex that have another neighbour of its colour
    only: dict[tuple[int, int], int] = {}  # for a vertex and a colour, its only neighbour of that colour
    for v in order:
        adjacent = [w for w in neighbours[starts[v] : starts[v + 1]] if w != v]
        used = near[v]
        for w in adjacent:
            used |= near[w] if colours[w] == NONE else barred[w]
        bit = ~used & (used + 1)
        colours[v] = colour = bit.bit_length() - 1
        for x in adjacent:
            if near[x] & bit:
                barred[v] |= 1 << colours[x]
                other = only.pop((x, colour), None)
                if other is not None:
                    barred[other] |= 1 << colours[x]
            else:
                near[x] |= bit
                only[x, colour] = v
    return np.array(colours, np.int32)


# --- reading entries back ------------------------------------------------------------------------------------------


def recovery(pattern: Matrix, by_column: np.ndarray, by_row: np.ndarray) -> np.ndarray:
    """Where each entry of the pattern is read in the products, in the pattern's order.

    Args:
        pattern: The (m, n) boolean pattern.
        by_column: The colours of columns, (n,).
        by_row: The colours of rows, (m,).

    Returns:
        Positions in all products in one array: (colours of columns, m) forward ones, then (colours of rows, n) reverse
        ones.

    Raises:
        ValueError: If an entry shares its place in every product with another one.
    """
    m, n = pattern.shape
    row, column = coordinates(pattern)
    place, alone = _places(by_column[column], row, m, number_of_colours(by_column))
    other, alone_there = _places(by_row[row], column, n, number_of_colours(by_row))
    if not (alone | alone_there).all():
        raise ValueError("colours: two entries of the pattern meet in every product they are in")
    return np.where(alone, place, number_of_colours(by_column) * m + other).astype(np.int64)


def symmetric_recovery(pattern: Matrix, colours: np.ndarray) -> np.ndarray:
    """The same for a symmetric pattern and (colours, n) forward products: an entry or its mirror image is read."""
    n = pattern.shape[0]
    row, column = coordinates(pattern)
    place, alone = _places(colours[column], row, n, number_of_colours(colours))
    other, alone_there = _places(colours[row], column, n, number_of_colours(colours))
    if not (alone | alone_there).all():
        raise ValueError("colours: two entries of the pattern meet, and so do their mirror images")
    return np.where(alone, place, other).astype(np.int64)


def coordinates(pattern: Matrix) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each entry, in the pattern's order."""
    return np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr)), pattern.indices


def _places(colours: np.ndarray, position: np.ndarray, size: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Each entry's place in (k, size) products, and whether it has a colour and is alone there."""
    place = colours.astype(np.int64) * size + position
    used = colours != NONE
    alone = np.zeros(place.size, bool)
    if used.any():
        alone[used] = np.bincount(place[used], minlength=1)[place[used]] == 1
    return place, alone
