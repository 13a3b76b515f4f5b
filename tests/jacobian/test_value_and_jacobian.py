"""Value and Jacobian in one pass: the values are those of f and of jax.jacrev, and f is evaluated once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import jacobian
from tests.jacobian.functions import TREES, X, layer, trees
from tests.jacobian.test_methods import METHODS, OUTSIDE_JIT, every_method, same

ONE_PASS = ("reverse", "reverse, chunk", "forward", "forward, chunk", "cut", "sparse")


def step(x):
    """A function with a scan, whose passes XLA does not merge."""
    return jax.lax.scan(lambda h, _: (jnp.sin(h) * x[0], None), x[1:], length=3)[0]


@every_method
def test_pytrees(method):
    value, got = method(trees, (0, -1)).value_and_jacobian(*TREES)
    same(value, trees(*TREES))
    same(got, jax.jacrev(trees, (0, -1))(*TREES))


@every_method
def test_aux(method):
    """As jax.value_and_grad returns it, with arrays, numbers and text in aux."""
    f = lambda x, s: (x**2 * s, {"of": x * s, "name": "aux", "none": None, "number": 2})
    (y, aux), got = method(f, has_aux=True).value_and_jacobian(X, 3.0)
    same((y, aux["of"]), (3 * X**2, 3 * X))
    assert (aux["name"], aux["none"], aux["number"]) == ("aux", None, 2)
    same(got, jnp.diag(6 * X))


@every_method
def test_in_jit_and_vmap(method, request):
    if request.node.callspec.id in OUTSIDE_JIT:
        pytest.skip("computes in float64, which jit refuses unless jax_enable_x64 is on: test_finite")
    many = jnp.stack([X, 2 * X])
    value, got = jax.jit(jax.vmap(method(layer).value_and_jacobian))(many)
    same(value, jax.vmap(layer)(many))
    same(got, jax.vmap(jax.jacrev(layer))(many))


def test_empty_outputs_and_the_planned_method():
    y, J = jacobian.reverse(lambda x: (x[:0], ())).value_and_jacobian(X)
    assert (y[0].shape, y[1], J[0].shape) == ((0,), (), (0, 6))
    y, J = jacobian.value_and_jacobian(layer)(X)
    same((y, J), (layer(X), jax.jacrev(layer)(X)))


def evaluations(run, *args):
    """How often a function is evaluated when `run` of it is called outside jit."""
    counts = {"n": 0}

    @jax.custom_jvp
    def counted(x):
        return jax.pure_callback(noted, x, x, vmap_method="sequential")

    def noted(x):
        counts["n"] += 1
        return np.asarray(x) ** 2

    counted.defjvp(lambda x, t: (counted(*x), 2 * x[0] * t[0]))
    jax.block_until_ready(run(counted)(*args))
    return counts["n"]


@pytest.mark.parametrize("name", ["reverse", "reverse, chunk", "forward", "forward, chunk", "sparse"])
def test_f_is_evaluated_once(name):
    """Also with aux, for which f ran twice."""
    method = METHODS[name]
    once = max(1, evaluations(method, X))  # a compiled Jacobian alone may need no value
    assert evaluations(lambda f: method(f).value_and_jacobian, X) == once
    with_aux = lambda f: lambda x: (f(x), jnp.sin(x))
    assert evaluations(lambda f: method(with_aux(f), has_aux=True), X) <= once


def loops(text):
    return text.count(" while(")


@pytest.mark.parametrize("name", ONE_PASS)
def test_the_program_has_no_second_pass(name):
    """A loop that only the value needed would be one more."""
    count = lambda run: loops(jax.jit(run).lower(X).compile().as_text())
    J = METHODS[name](step)
    assert count(J.value_and_jacobian) == count(J)


def test_aux_without_a_derivative():
    """What only aux needs is never differentiated."""
    only_reverse = jax.custom_vjp(jnp.sin)
    only_reverse.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (dy * jnp.cos(x),))
    f = lambda x: (x**2, (only_reverse(x), jnp.argsort(x), jax.random.key(0)))
    for name in ("reverse", "forward", "forward, chunk", "sparse", "cut", "eliminate", "best"):
        got, (sin, order, _) = METHODS[name](f, has_aux=True)(X)
        same((got, sin), (jnp.diag(2 * X), jnp.sin(X)))
        assert (order == jnp.argsort(X)).all()
        assert "dense" not in str(jacobian.sparse(f, has_aux=True).plan(X))


def test_sparse_forms():
    f = lambda x: (x[1:] * x[:-1], "aux")
    for J, y in ((jacobian.sparse(f, has_aux=True), f(X)), (jacobian.sparse(lambda x: f(x)[0]), f(X)[0])):
        for value, matrix in (J.value_and_bcoo(X), J.value_and_scipy(X)):
            jax.tree.map(np.testing.assert_array_equal, value, y)
            np.testing.assert_allclose(matrix.todense(), jax.jacrev(lambda x: f(x)[0])(X))
    value, matrix = jax.jit(jacobian.sparse(lambda x: f(x)[0]).value_and_bcoo)(X)
    np.testing.assert_allclose(value, f(X)[0])
    assert matrix.nse == 10


def test_operators():
    (y, aux), J = jacobian.structured(lambda x: (jnp.sin(x), "aux"), has_aux=True).value_and_jacobian(X)
    same((y, J.dense()), (jnp.sin(X), jnp.diag(jnp.cos(X))))
    assert aux == "aux"


def test_gradients_of_the_value_and_of_the_jacobian():
    loss = lambda run: lambda x: sum((a**2).sum() for a in jax.tree.leaves(run(x)))
    expected = jax.grad(loss(lambda x: (layer(x), jax.jacrev(layer)(x))))(X)
    for method in (jacobian.reverse, jacobian.forward, functools.partial(jacobian.forward, chunk=4), jacobian.sparse):
        np.testing.assert_allclose(jax.grad(loss(method(layer).value_and_jacobian))(X), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["reverse", "forward", "forward, chunk", "sparse", "cut", "eliminate", "best"])
def test_gradients_of_aux(name):
    """As of jax.jacrev's: aux is an output like others for an outer derivative."""
    f = lambda x: (jnp.sin(x), (x**3 * jnp.sin(x), x))
    method = METHODS[name]
    for of_aux in (lambda m: lambda x: m(f, has_aux=True)(x)[1], lambda m: lambda x: value_aux(m(f, has_aux=True), x)):
        weighted = lambda m, of_aux=of_aux: lambda x: sum((a * X).sum() for a in of_aux(m)(x))
        same(jax.grad(weighted(method))(X), jax.grad(lambda x: sum((a * X).sum() for a in f(x)[1]))(X))


def value_aux(jacobian_of_f, x):
    return jacobian_of_f.value_and_jacobian(x)[0][1]
