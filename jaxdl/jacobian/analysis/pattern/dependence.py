"""On which inputs each entry of an array depends: rows of a boolean matrix, and the operations on them.

None stands for an array that depends on no input. A row may have more entries than needed, never fewer.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse as sp

Matrix = Any  # a csr_array, whose shape and operations SciPy's stubs do not know

# The fullest rows of a pattern with more entries than this (some 200 MB) count as full.
MOST_ENTRIES = 30_000_000


@dataclass(frozen=True, eq=False)
class Dependence:
    """The dependence of `size` entries on n inputs.

    Attributes:
        rows: (size, n) boolean CSR matrix.
        full: (size,) booleans, the entries that depend on all n inputs. Their rows are empty in `rows`, so that a sum
            over all entries does not take n² places.
        is_rounded: Whether some rows count as full because there were too many entries.
    """

    rows: Matrix
    full: np.ndarray
    is_rounded: bool = False

    @property
    def size(self) -> int:
        return self.rows.shape[0]

    @property
    def inputs(self) -> int:
        return self.rows.shape[1]

    def matrix(self) -> Matrix:
        """The whole boolean matrix, with sorted rows."""
        if not self.full.any():
            return self.rows
        full = np.flatnonzero(self.full)
        count = self.inputs * full.size
        full_rows = csr(np.tile(np.arange(self.inputs), full.size), np.arange(0, count + 1, self.inputs), self.inputs)
        place = np.full(self.size, -1)
        place[full] = np.arange(full.size)
        return self.rows + _rows_of(full_rows, place)


def csr(indices: np.ndarray, starts: np.ndarray, width: int) -> Matrix:
    """The boolean matrix whose row i has the columns indices[starts[i]:starts[i + 1]]."""
    shape = (len(starts) - 1, width)
    return sp.csr_array((np.ones(len(indices), bool), indices.astype(np.int32), starts.astype(np.int32)), shape)


def identity(n: int, start: int = 0, total: int | None = None) -> Dependence:
    """n entries that are the inputs start, start + 1, … of `total`."""
    total = n if total is None else total
    return Dependence(csr(np.arange(start, start + n), np.arange(n + 1), total), np.zeros(n, bool))


def independent(size: int, n: int) -> Dependence:
    """Entries that depend on none of n inputs."""
    return Dependence(csr(np.zeros(0), np.zeros(size + 1), n), np.zeros(size, bool))


def dependent_on_all(size: int, n: int) -> Dependence:
    """Entries that depend on all of n inputs."""
    return Dependence(independent(size, n).rows, np.ones(size, bool))


def take(p: Dependence | None, index: Any) -> Dependence | None:
    """The dependence of an array whose i-th entry is entry index[i] of p's array, and none where index[i] < 0."""
    if p is None:
        return None
    index = np.ravel(index)
    if index.size == p.size and index.size and index[0] == 0 and np.array_equal(index, np.arange(p.size)):
        return p
    full = np.append(p.full, False)[index]
    counts = np.append(np.diff(p.rows.indptr), 0)[index]
    dense = _too_many(counts)
    if dense is not None:
        index, full = np.where(dense, -1, index), full | dense
    return _normal(_rows_of(p.rows, index), full, p.is_rounded or dense is not None)


def union(p: Dependence | None, q: Dependence | None) -> Dependence | None:
    """Entry by entry. Returns p or q itself if the other adds nothing, so that equal patterns stay one object."""
    if p is None or q is None or p is q:
        return q if p is None else p
    full = p.full | q.full
    dense = _too_many(np.diff(p.rows.indptr) + np.diff(q.rows.indptr))
    if dense is not None:
        full = full | dense
    rows = without(p.rows, full & ~p.full) + without(q.rows, full & ~q.full)
    for r in (p, q):
        if rows.nnz == r.rows.nnz and np.array_equal(full, r.full):
            return r
    return _normal(rows, full, p.is_rounded or q.is_rounded or dense is not None)


def union_of(parts: Iterable[Dependence | None]) -> Dependence | None:
    """The union of any number of dependences."""
    return functools.reduce(union, parts, None)


def through(incidence: Matrix, p: Dependence | None) -> Dependence | None:
    """The dependence of an array whose i-th entry depends on the entries j of p's array with incidence[i, j]."""
    if p is None:
        return None
    full = (incidence @ p.full) > 0 if p.full.any() else np.zeros(incidence.shape[0], bool)
    dense = _too_many(incidence.astype(np.int64) @ np.diff(p.rows.indptr).astype(np.int64))
    if dense is not None:
        full = full | dense
    rows = without(incidence, full) @ p.rows
    rows.sort_indices()
    return _normal(rows, full, p.is_rounded or dense is not None)


def stack(parts: Sequence[Dependence | None], sizes: Sequence[int]) -> Dependence | None:
    """The dependences of arrays that are joined to one; a part of size sizes[i] may be None."""
    dependent = [p for p in parts if p is not None]
    if not dependent:
        return None
    n = dependent[0].inputs
    whole = [independent(size, n) if p is None else p for p, size in zip(parts, sizes, strict=True)]
    if len(whole) == 1:
        return whole[0]
    starts = np.cumsum([0] + [p.rows.nnz for p in whole[:-1]])
    pointers = [p.rows.indptr[:-1] + start for p, start in zip(whole, starts, strict=True)]
    pointers = np.concatenate([*pointers, [sum(p.rows.nnz for p in whole)]])
    rows = csr(np.concatenate([p.rows.indices for p in whole]), pointers, n)
    return Dependence(rows, np.concatenate([p.full for p in whole]), any(p.is_rounded for p in whole))


def groups(index: np.ndarray, count: int, width: int | None = None) -> Matrix:
    """The incidence of `count` outputs that each depend on equally many of `width` entries: index is (count, each)."""
    index = np.reshape(index, (count, -1))
    width = index.size if width is None else width
    return csr(index.ravel(), np.arange(count + 1) * index.shape[1], width)


def same(p: Dependence | None, q: Dependence | None) -> bool:
    """Whether two dependences are equal."""
    if p is q or p is None or q is None:
        return p is q
    return (
        p.rows.nnz == q.rows.nnz
        and np.array_equal(p.full, q.full)
        and np.array_equal(p.rows.indptr, q.rows.indptr)
        and np.array_equal(p.rows.indices, q.rows.indices)
    )


def _normal(rows: Matrix, full: np.ndarray, is_rounded: bool) -> Dependence | None:
    """The result of an operation: rows that have become full are marked as such; None if there is no entry."""
    became_full = np.diff(rows.indptr) == rows.shape[1]
    if became_full.any():
        rows, full = without(rows, became_full), full | became_full
    return Dependence(rows, full, is_rounded) if rows.nnz or full.any() else None


def _rows_of(matrix: Matrix, index: np.ndarray) -> Matrix:
    """The rows of a CSR matrix at an index; empty where it is negative."""
    starts, counts = matrix.indptr[:-1], np.diff(matrix.indptr)
    if index.size and index.min() < 0:
        starts, counts = np.append(starts, 0), np.append(counts, 0)
    counts = counts[index]
    pointers = np.zeros(index.size + 1, np.int64)
    np.cumsum(counts, out=pointers[1:])
    # Positions are consecutive within a row and jump from the end of one to the start of the next.
    positions = np.repeat((starts[index] - pointers[:-1]).astype(np.int32), counts)
    positions += np.arange(pointers[-1], dtype=np.int32)
    return csr(matrix.indices[positions], pointers, matrix.shape[1])


def without(matrix: Matrix, marked: np.ndarray) -> Matrix:
    """The CSR matrix with the marked rows emptied."""
    return _rows_of(matrix, np.where(marked, -1, np.arange(marked.size))) if marked.any() else matrix


def _too_many(counts: np.ndarray) -> np.ndarray | None:
    """The rows to count as full so that at most MOST_ENTRIES are stored; None if all can be stored."""
    return None if counts.sum(dtype=np.int64) <= MOST_ENTRIES else counts > MOST_ENTRIES // counts.size
