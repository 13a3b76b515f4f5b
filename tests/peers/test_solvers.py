"""Jacobians in the solvers of other libraries: lineax's operators are solved. `docs/how_to/solvers.md` has examples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import jacobian
from jaxdl.interop import sparse_solver

lineax = pytest.importorskip("lineax")
pytest.importorskip("optimistix")
diffrax = pytest.importorskip("diffrax")

X, B = jnp.linspace(1, 2, 12), jnp.sin(jnp.arange(12.0))


def f(x, args):
    return {"y": x["a"] ** 2 + jnp.roll(x["b"], 1), "z": x["a"] * x["b"] + 3 * x["b"]}


def solved(x, b, transposed=False, conj=False):
    x = {"a": x, "b": x + 1}
    operator = lineax.JacobianLinearOperator(f, x)
    b = {"y": b, "z": 2 * b}
    if transposed:
        operator, b = operator.T, {"a": b["y"], "b": b["z"]}
    return jnp.concatenate(jax.tree.leaves(lineax.linear_solve(operator, b, sparse_solver()).value))


def expected(x, b, transposed=False):
    of_vector = lambda v: jnp.concatenate(jax.tree.leaves(f({"a": v[: x.size], "b": v[x.size :]}, None)))
    matrix = jax.jacfwd(of_vector)(jnp.concatenate([x, x + 1]))
    return jnp.linalg.solve(matrix.T if transposed else matrix, jnp.concatenate([b, 2 * b]))


@pytest.mark.parametrize("transposed", [False, True])
def test_pytrees_transposes_and_derivatives(transposed):
    close = lambda got, wanted: np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    close(solved(X, B, transposed), expected(X, B, transposed))
    loss = lambda solve: lambda x, b: (solve(x, b, transposed) ** 2).sum()
    got = jax.jit(jax.grad(loss(solved), (0, 1)))(X, B)
    jax.tree.map(close, got, jax.grad(loss(expected), (0, 1))(X, B))
    many = jnp.stack([X, 2 * X])
    close(jax.vmap(lambda x: solved(x, B, transposed))(many), jax.vmap(lambda x: expected(x, B, transposed))(many))


def test_complex_matrices_and_their_conjugates():
    matrix = jnp.diag(jnp.array([1 + 2j, 3j, 2.0])) + jnp.diag(jnp.array([1j, 0.5]), 1)
    operator, b = lineax.MatrixLinearOperator(matrix), jnp.array([1.0, 1j, 2.0])
    found = lineax.linear_solve(operator, b, sparse_solver()).value
    np.testing.assert_allclose(found, jnp.linalg.solve(matrix, b), rtol=1e-6)
    solver = sparse_solver()
    state, _ = solver.conj(solver.init(operator, {}), {})
    of_conjugate, *_ = solver.compute(state, b, {})
    np.testing.assert_allclose(of_conjugate, jnp.linalg.solve(matrix.conj(), b), rtol=1e-6)


def test_what_is_not_square_is_refused():
    operator = lineax.MatrixLinearOperator(jnp.ones((3, 2)))
    with pytest.raises(ValueError, match=r"square systems, got an operator of 3 × 2: take lineax\.Normal"):
        lineax.linear_solve(operator, jnp.ones(3), sparse_solver())


def test_a_singular_operator_is_told():
    operator = lineax.JacobianLinearOperator(lambda x, args: x * jnp.arange(12.0), X)
    with pytest.raises(Exception, match=r"singular|non-finite"):
        lineax.linear_solve(operator, B, sparse_solver())


def test_structured_jacobians_of_solutions():
    """A matrix that depends on x, which lineax differentiates with its factors alone; a loop that has only reverse."""
    matrix = jnp.diag(jnp.arange(1.0, 5.0)) + 0.1
    solution = lambda x: lineax.linear_solve(lineax.MatrixLinearOperator(matrix * x[0]), x).value
    term = diffrax.ODETerm(lambda t, y, a: -y * a)
    end = lambda x: diffrax.diffeqsolve(term, diffrax.Tsit5(), 0, 1, 0.1, x, args=x).ys[0]
    x = jnp.array([0.1, 0.2, 0.3, 0.4])
    for f in (solution, end):
        J, expected = jacobian.structured(f)(x), jax.jacrev(f)(x)
        np.testing.assert_allclose(J.dense(), expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(J.T @ x, x @ expected, rtol=1e-4, atol=1e-6)
