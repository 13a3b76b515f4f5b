"""What a function closes over may change between calls and may come from an outer trace, as with jax.jacrev."""

import gc
import types
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import jacobian
from tests.draws import draw
from tests.tolerance import assert_close

X = draw(80, 4)
METHODS = {
    "reverse": jacobian.reverse,
    "forward": jacobian.forward,
    "cut": jacobian.cut,
    "sparse": jacobian.sparse,
    "eliminate": lambda f: jacobian.eliminate(f, seconds=0.1),
    "finite": jacobian.finite,
    "structured": lambda f: multiplied_out(jacobian.structured(f)),
}


def multiplied_out(structured):
    return lambda x: structured(x).dense()


every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def changing():
    """Functions with a part that changes, in its values and its zeros, and how it is changed."""
    scale, mask, model = np.ones(4, np.float32), np.array([1, 0, 0, 1], np.float32), types.SimpleNamespace(a=1.0, w=X)

    @jax.custom_vjp
    def scaled(x):
        return x

    scaled.defvjp(lambda x: (x, None), lambda _, dy: (dy * model.a,))

    def by_a_new_rule(x):
        a = model.a
        rule = jax.custom_gradient(lambda x: (x, lambda dy: dy * a))
        return rule(x)

    return {
        "an array": (lambda x: jnp.sin(x) * jnp.asarray(scale), lambda: scale.fill(2)),
        "its zeros": (lambda x: jnp.sin(x) * mask, lambda: mask.__setitem__(slice(None), [0, 1, 1, 0])),
        "an index": (lambda x: x[mask.astype(int)], lambda: mask.fill(1)),
        "a number": (lambda x: jnp.sin(x) * model.a, lambda: setattr(model, "a", 3.0)),
        "an attribute": (lambda x: jnp.sin(x) * model.w, lambda: setattr(model, "w", 2 * X)),
        "another shape": (lambda x: jnp.outer(x, model.w).sum(1), lambda: setattr(model, "w", X[:2])),
        "the program": (lambda x: x**2 if model.a > 2 else jnp.cumsum(x), lambda: setattr(model, "a", 3.0)),
        "a rule": (lambda x: scaled(x) * 2, lambda: setattr(model, "a", 3.0)),
        "a rule made anew": (by_a_new_rule, lambda: setattr(model, "a", 3.0)),
    }


@every_method
@pytest.mark.parametrize("name", changing())
def test_a_change_is_noticed(method, name):
    if "rule" in name and method in (jacobian.forward, jacobian.finite):
        pytest.skip("custom_vjp has no forward mode, and its values do not change")
    f, change = changing()[name]
    jacobian_of = method(f)
    assert_close(jacobian_of(X), jax.jacrev(f)(X), "float32", "jacobian")
    change()
    assert_close(jacobian_of(X), jax.jacrev(f)(X), "float32", "jacobian")


def test_best_notices_a_change():
    f, change = changing()["its zeros"]
    jacobian_of = jacobian.best(f)
    before = jacobian_of(X)
    change()
    assert_close(jacobian_of(X) + before, jnp.diag(jnp.cos(X)), "float32", "jacobian")


@pytest.mark.parametrize("method", ["sparse", "cut", "eliminate", "best"])
def test_one_jacobian_in_two_jitted_functions(method):
    """The function closes over a value that each of them traces."""
    given = types.SimpleNamespace()
    jacobian_of = getattr(jacobian, method)(lambda x: jnp.tanh(given.w @ x))

    def inside(w, x):
        given.w = w
        return jacobian_of(x)

    for w in (draw(81, 3, 4), 2 * draw(81, 3, 4)):
        assert_close(jax.jit(inside)(w, X), jax.jacrev(lambda x, w=w: jnp.tanh(w @ x))(X), "float32", "jacobian")
        assert_close(jax.jit(lambda w, x: inside(w, x) * 2)(w, X) / 2, jax.jit(inside)(w, X), "float32", "jacobian")
        assert_close(inside(w, X), jax.jit(inside)(w, X), "float32", "jacobian")


@pytest.mark.parametrize(("method", "times"), [("cut", 1), ("structured", 1), ("reverse", 1), ("sparse", 3)])
def test_prepared_again_only_where_the_values_of_constants_matter(method, times):
    """For a sparse Jacobian the zeros matter."""
    model = types.SimpleNamespace(w=draw(82, 4, 4))
    jacobian_of = getattr(jacobian, method)(lambda x: jnp.sin(model.w @ x))
    for _ in range(3):
        jacobian_of(X)
        model.w = model.w + 1
    (entries,) = jacobian_of.prepared.values()
    assert len(entries) == times


def test_the_preparation_is_freed_with_the_jacobian():
    class Held:
        pass

    held = Held()
    held.w = draw(83, 4)
    jacobian_of, seen = jacobian.sparse(lambda x: x * held.w), weakref.ref(held)
    jacobian_of(X)
    del held, jacobian_of
    gc.collect()
    assert seen() is None


def test_few_programs_are_kept():
    model = types.SimpleNamespace(a=0.0)
    jacobian_of = jacobian.cut(lambda x: x * model.a)
    for a in range(70):
        model.a = float(a)
        assert_close(jacobian_of(X), a * jnp.eye(4), "float32", "jacobian")
    assert len(jacobian_of.prepared) == 64


def test_a_rule_that_raised_before_is_traced_again():
    """JAX keeps a jitted function's trace, and loses the structure of a custom_vjp in it whose rule has raised."""
    product = jax.custom_vjp(lambda a, b: a * b)

    def forward(a, b):
        if b.perturbed:
            raise ValueError("b is a constant")
        return a.value * b.value, b.value

    product.defvjp(forward, lambda b, dy: (dy * b, None), symbolic_zeros=True)
    inner = jax.jit(lambda a, b: product(a, b))
    x = jnp.array([1.0, 2.0])
    f = lambda x: inner(jnp.sin(x), jnp.ones(2))
    dense = {
        "matrix": jacobian.cut(f),
        "best": jacobian.best(f),
        "bcoo": lambda x: jacobian.sparse(f).bcoo(x).todense(),
        "scipy": lambda x: jacobian.sparse(f).scipy(x).toarray(),
        "structured": lambda x: jacobian.structured(f)(x).dense(),
    }
    for jacobian_of in dense.values():
        jax.jacrev(f)(x)
        with pytest.raises(ValueError, match="b is a constant"):
            jax.jacrev(lambda x: inner(x, x))(x)
        np.testing.assert_allclose(jacobian_of(x), jnp.diag(jnp.cos(x)), rtol=1e-6)
        jax.clear_caches()


def test_a_traced_constant_is_not_read():
    """The pattern of a product needs the value of the matrix, which grad and vmap trace."""
    x = jnp.ones(3)
    total = lambda w: (jacobian.sparse(lambda x: jnp.sin(w @ x))(x) ** 2).sum()
    expected = lambda w: (jax.jacfwd(lambda x: jnp.sin(w @ x))(x) ** 2).sum()
    w = jnp.eye(3)
    assert_close(jax.grad(total)(w), jax.grad(expected)(w), "float32", "jacobian")
    assert_close(jax.vmap(total)(w[None]), expected(w)[None], "float32", "jacobian")


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_closed_over_references_are_read(method):
    scale = jax.new_ref(jnp.ones(4))
    J = method(lambda x: jnp.sin(x) * jax.jit(lambda: scale[...] ** 2)())
    for value in (1.0, 3.0):
        scale[...] = jnp.full(4, value)
        assert_close(J(X), jnp.diag(jnp.cos(X)) * value**2, jnp.float32)


def test_references_in_arguments_are_read():
    scale = jax.new_ref(jnp.full(4, 3.0))
    for J in (jacobian.finite, jacobian.sparse):
        assert_close(J(lambda x, ref: jnp.sin(x) * ref[...])(X, scale), 3 * jnp.diag(jnp.cos(X)), jnp.float32)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_references_from_outside_are_not_written(method):
    """The Jacobian of a function of what it wrote was zero."""
    kept = jax.new_ref(jnp.zeros(4))

    def f(x):
        kept[...] = x
        return jnp.sin(kept[...])

    with pytest.raises(ValueError, match=r"writes to a reference from outside .* pass its value as an argument"):
        method(f)(X)
    taking = jax.custom_vjp(lambda ref, x: jnp.sin(x))
    taking.defvjp(lambda ref, x: (x, (ref, x)), lambda r, dy: (None, dy * jnp.cos(r[1])))
    with pytest.raises(ValueError, match="a custom rule takes one"):
        method(lambda x: taking(kept, x))(X)
