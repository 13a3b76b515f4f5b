"""Colours for columns and rows, so that one product serves all columns (or rows) of a colour.

Two columns may share a colour when no row has entries in both (Curtis, Powell, Reid 1974). Rows are the columns of the
transpose. With a few dense rows taken out, to be had by reverse products, the rest needs few colours: both at once is
bicolouring (Coleman, Verma 1998). For symmetric matrices an entry may also be read from its mirror image: star
colouring (Coleman, Moré 1984; Gebremedhin, Tarafdar, Manne, Pothen 2007).
"""

import numpy as np
from scipy import sparse as sp

from jaxdl.jacobian.analysis.pattern.dependence import without

# What a reverse product costs, in forward products.
REVERSE = 1.5

NONE = -1


def cheapest(pattern: sp.csr_array, forward: bool = True, reverse: bool = True):
    """Colours for columns (n,) and rows (m,), −1 where a mode is not used, and a word on why.

    Every entry of the pattern can be read from the products of its column's colour or of its row's (`recovery`).
    forward, reverse: whether these products can be had at all.
    """
    m, n = pattern.shape
    flipped = pattern.T.tocsr()
    by_columns = lambda: (columns(pattern), np.full(m, NONE), "by columns")
    by_rows = lambda: (np.full(n, NONE), columns(flipped), "by rows")
    ways = []
    if forward:
        ways.append((_fullest(pattern), by_columns))
    if reverse:
        ways.append((REVERSE * _fullest(flipped), by_rows))
    if forward and reverse:
        ways += [_peeled(pattern, 1, REVERSE, "rows"), _peeled(flipped, REVERSE, 1, "columns")]
    ways.sort(key=lambda way: way[0])
    best, least = None, np.inf
    for bound, way in ways:
        if bound < least:
            found = way()
            cost = count(found[0]) + REVERSE * count(found[1])
            if cost < least:
                best, least = found, cost
    return best


def count(colours) -> int:
    return int(colours.max(initial=NONE)) + 1


def _fullest(pattern):
    """Entries in the fullest row: no colouring of columns has fewer colours."""
    return int(np.diff(pattern.indptr).max(initial=0))


def _peeled(pattern, cost, cost_of_peeled, what):
    """The densest rows apart, by the other mode: the least that it can cost, and how to colour it so."""
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


def columns(pattern: sp.csr_array) -> np.ndarray:
    """A colour for each column such that no row has two entries of one colour: the fewest of a few ways."""
    n = pattern.shape[1]
    least = _fullest(pattern)
    if least in (0, n):
        return np.arange(n, dtype=np.int32) if least else np.full(n, NONE)
    found = periodic(pattern, least)
    if found is not None:
        return found
    flipped = pattern.T.tocsr()
    best = greedy(flipped, range(n))
    if count(best) > least:
        order = np.argsort(-np.diff(flipped.indptr), kind="stable").tolist()
        best = min(best, greedy(flipped, order), key=count)
    for k in range(least + 1, count(best)):
        found = periodic(pattern, k)
        if found is not None:
            return found
    return best


def periodic(pattern, k: int):
    """Colour j mod k for column j, as bands and stencils allow; None where two columns of a row would meet."""
    m, n = pattern.shape
    row = np.repeat(np.arange(m), np.diff(pattern.indptr))
    seen = np.zeros(m * k, bool)
    seen[row * k + pattern.indices % k] = True
    return np.arange(n, dtype=np.int32) % k if np.count_nonzero(seen) == pattern.nnz else None


def greedy(flipped: sp.csr_array, order) -> np.ndarray:
    """The first free colour for each column in turn; row i of `flipped` lists the rows that column i has entries in.

    Each row keeps the colours seen in it as the bits of an integer.
    """
    starts, rows = flipped.indptr.tolist(), flipped.indices.tolist()
    seen = [0] * flipped.shape[1]
    colours = [0] * flipped.shape[0]
    for j in order:
        mine = rows[starts[j] : starts[j + 1]]
        used = 0
        for i in mine:
            used |= seen[i]
        bit = ~used & (used + 1)
        colours[j] = bit.bit_length() - 1
        for i in mine:
            seen[i] |= bit
    return np.array(colours, np.int32)


# --- symmetric matrices -------------------------------------------------------------------------------------------


def symmetric(pattern: sp.csr_array) -> np.ndarray:
    """Colours for the columns of a symmetric pattern, such that each entry or its mirror image stands alone."""
    least = _fullest(pattern)
    if least == 0:
        return np.full(pattern.shape[1], NONE)
    found = periodic(pattern, least) if least <= 5 else None
    if found is not None:
        return found
    n = pattern.shape[0]
    densest = np.argsort(-np.diff(pattern.indptr), kind="stable").tolist()
    found = min(star(pattern, range(n)), star(pattern, densest), key=count)
    plain = periodic(pattern, least)
    return found if plain is None else min(found, plain, key=count)


def star(pattern: sp.csr_array, order) -> np.ndarray:
    """A star colouring: neighbours differ, and every path of four vertices has three colours or more.

    Vertex v may not have a colour c if a coloured neighbour has it; nor if v has an uncoloured neighbour w that has a
    neighbour of colour c; nor if v has a neighbour w, one of two neighbours of a vertex x of colour c that share w's
    colour (v, w, x and the other would be a path of two colours).
    """
    starts, neighbours = pattern.indptr.tolist(), pattern.indices.tolist()
    n = pattern.shape[0]
    colours = [NONE] * n
    near = [0] * n  # the colours of a vertex's neighbours, as bits
    barred = [0] * n  # the colours of those neighbours of a vertex that have another neighbour of its colour
    first = {}  # for a vertex and a colour, its only neighbour of that colour
    for v in order:
        mine = [w for w in neighbours[starts[v] : starts[v + 1]] if w != v]
        used = near[v]
        for w in mine:
            used |= near[w] if colours[w] == NONE else barred[w]
        bit = ~used & (used + 1)
        colours[v] = colour = bit.bit_length() - 1
        for x in mine:
            if near[x] & bit:
                barred[v] |= 1 << colours[x]
                other = first.pop((x, colour), None)
                if other is not None:
                    barred[other] |= 1 << colours[x]
            else:
                near[x] |= bit
                first[x, colour] = v
    return np.array(colours, np.int32)


# --- reading entries back ------------------------------------------------------------------------------------------


def recovery(pattern: sp.csr_array, by_column, by_row) -> np.ndarray:
    """Where each entry of the pattern is read, in the pattern's order.

    The products are laid end to end: (colours of columns, m) by forward, then (colours of rows, n) by reverse ones.
    An entry is read where no other shares its place. Raises ValueError for colours with which one has no such place.
    """
    m, n = pattern.shape
    row, column = coordinates(pattern)
    place, alone = _places(by_column[column], row, m, count(by_column))
    other, alone_there = _places(by_row[row], column, n, count(by_row))
    if not (alone | alone_there).all():
        raise ValueError("colours: two entries of the pattern meet in every product they are in")
    return np.where(alone, place, count(by_column) * m + other).astype(np.int64)


def mirrored(pattern: sp.csr_array, colours) -> np.ndarray:
    """The same for a symmetric pattern, from (colours, n) products by columns: from the entry or its mirror image."""
    n = pattern.shape[0]
    row, column = coordinates(pattern)
    place, alone = _places(colours[column], row, n, count(colours))
    other, alone_there = _places(colours[row], column, n, count(colours))
    if not (alone | alone_there).all():
        raise ValueError("colours: two entries of the pattern meet, and so do their mirror images")
    return np.where(alone, place, other).astype(np.int64)


def coordinates(pattern):
    """Row and column of each entry, in the pattern's order."""
    return np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr)), pattern.indices


def _places(colours, position, size, k):
    """Each entry's place in a (k, size) product, and whether it is alone there; entries without a colour are not."""
    place = colours.astype(np.int64) * size + position
    used = colours != NONE
    alone = np.zeros(place.size, bool)
    if used.any():
        alone[used] = np.bincount(place[used], minlength=1)[place[used]] == 1
    return place, alone
