"""Sparse Jacobians and Hessians are those of `jax.jacrev` and `jax.hessian`, in every form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse as sp

from benchmarks.jacobian_functions import sparse_systems
from jaxdl.jacobian.methods import compressed_products
from jaxdl.jacobian.methods.sparse_hessians import sparse_hessian
from jaxdl.jacobian.methods.sparse_jacobians import sparse

X = jnp.linspace(0.5, 2.0, 12)


def tridiagonal(x):
    wide = jnp.pad(x, 1)
    return (3 - 2 * x) * x - wide[:-2] - 2 * wide[2:]


def arrow(x):
    return jnp.concatenate([jnp.sum(x**2)[None], x[1:] * x[0] + x[1:] ** 2])


def alike(result, expected):
    dense = lambda a: a.todense() if hasattr(a, "todense") else a
    close = lambda a, b: np.testing.assert_allclose(dense(a), b, rtol=2e-4, atol=1e-4 * float(jnp.abs(b).max()))
    jax.tree.map(close, result, expected, is_leaf=lambda a: hasattr(a, "todense"))


@pytest.mark.parametrize("make", sparse_systems.ALL, ids=lambda make: make.__name__)
def test_systems(make):
    f, x = make(18)
    expected = jax.jit(jax.jacfwd(f))(x)
    J = sparse(f)
    alike(jax.jit(J)(x), expected)
    alike(J.bcoo(x), expected)
    alike(J.scipy(x).toarray(), expected)
    assert J.plan(x).dense == ()


@pytest.mark.parametrize(
    ("make", "sweeps"),
    [("banded", (3, 0)), ("brusselator_1d", (4, 0)), ("arrow", (2, 1)), ("heat", (9, 0)), ("rosenbrock", (2, 0))],
)
def test_sweeps(make, sweeps):
    f, x = getattr(sparse_systems, make)(100)
    assert sparse(f).plan(x).sweeps == sweeps


def test_pytrees_argnums_and_aux():
    f = lambda s, d: ({"p": d["a"] * s, "q": d["b"].sum()}, "aux")
    d = {"a": X[:3], "b": X[3:7].reshape(2, 2)}
    expected, _ = jax.jacrev(f, argnums=1, has_aux=True)(2.0, d)
    J = sparse(f, argnums=1, has_aux=True)
    for result, aux in (J(2.0, d), J.bcoo(2.0, d)):
        alike(result, expected)
        assert aux == "aux"
    assert J.scipy(2.0, d)[0].shape == (4, 7)


def test_under_vmap_jit_and_grad():
    x = jnp.stack([X, 2 * X])
    alike(*(jax.jit(jax.vmap(J))(x) for J in (sparse(arrow), jax.jacrev(arrow))))
    loss = lambda J: lambda x: jnp.sum(J(x) ** 2)
    alike(*(jax.jit(jax.grad(loss(J)))(X) for J in (sparse(tridiagonal), jax.jacrev(tridiagonal))))
    alike(jax.jit(sparse(arrow).bcoo)(X), jax.jacrev(arrow)(X))


def test_the_plan_is_made_once_for_a_type():
    J = sparse(tridiagonal)
    assert J.plan(X) is J.plan(2 * X)
    assert J.plan(X) is not J.plan(X[:5])
    assert "3 forward and 0 reverse" in str(J.plan(X))


def test_only_the_mode_that_jax_has():
    only_reverse = jax.custom_vjp(tridiagonal)
    only_reverse.defvjp(lambda x: jax.vjp(tridiagonal, x), lambda pullback, dy: pullback(dy))
    assert sparse(only_reverse).plan(X).sweeps == (0, 3)
    alike(sparse(only_reverse)(X), jax.jacrev(tridiagonal)(X))
    body = lambda c: (c[0] + 1, 2 * c[1])
    only_forward = jax.jit(lambda x: jax.lax.while_loop(lambda c: c[0] < 3, body, (0, x.sum()[None]))[1])
    alike(sparse(only_forward)(X), jax.jacfwd(only_forward)(X))


def test_what_jax_cannot_linearize():
    """It has but the forward mode of a window by any function."""
    f = lambda x: jax.lax.reduce_window(x, 1.0, jax.lax.mul, (2,), (1,), "VALID")
    alike(sparse(f)(X[:3]), jnp.array([[X[1], X[0], 0], [0, X[2], X[1]]]))


@pytest.mark.parametrize("kind", [sp.csr_array, np.asarray])
def test_a_given_pattern(kind):
    band = kind(np.abs(np.subtract.outer(range(12), range(12))) < 2)
    alike(sparse(tridiagonal, pattern=band)(X), jax.jacrev(tridiagonal)(X))
    assert sparse(tridiagonal, pattern=band).plan(X).sweeps == (3, 0)
    with pytest.raises(ValueError, match=r"shape \(12, 12\)"):
        sparse(tridiagonal, pattern=band[:3])(X)


@pytest.mark.parametrize("missing", [(0, 0), (4, 5), (11, 10)])
def test_a_wrong_pattern_is_never_silent(missing):
    band = np.abs(np.subtract.outer(range(12), range(12))) < 2
    band[missing] = False
    J = sparse(tridiagonal, pattern=band)
    for ask in (J, J.scipy):
        with pytest.raises(ValueError, match="outside the given pattern"):
            ask(X)
    assert jnp.isnan(jax.jit(J)(X)).any()
    assert jnp.isfinite(sparse(tridiagonal, pattern=band, probe=False)(X)).all()


def test_a_wrong_pattern_by_rows_is_never_silent():
    f = lambda x: jnp.stack([x.sum(), x[::2].sum()])
    right = np.stack([np.ones(12, bool), np.arange(12) % 2 == 0])
    assert sparse(f, pattern=right).plan(X).sweeps[0] == 0
    alike(sparse(f, pattern=right)(X), jax.jacrev(f)(X))
    right[1, 4] = False
    with pytest.raises(ValueError, match="outside the given pattern"):
        sparse(f, pattern=right)(X)


@pytest.mark.parametrize(
    ("f", "sweeps"),
    [
        (lambda x: jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2), 3),
        (lambda x: jnp.sum(x[1:] * x[0]) + jnp.sum(x**3), 2),
        (lambda x: jnp.prod(x), 12),
        (lambda x: jnp.sum(x), 0),
    ],
    ids=["chain", "arrow", "dense", "linear"],
)
def test_hessians(f, sweeps):
    H, expected = sparse_hessian(f), jax.jit(jax.hessian(f))(X)
    assert H.plan(X).sweeps == (sweeps, 0)
    for result in (jax.jit(H)(X), H.bcoo(X), H.scipy(X).toarray()):
        alike(result, expected)


def test_hessian_of_pytrees():
    f = lambda d: (jnp.sum(d["a"][:2] * d["b"]) * d["a"][2], "aux")
    d = {"a": X[:3], "b": X[3:5]}
    expected = jax.jit(jax.hessian(lambda d: f(d)[0]))(d)
    H = sparse_hessian(f, has_aux=True)
    alike(H(d)[0], expected)
    alike(H.bcoo(d)[0], expected)
    assert H(d)[1] == "aux"


def test_nothing_to_differentiate():
    assert sparse(lambda x: x)(jnp.zeros(0)).shape == (0, 0)
    assert sparse(lambda x: x[:0]).bcoo(X).shape == (0, 12)
    assert sparse(lambda x: jnp.ones(3))(X).shape == (3, 12)
    assert not sparse(lambda x: jnp.ones(3) * jnp.sign(x[0]))(X).any()


def test_errors():
    with pytest.raises(TypeError, match="bcoo"):
        jax.jit(sparse(arrow).scipy)(X)
    with pytest.raises(TypeError, match="expected a function"):
        sparse_hessian(3)
    with pytest.raises(TypeError, match="scalar"):
        sparse_hessian(arrow)(X)


@pytest.mark.parametrize("f", [arrow, tridiagonal])  # entries in the pattern's order, and in that of the products
def test_the_pattern_is_drawn(f, tmp_path):
    plan, path = sparse(f).plan(X), tmp_path / "pattern.png"
    (axes,) = plan.plot(path).axes
    assert path.read_bytes().startswith(b"\x89PNG")
    assert axes.get_xlabel() == sparse(f).spy(X).get_xlabel() == "input"
    (shown,) = axes.collections
    rows, columns = plan.pattern.nonzero()
    assert set(map(tuple, shown.get_offsets())) == set(zip(columns, rows, strict=True))


def test_half_a_pattern_is_enough_for_a_hessian_and_less_is_not():
    f = lambda x: jnp.sum(x[1:] * x[:-1])
    lower = np.eye(12, k=-1)
    alike(sparse_hessian(f, pattern=lower)(X), lower + lower.T)
    with pytest.raises(ValueError, match="outside the given pattern"):
        sparse_hessian(f, pattern=np.eye(12, dtype=bool))(X)


def test_large_seeds_are_computed(monkeypatch):
    monkeypatch.setattr(compressed_products, "MOST_CONSTANT_SEEDS", 0)
    alike(sparse(tridiagonal)(X), jax.jacrev(tridiagonal)(X))
