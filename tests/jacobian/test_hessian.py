"""Hessians by every method are those of jax.hessian; their lower triangles, and those of Lagrangians."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import jacobian
from jaxdl.jacobian import estimation
from tests.jacobian.functions import X
from tests.jacobian.test_methods import same

plans = sys.modules["jaxdl.jacobian.planning"]
METHODS = {
    "planned": jacobian.hessian,
    "in chunks": functools.partial(jacobian.hessian, chunk=4),
    "sparse": jacobian.sparse_hessian,
    "sparse in chunks": functools.partial(jacobian.sparse_hessian, chunk=2),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def chain(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def of_trees(d, scale):
    return scale * jnp.sum(jnp.sin(d["a"][:2] * d["b"])) * d["a"][2], {"sum": d["b"].sum(), "name": "aux"}


TREES = {"a": X[:3], "b": X[3:5]}, 2.0


@every_method
def test_pytrees_argnums_and_aux(method):
    got, aux = method(of_trees, (0,), has_aux=True)(*TREES)
    same(got, jax.hessian(lambda *given: of_trees(*given)[0], (0,))(*TREES))
    assert aux["name"] == "aux"
    same(aux["sum"], TREES[0]["b"].sum())


@every_method
def test_value_gradient_and_hessian(method):
    (y, aux), g, H = method(of_trees, has_aux=True).value_gradient_and_hessian(*TREES)
    f = lambda *given: of_trees(*given)[0]
    same((y, g, H), (f(*TREES), jax.grad(f)(*TREES), jax.hessian(f)(*TREES)))
    assert aux["name"] == "aux"
    found = jax.jit(method(chain).value_gradient_and_hessian)(X)
    same(found, (chain(X), jax.grad(chain)(X), jax.hessian(chain)(X)))
    same(method(chain).value_and_jacobian(X), (jax.grad(chain)(X), jax.hessian(chain)(X)))


@every_method
def test_under_vmap_and_grad(method):
    many = jnp.stack([X, 2 * X])
    same(jax.jit(jax.vmap(method(chain)))(many), jax.vmap(jax.hessian(chain))(many))
    third = lambda hessian: jax.grad(lambda x: (hessian(x) ** 2).sum())(X) / 1e6
    same(third(method(chain)), third(jax.hessian(chain)))


@pytest.mark.parametrize("name", [*estimation.PREPARE, *estimation.PREPARE_HESSIAN])
def test_every_way_of_the_plan(name, monkeypatch):
    one = {name: (estimation.PREPARE | estimation.PREPARE_HESSIAN)[name]}
    for module in (plans, estimation):
        monkeypatch.setattr(module, "methods", lambda function: one)
    f = lambda x: jnp.sum(jnp.sin(x) * jnp.tanh(x[0])) + (x @ x) ** 2
    hessian = jacobian.hessian(f)
    if name == "cut":  # the input is the narrowest place
        with pytest.raises(ValueError, match="narrower"):
            hessian(X)
        return
    same(hessian(X), jax.hessian(f)(X))
    assert hessian.plan(X).best.method == name


def test_the_symmetry_is_used_by_the_planned_method():
    arrow = lambda x: jnp.sum(x[1:] * x[0]) + jnp.sum(x**3)
    (sparse,) = [way for way in jacobian.hessian(arrow).plan(jnp.ones(300)).ways if way.method == "sparse"]
    assert sparse.sweeps == "2 columns"


def test_a_saved_plan(tmp_path):
    f = lambda x: jnp.sum(x[1:] * jnp.sin(x[:-1]))
    plan = jacobian.hessian(f, seconds=1.0).plan(X)
    plan.save(tmp_path / "plan.json")
    again = jacobian.hessian(f, plan=tmp_path / "plan.json")
    same(again(X), jax.hessian(f)(X))
    assert again.plan(X).best.method == plan.best.method
    with pytest.raises(ValueError, match="jacobian"):
        jacobian.hessian(lambda x: jnp.sum(x**4), plan=tmp_path / "plan.json")(X)


@every_method
def test_bad_functions_and_options(method):
    with pytest.raises(TypeError, match="one scalar output, got outputs \\[\\[6\\]\\]"):
        method(jnp.sin)(X)
    with pytest.raises(TypeError, match="must be floating-point, got int32"):
        method(chain)(jnp.arange(6))
    with pytest.raises(TypeError, match="must return a pair"):
        method(chain, has_aux=True)(X)


def test_holomorphic_functions():
    f = lambda z: jnp.sum(z**3) * z[0]
    z = jax.lax.complex(X[:3], jnp.ones(3))
    for method in (jacobian.hessian, jacobian.sparse_hessian):
        np.testing.assert_allclose(method(f, holomorphic=True)(z), jax.hessian(f, holomorphic=True)(z), rtol=1e-5)


def test_chunks_of_sparse_products():
    f = lambda x: jnp.concatenate([jnp.cumsum(jnp.sin(x)), (x[1:] * x[0]) ** 2])
    by_rows = lambda x: jnp.stack([jnp.sin(x).sum(), (x[::2] ** 2).sum(), x[1]])
    for g in (f, by_rows):
        for chunk in (1, 4):
            J = jacobian.sparse(g, chunk=chunk)
            same(J(X), jax.jacrev(g)(X))
            np.testing.assert_allclose(J.scipy(X).toarray(), jax.jacrev(g)(X), rtol=1e-5)
        same(jacobian.sparse(g, chunk=2).value_and_jacobian(X)[0], g(X))
    with pytest.raises(ValueError, match="not both"):
        jacobian.sparse(f, chunk=1, max_bytes=1)(X)
    with pytest.raises(ValueError, match="positive integer"):
        jacobian.sparse_hessian(chain, chunk=0)(X)
    with pytest.raises(ValueError, match="there is no plan"):
        jacobian.hessian(chain, chunk=2).plan(X)


def test_sparse_products_within_a_limit_of_memory():
    w = jnp.full((300, 300), 0.01)
    f = lambda x: jnp.tanh(w @ jnp.tanh(w @ x))
    x = jnp.linspace(-1, 1, 300)
    everything, limit = jacobian.sparse(f), 200_000
    temporary = lambda J: jax.jit(J.bcoo).lower(x).compile().memory_analysis().temp_size_in_bytes
    assert temporary(everything) > 2 * limit
    limited = jacobian.sparse(f, max_bytes=limit)
    np.testing.assert_allclose(limited(x), everything(x), rtol=1e-5)
    assert 1 < limited.bind((x,), {}).prepared.chunk < 300
    with pytest.raises(ValueError, match="one sweep at a time takes"):
        jacobian.sparse(f, max_bytes=10)(x)


@pytest.mark.parametrize(
    "f", [chain, lambda x: jnp.sum(x) * x[2] ** 2, lambda x: jnp.sum(x**3)], ids=["chain", "star", "diagonal"]
)
def test_lower_triangles(f):
    """Also where the entries are in the order of the products."""
    H = jacobian.sparse_hessian(f)
    rows, columns = H.plan(X).lower_coordinates
    assert (rows >= columns).all()
    lower = np.zeros((6, 6), np.float32)
    lower[rows, columns] = jax.jit(H.lower)(X)
    np.testing.assert_allclose(lower, np.tril(jax.hessian(f)(X)), rtol=1e-4, atol=1e-4)
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == rows.size


def test_lagrangians():
    f = lambda d: d["x"][0] * d["x"][3] * d["x"][:3].sum() + d["y"]
    c = lambda d: {"product": jnp.prod(d["x"][:4]), "sphere": d["x"][1:] ** 2 * d["y"]}
    x, multipliers = {"x": X, "y": jnp.float32(0.5)}, jnp.arange(1.0, 7.0)
    H = jacobian.lagrangian_hessian(f, c)

    def lagrangian(x):
        product, sphere = c(x).values()
        return 0.3 * f(x) + multipliers[0] * product + multipliers[1:] @ sphere

    same(H(x, multipliers, 0.3), jax.hessian(lagrangian)(x))
    rows, columns = H.plan(x, multipliers, 0.3).lower_coordinates
    dense = H.scipy(x, multipliers, 0.3).toarray()
    np.testing.assert_allclose(H.lower(x, multipliers, 0.3), dense[rows, columns])
    assert np.count_nonzero(np.tril(dense)) <= rows.size < 28
    assert len(H.prepared) == 1
    with pytest.raises(ValueError, match=r"each of the 6 constraints, got shape \(2,\)"):
        H(x, multipliers[:2], 0.3)
