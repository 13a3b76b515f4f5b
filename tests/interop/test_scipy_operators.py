"""Jacobians as operators of SciPy and of jax.scipy."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import linalg

from jaxdl import interop, jacobian
from tests.draws import draw

X, W = draw(95, 6), draw(96, 6, 6)


def f(x):
    return 5 * x + jnp.tanh(W @ x)


def test_scipy_solvers_take_it():
    J = interop.as_scipy(jacobian.structured(f)(X))
    dense, b = np.asarray(jax.jacrev(f)(X)), np.asarray(X, np.float64)
    np.testing.assert_allclose(J.matvec(b), dense @ b, rtol=1e-5)
    np.testing.assert_allclose(J.rmatvec(b), dense.T @ b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(J.matmat(np.eye(6)), dense, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(J.rmatmat(np.eye(6)), dense.T, rtol=1e-5, atol=1e-6)
    for solver in (linalg.gmres, linalg.bicgstab):
        dx, info = solver(J, b, rtol=1e-4)
        assert info == 0
        np.testing.assert_allclose(dense @ dx, b, atol=2e-3)


def test_complex_operators_have_the_adjoint():
    z = jax.lax.complex(X, X[::-1])
    J = interop.as_scipy(jacobian.structured(lambda z: z * z[0], holomorphic=True)(z))
    dense = np.asarray(jax.jacrev(lambda z: z * z[0], holomorphic=True)(z))
    np.testing.assert_allclose(J.rmatvec(np.asarray(z)), dense.conj().T @ np.asarray(z), rtol=1e-5)


def test_solvers_of_jax_take_it_as_a_function():
    solve = jax.jit(lambda x, b: jax.scipy.sparse.linalg.gmres(jacobian.structured(f)(x), b)[0])
    np.testing.assert_allclose(jax.jacrev(f)(X) @ solve(X, X), X, atol=1e-3)
    by_products = jax.scipy.sparse.linalg.gmres(jacobian.pushforward(f)(X), X)[0]
    np.testing.assert_allclose(by_products, solve(X, X), atol=1e-3)


def test_superlu_takes_the_sparse_matrix():
    chain = lambda x: 3 * x - jnp.roll(x, 1) ** 2
    y, J = jacobian.sparse(chain).value_and_scipy(X)
    dx = linalg.splu(J.tocsc()).solve(np.asarray(y))
    np.testing.assert_allclose(jax.jacrev(chain)(X) @ dx, y, rtol=1e-4, atol=1e-5)
