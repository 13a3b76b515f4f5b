"""Reductions by any function: JAX's own derivative of them leaves out the initial value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxdl import jacobian
from tests.draws import draw

X = draw(95, 2, 5)  # of two entries JAX leaves out the initial value
# A reduction with the initial value 2, and the same written by hand.
BY = {
    "sum": (lax.add, lambda x, axis: 2 + x.sum(axis)),
    "product": (lax.mul, lambda x, axis: 2 * x.prod(axis)),
    "a + b + ab": (lambda a, b: a + b + a * b, lambda x, axis: 3 * (1 + x).prod(axis) - 1),
}
PAIRS = (lambda a, b: (a[0] + b[0], a[1] * b[1]), lambda x, axis: (2 + x.sum(axis), 3 * (x**2).prod(axis)))


@pytest.mark.parametrize("axes", [(0,), (1, 0)])
@pytest.mark.parametrize("name", BY)
def test_initial_values_count(name, axes):
    by, right = BY[name]
    f = lambda x: lax.reduce(x, jnp.float32(2), by, axes)
    methods = jacobian.reverse, jacobian.forward, jacobian.sparse
    both = lambda x: (right(x, axes), jax.jacrev(lambda x: right(x, axes))(x))
    found, expected = jax.jit(lambda x: ([method(f).value_and_jacobian(x) for method in methods], both(x)))(X)
    for of_method in found:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), of_method, expected)


def test_laplacians_of_products():
    f = lambda x: lax.reduce(x.reshape(2, 3), jnp.float32(2), lax.mul, (0,))
    x = X.ravel()[:6]
    y, _, found = jacobian.laplacian(lambda x: f(jnp.sin(x))).value_jacobian_and_laplacian(x)
    expected = jax.hessian(lambda x: 2 * jnp.sin(x).reshape(2, 3).prod(0))(x)
    np.testing.assert_allclose(y, 2 * jnp.sin(x).reshape(2, 3).prod(0), rtol=1e-5)
    np.testing.assert_allclose(found, jnp.trace(expected, axis1=1, axis2=2), atol=1e-5)


def test_several_arrays_and_none():
    by, right = PAIRS
    f = lambda x: lax.reduce((x, x**2), (jnp.float32(2), jnp.float32(3)), by, (0,))
    found, expected = jax.jit(jacobian.reverse(f))(X), jax.jacrev(lambda x: right(x, 0))(X)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), tuple(found), expected)
    y, J = jacobian.reverse(lambda x: lax.reduce(x[:0], x[0, 0], lax.add, (0,))).value_and_jacobian(X)
    assert (y == X[0, 0]).all()
    assert (J[:, 0, 0] == 1).all()
    assert J.sum() == 5
