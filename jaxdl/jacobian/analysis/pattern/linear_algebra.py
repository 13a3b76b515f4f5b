"""Dependence through factorizations, and through solutions of linear systems.

The inverse of a matrix A is a polynomial in A. So entry i of the solution of A x = b depends on entry j of b only if a
path of nonzero entries of A leads from i to j: on all of b if A is dense, on b[i] alone if A is diagonal.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import sparse as sp
from scipy.sparse.csgraph import connected_components

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.pattern.dependence import (
    Dependence,
    Matrix,
    csr,
    identity,
    stack,
    take,
    through,
    union,
    union_of,
)
from jaxdl.jacobian.analysis.pattern.indexing import members, numbered_lines, of_lines
from jaxdl.jacobian.analysis.pattern.values import DependenceRule, Propagate, Value

# With more paths than this, entries that are connected in any way count as dependent on each other.
MOST_PATHS = 50_000_000


def _batched_matrices(propagate, eqn, values):
    """A factorization of the last two axes: all of a matrix depends on all of the matrix at the same batch index."""
    batch = values[0].shape[:-2]
    matrix_of = lambda shape: numbered_lines(shape, [axis < len(batch) for axis in range(len(shape))])
    whole = union_of(of_lines(v.dependence, matrix_of(v.shape), math.prod(batch)) for v in values)
    return [take(whole, matrix_of(v.aval.shape)) for v in eqn.outvars]


# --- linear systems --------------------------------------------------------------------------------------------


def _solution(propagate: Propagate, eqn: Any, links: Matrix, b: Dependence | None, columns: int = 1) -> Any:
    """The dependence of x with A x = b.

    Args:
        propagate: The propagation, for reports.
        eqn: The equation.
        links: (N, N) booleans, where A may be nonzero.
        b: The dependence of b − dA x, (N, columns).
        columns: The number of right-hand sides.
    """
    count, of = connected_components(links, connection="strong")
    between: Matrix = sp.csr_array(members(of, count) @ links @ members(of, count).T)
    reached = _reached(between)
    if reached is None:
        propagate.report(eqn, f"more than {MOST_PATHS:,} paths between entries")
        count, of_sets = connected_components(between, connection="weak")
        of, reached = of_sets[of], sp.eye_array(count, dtype=bool)
    of = (of[:, None] * columns + np.arange(columns)).ravel()
    together = through(members(of, count * columns), b)
    if reached.nnz > count:
        together = through(sp.kron(reached, sp.eye_array(columns, dtype=bool), "csr"), together)
    return take(together, of)


def _reached(links: Matrix) -> Matrix | None:
    """Where paths lead from each vertex of a graph, by doubling their length; None if there are too many to follow."""
    while True:
        if (links.astype(np.int64) @ np.diff(links.indptr).astype(np.int64)).sum() > MOST_PATHS:
            return None
        further = links @ links
        if further.nnz == links.nnz:
            return links
        links = further


def _links(row: np.ndarray, column: np.ndarray, size: int) -> Matrix:
    """Where a matrix is nonzero; its diagonal counts as nonzero."""
    row, column = (np.append(index, np.arange(size)) for index in (row, column))
    return sp.csr_array((np.ones(row.size, bool), (row, column)), (size, size))


def _linear_solve(propagate, eqn, values):
    """A x = b by its own rule: the operator, followed by value on each entry of x, shows where A is nonzero."""
    system = jx.linear_solve(eqn)
    operator, _, _, _, right = system.split(values)
    product = propagate(system.matvec, [*operator, *(Value(b.aval) for b in right)])
    sizes = [b.size for b in right]
    moved = stack([union(b.dependence, p.dependence) for b, p in zip(right, product, strict=True)], sizes)
    ends = np.cumsum([0, *sizes]).tolist()
    x = [Value(b.aval, identity(b.size, start, ends[-1])) for b, start in zip(right, ends, strict=False)]
    fixed = [Value(v.aval, None, v.constant, v.parts) for v in operator]
    rows = stack([v.dependence for v in propagate.inside(ends[-1])(system.matvec, [*fixed, *x])], sizes)
    solution = _solution(propagate, eqn, *_with_hub(rows, moved)) if rows else moved
    parts = [take(solution, np.arange(start, start + size)) for start, size in zip(ends, sizes, strict=False)]
    return parts + [None] * (len(eqn.outvars) - len(parts))


def _with_hub(rows: Dependence, b: Dependence | None) -> tuple[Matrix, Dependence | None]:
    """The nonzeros of a matrix with full rows, and b. Such rows lead to one more entry, which leads to all."""
    size = rows.size
    diagonal = np.arange(size)
    row, column = rows.rows.nonzero()
    if not rows.full.any():
        return _links(row, column, size), b
    full = np.flatnonzero(rows.full)
    row = np.concatenate([row, full, np.full(size, size)])
    column = np.concatenate([column, np.full(full.size, size), diagonal])
    return _links(row, column, size + 1), take(b, np.append(diagonal, -1))


def _triangular_solve(propagate, eqn, values):
    a, b = values
    p = jx.parameters(eqn)
    n, batch = a.shape[-1], math.prod(a.shape[:-2])
    triangle = np.tril if p["lower"] else np.triu
    used = triangle(np.ones((n, n), bool), -p["unit_diagonal"] if p["lower"] else p["unit_diagonal"])
    known = a.array()
    used = np.broadcast_to(used if known is None else used & (known != 0), a.shape).reshape(batch, n, n)
    at, i, k = np.nonzero(used)
    row, column = (k, i) if p["transpose_a"] == p["left_side"] else (i, k)
    entries = a.positions().reshape(batch, n, n)[at, i, k]
    index = b.positions() if p["left_side"] else b.positions().swapaxes(-1, -2)
    columns = index.shape[-1]
    moved = union(take(b.dependence, index), _for_columns(a, entries, at * n + row, batch * n, columns))
    x = _solution(propagate, eqn, _links(at * n + row, at * n + column, batch * n), moved, columns)
    back = np.empty(b.size, int)
    back[index.ravel()] = np.arange(b.size)
    return [take(x, back)]


def _for_columns(a: Value, entries: np.ndarray, row: np.ndarray, rows: int, columns: int) -> Dependence | None:
    """The dependence of dA x, (rows, columns): in each column of a row that of all the entries of A in the row."""
    order = np.argsort(row, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=rows))])
    return take(through(csr(entries[order], starts, a.size), a.dependence), np.repeat(np.arange(rows), columns))


def _tridiagonal_solve(propagate, eqn, values):
    *diagonals, b = values
    n, columns = b.shape[-2:]
    count = b.size // columns
    row = np.arange(count)
    moved = b.dependence
    ends = []
    for shift, value in zip((-1, 0, 1), diagonals, strict=True):
        moved = union(moved, take(value.dependence, np.repeat(row, columns)))
        known = value.array()
        used = np.ones(count, bool) if known is None else np.ravel(known != 0)
        ends.append(row[used & (row % n + shift >= 0) & (row % n + shift < n)])
    lower, _, upper = ends
    links = _links(np.append(lower, upper), np.append(lower - 1, upper + 1), count)
    return [_solution(propagate, eqn, links, moved, columns)]


LINEAR_ALGEBRA_DEPENDENCE: dict[str, DependenceRule] = {
    **dict.fromkeys(["cholesky", "lu", "qr", "svd", "eigh", "eig", "householder_product"], _batched_matrices),
    "custom_linear_solve": _linear_solve,
    "triangular_solve": _triangular_solve,
    "tridiagonal_solve": _tridiagonal_solve,
}
