"""Direct solves with Jacobians are those of the dense matrix, in every form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import jacobian
from jaxdl.jacobian.analysis.band_solver import solve_banded
from jaxdl.jacobian.methods import linear_solves
from tests.draws import draw

X, B = jnp.linspace(-1, 1, 12), draw(97, 12)
ORDER = jnp.array([3, 0, 9, 6, 1, 11, 4, 8, 2, 10, 5, 7])
W = draw(98, 12, 12)


def blocks(x):
    """Three blocks, whose entries are not neighbours."""
    y = x.reshape(4, 3)
    return (3 * y + jnp.sin(y.sum(0, keepdims=True) * y)).reshape(-1)


def band(x):
    wide = jnp.pad(x, 2)
    return x**2 - 3 * wide[:-4] + wide[4:] * x + 0.1 * wide[1:-3]


FUNCTIONS = {
    "diagonal": (lambda x: x**3 + x, "blocks"),
    "blocks": (blocks, "blocks"),
    "band": (band, "band"),
    "hidden band": (lambda x: band(x[ORDER])[jnp.argsort(ORDER)], "band"),
    "needs pivots": (lambda x: jnp.concatenate([x[1:2] * 2, x[:-2] + 0.5 * x[2:] ** 2, 3 * x[-2:-1]]), "band"),
    "dense": (lambda x: 4 * x + jnp.tanh(W @ x), "on_the_host"),
}


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3 * float(jnp.abs(expected).max()))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_solutions(name, monkeypatch):
    f, form = FUNCTIONS[name]
    monkeypatch.setattr(linear_solves, "WIDEST_BAND", 8)
    solver = jacobian.solve(f)
    exact = lambda x, b: jnp.linalg.solve(jax.jacrev(f)(x), b)
    close(jax.jit(lambda x, b: solver(x)(b))(X, B), exact(X, B))
    many = jnp.stack([B, 2 * B])
    close(jax.vmap(lambda x, b: solver(x)(b), (None, 0))(X, many), jax.vmap(exact, (None, 0))(X, many))
    for argument in (0, 1):
        loss = lambda solve, argument=argument: jax.grad(lambda x, b: jnp.sum(solve(x, b) ** 2), argument)
        close(loss(lambda x, b: solver(x)(b))(X, B), loss(exact)(X, B))
    bound = jacobian.Jacobian("solve", f, linear_solves.DirectSolver, 0, False, False)
    assert form in bound.bind((X,), {}).prepared.form.__qualname__


def test_pytrees_and_argnums():
    f = lambda s, d: {"p": d["a"] * s + d["b"].sum(), "q": d["b"] ** 2}
    d = {"a": X[:3], "b": X[4:6]}
    step = jacobian.solve(f, 1)(2.0, d)(f(2.0, d))
    assert jax.tree.map(jnp.shape, step) == {"a": (3,), "b": (2,)}
    back = jacobian.pushforward(f, 1)(2.0, d)(step)
    jax.tree.map(close, back, f(2.0, d))


@pytest.mark.parametrize(("lower", "upper"), [(0, 0), (1, 0), (0, 2), (2, 1), (3, 3)])
def test_bands(lower, upper):
    """With pivots: the diagonal is 0 here and there."""
    n = 9
    matrix = np.array(jnp.triu(jnp.tril(draw(99, n, n), upper), -lower))
    if lower and upper:
        matrix[2, 2] = matrix[5, 5] = 0
    offsets = np.arange(-lower, upper + 1)
    columns = np.arange(n)[:, None] + offsets
    inside = (columns >= 0) & (columns < n)
    stored = np.where(inside, matrix[np.arange(n)[:, None], columns % n], 0)
    x = jax.jit(solve_banded, static_argnums=1)(jnp.asarray(stored), lower, B[:n])
    np.testing.assert_allclose(matrix @ x, B[:n], atol=2e-3 * np.abs(x).max())


def test_singular_and_bad_functions():
    assert not jnp.isfinite(jacobian.solve(lambda x: 0 * x)(X)(B)).all()
    assert not jnp.isfinite(jacobian.solve(lambda x: jnp.sum(x) * jnp.ones(12))(X)(B)).all()
    with pytest.raises(ValueError, match="square Jacobian: f takes 12 numbers and gives 11"):
        jacobian.solve(lambda x: x[1:])(X)
    with pytest.raises(TypeError, match="must be floating-point, got int32"):
        jacobian.solve(jnp.sin)(jnp.arange(3))
