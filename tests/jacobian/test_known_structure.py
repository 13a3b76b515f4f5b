"""Patterns of sparse matrices, of solutions of linear systems, and of indices that are known in part."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import sparse

from jaxdl import jacobian
from tests.jacobian.test_pattern import found

N = 6
X = jnp.linspace(0.4, 1.9, N) ** 2
UNKNOWN = jnp.array([2, 0, 1])  # an argument: any value is possible
KNOWN = np.array([[4, 0, 0, 0, 0, 0], [1, 4, 0, 0, 0, 0], [0, 0, 4, 0, 0, 0], [0, 2, 0, 4, 0, 0], [0, 0, 3, 0, 4, 0],
                  [0, 0, 0, 0, 1, 4]], np.float32)  # fmt: skip
MIXING = (KNOWN + 2 * KNOWN.T + np.eye(N, k=5)).astype(np.float32)
BCOO = sparse.BCOO.fromdense(KNOWN)
BCSR = sparse.BCSR.fromdense(KNOWN)
# Entries of one place twice, at negative places, outside the matrix, and a stored zero.
ODD = sparse.BCOO(
    (jnp.array([1.0, 2, 3, 4, 0]), jnp.array([[0, 1], [0, 1], [6, 6], [-1, 2], [3, 3]])),
    shape=(N, N),
    unique_indices=False,
)


def solve_triangular(b, **settings):
    return jax.scipy.linalg.solve_triangular(jnp.asarray(KNOWN), b, **settings)


def symmetric(x):
    """Three positive definite matrices of 2 × 2."""
    return jax.vmap(lambda v: jnp.outer(v, v) + 3 * jnp.eye(2))(x.reshape(3, 2))


# Functions of (x, i) whose pattern is exactly the nonzeros of the Jacobian.
EXACT = {
    "BCOO": lambda x, i: BCOO @ x,
    "BCOO, a matrix": lambda x, i: BCOO @ jnp.stack([x, x[::-1]], 1),
    "BCOO, from the left": lambda x, i: x @ BCOO,
    "BCOO, transposed": lambda x, i: BCOO.T @ x,
    "BCOO, strange indices": lambda x, i: ODD @ x,
    "BCOO of x": lambda x, i: sparse.BCOO((x, BCOO.indices[:N]), shape=(N, N)) @ jnp.ones(N),
    "BCOO, to a dense matrix": lambda x, i: (BCOO * x[None]).todense(),
    "BCOO, its gradient": jax.grad(lambda x, i: jnp.sum((BCOO @ x) ** 2)),
    "BCOO, by rows": jax.jit(lambda x, i: jax.lax.map(lambda row: BCOO @ row, jnp.diag(x))),
    "BCSR": lambda x, i: BCSR @ x,
    "BCSR, of a batch": lambda x, i: jax.vmap(lambda row: BCSR @ row)(jnp.stack([x, x**2])),
    "BCSR, a matrix": lambda x, i: BCSR @ x[:, None],
    "triangular": lambda x, i: solve_triangular(x, lower=True),
    "triangular, transposed": lambda x, i: solve_triangular(x, lower=True, trans=1),
    "triangular, upper": lambda x, i: solve_triangular(x),
    "triangular, ones on the diagonal": lambda x, i: solve_triangular(x, lower=True, unit_diagonal=True),
    "triangular, from the right": lambda x, i: jax.lax.linalg.triangular_solve(jnp.asarray(KNOWN), x[None], lower=True),
    "triangular of x": lambda x, i: jax.vmap(lambda a: jax.scipy.linalg.solve_triangular(a, jnp.ones(2), lower=True))(
        jnp.eye(2)[None] + x[:, None, None]
    ),
    "known system": lambda x, i: jnp.linalg.solve(jnp.asarray(KNOWN), x),
    "known system, some columns": lambda x, i: jnp.linalg.solve(jnp.asarray(KNOWN), jnp.stack([x, x[::-1]], 1)),
    "known factor": lambda x, i: jax.scipy.linalg.cho_solve((jnp.asarray(KNOWN), True), x),
    "system that mixes all": lambda x, i: jnp.linalg.solve(jnp.asarray(MIXING), x),
    "systems of a batch": lambda x, i: jax.vmap(jnp.linalg.solve)(symmetric(x), x.reshape(3, 2)),
    "factors of a batch": lambda x, i: jax.vmap(lambda a, b: jax.scipy.linalg.cho_solve((a, True), b))(
        jnp.linalg.cholesky(symmetric(x)), x.reshape(3, 2)
    ),
    "determinants": lambda x, i: jnp.linalg.det(jax.vmap(jnp.diag)(jnp.stack([x[:4], x[2:]])) + jnp.ones((1, 4, 4))),
    "tridiagonal": lambda x, i: jax.lax.linalg.tridiagonal_solve(
        jnp.array([0.0, 1, 0, 1, 1, 1]), x + 4, jnp.array([1.0, 1, 0, 0, 1, 0]), x[:, None]
    ),
    "conjugate gradients, diagonal": lambda x, i: jax.scipy.sparse.linalg.cg(
        lambda v: (1.0 + i[0].astype(float)) * v, x
    )[0],
    "conjugate gradients, in pairs": lambda x, i: jax.scipy.sparse.linalg.cg(lambda v: 3 * v + v[::-1], x)[0],
    "gamma": lambda x, i: jax.random.gamma(jax.random.key(0), x + 1),
    "gamma of a batch": lambda x, i: jax.vmap(jax.random.loggamma)(jax.random.split(jax.random.key(0), N), x + 1),
}


def true(f, x):
    """The entries of the Jacobian that are not rounding errors at one of a few points."""
    jacobian = jax.jit(jax.jacfwd(f))
    seen = False
    for scale in (1.0, 0.7):
        y = jnp.reshape(jacobian(x * scale, UNKNOWN), (-1, x.size))
        seen = seen | np.asarray(jnp.abs(y) > 1e-6 * jnp.abs(y).max())
    return seen


FORMS = {
    "alone": lambda f: lambda x, i: f(x[:N], i),
    "vmap": lambda f: lambda x, i: jax.vmap(f, (0, None))(x.reshape(2, N), i),
    "scan": lambda f: lambda x, i: jax.lax.scan(lambda c, row: (c, f(row, i)), 0, x.reshape(2, N))[1],
    "cond": lambda f: lambda x, i: jax.lax.cond(i[0] > 0, f, lambda x, i: 0 * f(x, i), x[N:], i),
}
BLOCKS = {"alone": [[1, 0]], "vmap": [[1, 0], [0, 1]], "scan": [[1, 0], [0, 1]], "cond": [[0, 1]]}


@pytest.mark.parametrize("name", EXACT)
def test_pattern_is_exact_also_inside_of_others(name):
    f = EXACT[name]
    expected = true(f, X)
    for form, inside in FORMS.items():
        p, dense = found(inside(f), jnp.concatenate([X, X]), UNKNOWN)
        assert dense == [] or name == "determinants", form  # whose rule permutes rows by unknown indices
        np.testing.assert_array_equal(p, np.kron(BLOCKS[form], expected), form)


# Functions whose pattern is that of all values that an argument i may have: its entries, for i of three.
IN_PART = {
    "rows known": (lambda x, i: x.reshape(3, 2)[np.arange(3), i], [[0, 1], [2, 3], [4, 5]]),
    "columns known": (lambda x, i: x.reshape(2, 3)[i, np.array([2, 0, -1])], [[2, 5], [0, 3], [2, 5]]),
    "rows known, outside": (
        lambda x, i: x.reshape(3, 2).at[np.array([2, 3, -3]), i].get(mode="fill", fill_value=0),
        [[4, 5], [], [0, 1]],
    ),
    "rows known, clipped": (lambda x, i: x.reshape(3, 2).at[np.array([2, 3, 7]), i].get(mode="clip"), [[4, 5]] * 3),
    "unknown, shifted": (lambda x, i: x.at[i + 100].get(mode="fill", fill_value=0), [range(6)] * 3),
    "some places known": (lambda x, i: x[jnp.where(np.arange(3) == 1, i, 4)], [[4], range(6), [4]]),
    "in a batch": (lambda x, i: jax.vmap(lambda row, j: row[j])(x.reshape(3, 2), i), [[0, 1], [2, 3], [4, 5]]),
    "slices": (lambda x, i: jax.lax.dynamic_slice(x.reshape(3, 2), (1, i[0]), (1, 1)), [[2, 3]]),
    "set": (
        lambda x, i: jnp.zeros((3, 2)).at[np.arange(3), i].set(x[:3]),
        [[0], [0], [1], [1], [2], [2]],
    ),
    "set over known places": (
        lambda x, i: x.at[jnp.where(np.arange(3) == 1, i, np.array([0, 0, 4]))].set(0.0),
        [[], [1], [2], [3], [], [5]],
    ),
    "set along an axis of size 1, perhaps outside": (
        lambda x, i: x.reshape(6, 1).at[np.array([1, 2, 3]), i].set(0.0),
        [[0], [1], [2], [3], [4], [5]],
    ),
}


@pytest.mark.parametrize("name", IN_PART)
def test_indices_known_in_part(name):
    f, rows = IN_PART[name]
    expected = np.zeros((len(rows), N), bool)
    for row, columns in zip(expected, rows, strict=True):
        row[list(columns)] = True
    for form, inside in FORMS.items():
        p, dense = found(inside(f), jnp.concatenate([X, X]), UNKNOWN)
        np.testing.assert_array_equal(p, np.kron(BLOCKS[form], expected), form)
        assert "set over" in name or "perhaps" in name or all("indices not known" in what for what, _ in dense)
        assert all("test_known_structure.py:" in line for _, line in dense)


def test_a_counter_that_is_carried_beside_unknown_indices():
    def f(x, i):
        step = lambda c, _: (c.at[0].add(1), x[c[0]] + 0 * x[0])
        return jax.lax.scan(step, jnp.concatenate([jnp.zeros(1, int), i]), None, length=3)[1]

    p, _ = found(f, X, UNKNOWN)
    assert p[np.arange(3), np.arange(3)].all()


def test_sparse_matrices_of_arguments_are_covered_and_reported():
    f = lambda x, data, indices: sparse.BCOO((data, indices), shape=(N, N)) @ x
    p, dense = found(f, X, BCOO.data, BCOO.indices)
    assert p.all()
    assert "test_known_structure.py:" in dense[0][1]
    f = lambda x, data: sparse.BCOO((data, BCOO.indices), shape=(N, N)) @ x
    p, dense = found(f, X, BCOO.data)
    np.testing.assert_array_equal(p, KNOWN != 0)


def test_many_paths_count_as_connected(monkeypatch):
    from jaxdl.jacobian.analysis.pattern import linear_algebra

    monkeypatch.setattr(linear_algebra, "MOST_PATHS", 3)
    p, dense = found(lambda x: jnp.linalg.solve(jnp.asarray(KNOWN), x), X)
    assert not (true(lambda x, i: jnp.linalg.solve(jnp.asarray(KNOWN), x), X) & ~p).any()
    assert not p[0, 2]
    assert ["paths" in what for what, _ in dense] == [True]


def test_sweeps_of_batches_and_of_a_grid():
    from benchmarks.jacobian_functions.sparse_systems import power_flow

    f = lambda x: jax.vmap(jnp.linalg.solve)(symmetric(x) + 1, x.reshape(3, 2))
    J = jacobian.sparse(f)
    assert J.plan(X).sweeps == (2, 0)
    np.testing.assert_allclose(J(X), jax.jacfwd(f)(X), rtol=1e-4, atol=1e-6)
    f, x = power_flow(240)
    plan = jacobian.sparse(f).plan(x)
    assert plan.dense == ()
    assert plan.pattern.nnz < 4 * (120 + 2 * 180)
    assert sum(plan.sweeps) <= 20


def test_a_changed_sparse_matrix_makes_another_plan():
    data = np.ones(2, np.float32)
    matrix = lambda places: sparse.BCOO((jnp.asarray(data), jnp.asarray(places)), shape=(N, N))
    held = [matrix([[0, 1], [2, 3]])]
    J = jacobian.sparse(lambda x: held[0] @ x)
    for places in ([[0, 1], [2, 3]], [[5, 0], [2, 2]]):
        held[0] = matrix(places)
        np.testing.assert_array_equal(J(X), held[0].todense())


def of_a_library(name):
    """A function of lineax, optimistix or diffrax that treats every entry by itself."""
    library = pytest.importorskip(name.split(",")[0])
    if name == "diffrax":
        decay = library.ODETerm(lambda t, y, args: -(y**3))
        settings = {"stepsize_controller": library.ConstantStepSize(), "adjoint": library.DirectAdjoint()}
        return lambda x: library.diffeqsolve(decay, library.Heun(), 0.0, 1.0, 0.5, x, max_steps=8, **settings).ys[-1]
    if name == "optimistix":
        newton = library.Newton(1e-6, 1e-6)
        return jax.vmap(lambda a: library.root_find(lambda y, a: y**3 + y - a, newton, a, a).value)
    if name == "lineax, of a batch":
        matrix = lambda a: library.MatrixLinearOperator(a.reshape(1, 1))
        return jax.vmap(lambda a: library.linear_solve(matrix(a), jnp.ones(1)).value[0])
    return lambda x: library.linear_solve(library.DiagonalLinearOperator(x + 1), jnp.ones(N)).value


@pytest.mark.parametrize("name", ["lineax, diagonal", "lineax, of a batch", "optimistix", "diffrax"])
def test_functions_of_libraries(name):
    p, _ = found(of_a_library(name), X)
    np.testing.assert_array_equal(p, np.eye(N, dtype=bool))
