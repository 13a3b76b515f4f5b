"""Reversible blocks and fixed points: the right derivatives, in a memory that does not grow."""

import jax
import jax.numpy as jnp
import pytest

from jaxdl import automatic, ops
from tests.draws import draw
from tests.tolerance import assert_close


def branch(p, x):
    return jnp.tanh(x @ p["w"] + p["b"][None])


def blocks(number):
    params = lambda seed: {"w": draw(seed, number, 4, 4) / 2, "b": draw(seed + 1, number, 4)}
    return draw(0, 3, 4), draw(1, 3, 4), params(2), params(4)


def reversible(x, y, p, q):
    return ops.reversible(x, y, p, q, f=branch, g=branch)


def test_reversible_blocks_are_the_layers_one_by_one():
    x, y, p, q = blocks(5)
    a, b = x, y
    for i in range(5):
        a = a + branch(jax.tree.map(lambda v, i=i: v[i], p), b)
        b = b + branch(jax.tree.map(lambda v, i=i: v[i], q), a)
    got = reversible(x, y, p, q)
    assert_close(got[0], a, "float32")
    assert_close(got[1], b, "float32")


def test_reversible_gradients_of_many_blocks():
    args = blocks(20)
    total = lambda f: jax.grad(lambda *args: sum((v**2).sum() for v in f(*args)), (0, 1, 2, 3))(*args)
    for got, want in zip(
        jax.tree.leaves(total(reversible)), jax.tree.leaves(total(automatic(reversible))), strict=True
    ):
        assert_close(got, want, "float32")


def test_reversible_keeps_the_same_for_any_number_of_blocks():
    def kept(number, f):
        args = blocks(number)
        leaves = jax.tree.leaves(jax.eval_shape(lambda *args: jax.vjp(f, *args)[1], *args))
        return sum(leaf.size for leaf in leaves) - sum(leaf.size for leaf in jax.tree.leaves(args[2:]))

    assert kept(3, reversible) == kept(30, reversible)
    assert kept(30, automatic(reversible)) > 5 * kept(3, automatic(reversible))


def test_reversible_needs_one_length():
    x, y, p, q = blocks(3)
    with pytest.raises(ValueError, match="reversible: all parameters must have the number of blocks"):
        reversible(x, y, p, jax.tree.map(lambda v: v[:2], q))


def cosine(p, x):
    return jnp.cos(x) * p


def newton(a, x):
    return (x + a / x) / 2


def test_a_fixed_point_and_its_derivatives_of_three_orders():
    """√a by Heron's iteration."""
    root = lambda a: ops.fixed_point(a, jnp.ones_like(a), f=newton).value
    with jax.enable_x64(True):
        a = jnp.array(3.0)
        expected = (a**0.5, a**-0.5 / 2, -(a**-1.5) / 4, 3 * a**-2.5 / 8)
        f = root
        for value in expected:
            assert_close(f(a), value, "float64")
            f = jax.grad(f)
        assert_close(jax.jacfwd(jax.jacfwd(root))(a), expected[2], "float64")


def test_a_linear_fixed_point_is_a_linear_solve():
    matrix, b = draw(0, 5, 5) / 10, draw(1, 5)
    f = lambda params, x: {"x": params[0] @ x["x"] + params[1]}
    solve = lambda matrix, b: ops.fixed_point((matrix, b), {"x": jnp.zeros(5)}, f=f).value["x"]
    plain = lambda matrix, b: jnp.linalg.solve(jnp.eye(5) - matrix, b)
    assert_close(solve(matrix, b), plain(matrix, b), "float32")
    for mode in (jax.jacrev, jax.jacfwd):
        for got, want in zip(mode(solve, (0, 1))(matrix, b), mode(plain, (0, 1))(matrix, b), strict=True):
            assert_close(got, want, "float32")


def test_small_cotangents_are_as_accurate_as_large_ones():
    p = jnp.array([0.3, 0.5])
    pullback = jax.vjp(lambda p: ops.fixed_point(p, jnp.zeros(2), f=cosine).value, p)[1]
    (of_one,), (of_little,) = pullback(jnp.ones(2)), pullback(jnp.full(2, 1e-9))
    assert_close(of_little * 1e9, of_one, "float32")


def test_the_start_does_not_matter():
    value = lambda start: ops.fixed_point(jnp.array(0.5), start, f=cosine).value
    assert_close(value(jnp.array(0.0)), value(jnp.array(1.0)), "float32")
    assert jax.grad(value)(jnp.array(0.3)) == 0


def test_what_does_not_converge_is_reported():
    grows = lambda p, x: 2 * x + p
    result = jax.jit(lambda p: ops.fixed_point(p, jnp.ones(()), f=grows, max_steps=20))(jnp.array(1.0))
    assert not result.converged
    assert jnp.isnan(result.value)
    rests = ops.fixed_point(jnp.array(0.5), jnp.array(0.0), f=cosine)
    assert rests.converged
    too_few = ops.fixed_point(jnp.array(0.5), jnp.array(0.0), f=cosine, max_steps=3)
    assert not too_few.converged
    assert jnp.isnan(jax.grad(lambda p: ops.fixed_point(p, jnp.array(0.0), f=cosine, max_steps=3).value)(0.5))


def test_memory_does_not_grow_with_the_steps():
    def kept(transform, steps):
        f = transform(lambda p: ops.fixed_point(p, jnp.zeros(100), f=cosine, max_steps=steps).value)
        leaves = jax.tree.leaves(jax.eval_shape(lambda p: jax.vjp(f, p)[1], jnp.ones(100)))
        return sum(leaf.size for leaf in leaves)

    assert kept(lambda f: f, 10) == kept(lambda f: f, 1000) <= 200
    assert kept(automatic, 1000) > 50_000


ERRORS = {
    "fixed_point: f must return arrays like start": lambda: ops.fixed_point(
        jnp.ones(2), jnp.ones(3), f=lambda p, x: x[:2] + p
    ),
    "fixed_point: max_steps must be 1 or more, got 0": lambda: ops.fixed_point(
        jnp.ones(()), jnp.ones(()), f=cosine, max_steps=0
    ),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors(message):
    with pytest.raises((TypeError, ValueError), match=message):
        ERRORS[message]()
