"""Which inputs each entry of an array depends on: rows of a boolean matrix, and the few operations on them.

Everywhere None stands for an array that depends on no input. Rows may be counted too full, never too empty.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse as sp

# With more entries than this in one pattern, its fullest rows count as dense (some 200 MB).
MOST = 30_000_000


@dataclass(frozen=True, eq=False)
class Dependence:
    """some: (size, n) boolean CSR matrix; every: (size,) booleans, the rows that depend on all n inputs.

    The full rows stand empty in `some`: what comes of a sum over all entries is never stored n times n.
    """

    some: sp.csr_array
    every: np.ndarray

    @property
    def size(self) -> int:
        return self.some.shape[0]

    @property
    def inputs(self) -> int:
        return self.some.shape[1]

    def matrix(self) -> sp.csr_array:
        """All rows written out, sorted."""
        if not self.every.any():
            return self.some
        full = np.flatnonzero(self.every)
        count = self.inputs * full.size
        wide = csr(np.tile(np.arange(self.inputs), full.size), np.arange(0, count + 1, self.inputs), self.inputs)
        place = np.full(self.size, -1)
        place[full] = np.arange(full.size)
        return self.some + _rows(wide, place)


def csr(indices, starts, width) -> sp.csr_array:
    """The boolean matrix whose row i has the columns indices[starts[i]:starts[i + 1]]."""
    shape = (len(starts) - 1, width)
    return sp.csr_array((np.ones(len(indices), bool), indices.astype(np.int32), starts.astype(np.int32)), shape)


def identity(n: int, before: int = 0, total: int | None = None) -> Dependence:
    """n entries that are the inputs before, before + 1, … of `total`."""
    total = n if total is None else total
    return Dependence(csr(np.arange(before, before + n), np.arange(n + 1), total), np.zeros(n, bool))


def nothing(size: int, n: int) -> Dependence:
    return Dependence(csr(np.zeros(0), np.zeros(size + 1), n), np.zeros(size, bool))


def everything(size: int, n: int) -> Dependence:
    return Dependence(nothing(size, n).some, np.ones(size, bool))


def take(p: Dependence | None, rows) -> Dependence | None:
    """The dependence of an array whose i-th entry is entry rows[i] of p's, or has none where rows[i] < 0."""
    if p is None:
        return None
    rows = np.ravel(rows)
    if rows.size == p.size and rows.size and rows[0] == 0 and np.array_equal(rows, np.arange(p.size)):
        return p
    every = np.append(p.every, False)[rows]
    counts = np.append(np.diff(p.some.indptr), 0)[rows]
    dense = _too_many(counts)
    if dense is not None:
        rows, every = np.where(dense, -1, rows), every | dense
    return _kept(_rows(p.some, rows), every)


def union(p: Dependence | None, q: Dependence | None) -> Dependence | None:
    """Entry by entry. Gives p or q itself where the other adds nothing, so that equal patterns stay one object."""
    if p is None or q is None or p is q:
        return q if p is None else p
    every = p.every | q.every
    dense = _too_many(np.diff(p.some.indptr) + np.diff(q.some.indptr))
    if dense is not None:
        every = every | dense
    some = without(p.some, every & ~p.every) + without(q.some, every & ~q.every)
    for r in (p, q):
        if some.nnz == r.some.nnz and np.array_equal(every, r.every):
            return r
    return _kept(some, every)


def union_of(parts) -> Dependence | None:
    whole = None
    for part in parts:
        whole = union(whole, part)
    return whole


def spread(incidence: sp.csr_array, p: Dependence | None) -> Dependence | None:
    """The dependence of an array whose i-th entry is made of p's entries j with incidence[i, j]."""
    if p is None:
        return None
    every = (incidence @ p.every) > 0 if p.every.any() else np.zeros(incidence.shape[0], bool)
    dense = _too_many(incidence.astype(np.int64) @ np.diff(p.some.indptr).astype(np.int64))
    if dense is not None:
        every = every | dense
    some = without(incidence, every) @ p.some
    some.sort_indices()
    return _kept(some, every)


def stack(parts, sizes) -> Dependence | None:
    """Dependences one below the other."""
    known = [p for p in parts if p is not None]
    if not known:
        return None
    full = [nothing(size, known[0].inputs) if p is None else p for p, size in zip(parts, sizes, strict=True)]
    if len(full) == 1:
        return full[0]
    starts = np.cumsum([0] + [p.some.nnz for p in full[:-1]])
    pointers = [p.some.indptr[:-1] + start for p, start in zip(full, starts, strict=True)]
    pointers = np.concatenate([*pointers, [sum(p.some.nnz for p in full)]])
    some = csr(np.concatenate([p.some.indices for p in full]), pointers, known[0].inputs)
    return Dependence(some, np.concatenate([p.every for p in full]))


def groups(index, count: int, width: int | None = None) -> sp.csr_array:
    """The incidence that gathers a list of equally many entries for each of `count` outputs: index is (count, each)."""
    index = np.reshape(index, (count, -1))
    width = index.size if width is None else width
    return csr(index.ravel(), np.arange(count + 1) * index.shape[1], width)


def same(p: Dependence | None, q: Dependence | None) -> bool:
    if p is q or p is None or q is None:
        return p is q
    return (
        p.some.nnz == q.some.nnz
        and np.array_equal(p.every, q.every)
        and np.array_equal(p.some.indptr, q.some.indptr)
        and np.array_equal(p.some.indices, q.some.indices)
    )


def _kept(some, every):
    """The result of an operation: rows that have become full are marked, an empty pattern is None."""
    full = np.diff(some.indptr) == some.shape[1]
    if full.any():
        some, every = without(some, full), every | full
    return Dependence(some, every) if some.nnz or every.any() else None


def _rows(matrix, rows):
    """Rows of a CSR matrix, empty where the number is negative."""
    starts, counts = matrix.indptr[:-1], np.diff(matrix.indptr)
    if rows.size and rows.min() < 0:
        starts, counts = np.append(starts, 0), np.append(counts, 0)
    counts = counts[rows]
    pointers = np.zeros(rows.size + 1, np.int64)
    np.cumsum(counts, out=pointers[1:])
    # Positions run on within a row and jump from the end of one to the start of the next.
    positions = np.repeat((starts[rows] - pointers[:-1]).astype(np.int32), counts)
    positions += np.arange(pointers[-1], dtype=np.int32)
    return csr(matrix.indices[positions], pointers, matrix.shape[1])


def without(matrix, rows):
    """The CSR matrix with the marked rows emptied."""
    return _rows(matrix, np.where(rows, -1, np.arange(rows.size))) if rows.any() else matrix


def _too_many(counts):
    """Which rows to count as dense so that no more than MOST entries are stored; None where all may stay."""
    return None if counts.sum(dtype=np.int64) <= MOST else counts > MOST // counts.size
