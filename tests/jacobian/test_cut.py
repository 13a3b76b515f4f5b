"""Cuts: where they are found, what they cost, and the bracketing of a chain."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import jacobian, nn
from jaxdl.jacobian.analysis import matrix_chain
from jaxdl.jacobian.analysis.matrix_chain import Product, Pull, Push, bracketing, multiplied, sweeps
from tests.draws import draw
from tests.tolerance import assert_close


def chain_of(f, *args):
    return jacobian.cut(f).plan(*args)


def test_an_autoencoder_is_cut_at_its_code(key):
    model = nn.dense_autoencoder((40,), 3, (20, 10))
    params = model.init(key, (40,))
    f = lambda x: model.apply(params, x[None])[0]
    chain = chain_of(f, draw(0, 40))
    assert chain.sweeps == 6
    assert isinstance(chain.way, Product)
    assert min(chain.sizes) == 3
    assert_close(jacobian.cut(f)(draw(0, 40)), jax.jacrev(f)(draw(0, 40)), "float32", "jacobian")


def test_a_cut_takes_every_value_that_passes():
    """A code of 3, and 2 numbers that bypass it."""
    w = [draw(i, 20, k) for i, k in enumerate((3, 2))]

    def f(x):
        code, beside = jnp.tanh(x @ w[0]), jnp.sin(x @ w[1])
        return jnp.cos(code @ w[0].T) + beside @ w[1].T

    chain = chain_of(f, draw(5, 20))
    assert min(chain.sizes) == 5
    assert chain.sweeps == 10
    assert_close(jacobian.cut(f)(draw(5, 20)), jax.jacrev(f)(draw(5, 20)), "float32", "jacobian")


def test_a_value_that_depends_on_another_in_the_cut_is_not_counted_twice():
    """Every path meets a cut once: y = s v(s) has the cut {s}, but {s, v} is no cut."""

    def f(x):
        s = jnp.tanh(x.sum())
        v = jnp.sin(x[:2] * s)
        return jnp.concatenate([v * s, x[2:] * s])

    x = draw(6, 5)
    assert_close(jacobian.cut(f)(x), jax.jacrev(f)(x), "float32", "jacobian")


def test_without_a_narrow_place_it_is_the_cheaper_sweep():
    wide, tall = (lambda x: jnp.sin(draw(7, 3, 9) @ x)), (lambda x: jnp.sin(draw(7, 9, 3) @ x))
    assert isinstance(chain_of(wide, draw(8, 9)).way, Pull)
    assert isinstance(chain_of(tall, draw(8, 3)).way, Push)


def test_integers_carry_no_derivative():
    f = lambda x: jnp.argmax(x).astype(jnp.float32) * jnp.ones(3)
    assert not jacobian.cut(f)(draw(9, 5)).any()


def test_a_sweep_is_counted_for_each_row_or_column_of_the_matrix_so_far():
    assert sweeps(Push(1, 2, Pull(0, 1)), (4, 9, 5)) == 9 + 4
    assert sweeps(Pull(0, 1, Push(1, 2)), (4, 9, 5)) == 9 + 5


def every_bracketing(sizes, work, i, j):
    """All costs of the matrix from point i to j, by the definition."""
    along = lambda a, b: sum(work[a:b])
    yield sizes[i] * along(i, j)
    yield sizes[j] * along(i, j)
    for k in range(i + 1, j):
        for left, right in itertools.product(every_bracketing(sizes, work, i, k), every_bracketing(sizes, work, k, j)):
            yield left + right + 2 * sizes[i] * sizes[k] * sizes[j]
        yield from (left + sizes[i] * along(k, j) for left in every_bracketing(sizes, work, i, k))
        yield from (right + sizes[j] * along(i, k) for right in every_bracketing(sizes, work, k, j))


@pytest.mark.parametrize("sizes", [(9, 2, 7, 3, 8), (2, 9, 9, 9, 4), (8, 3, 1, 3, 8)])
@pytest.mark.parametrize("work", [(50, 70, 20, 90), (1, 2, 1, 400), (300, 5, 5, 300)])
def test_the_bracketing_is_the_cheapest_of_all(sizes, work):
    assert bracketing(sizes, work)[0] == min(every_bracketing(sizes, work, 0, 4))


def test_products_at_few_points_of_a_long_chain_are_as_cheap(monkeypatch):
    random = np.random.default_rng(0)
    for _ in range(50):
        sizes = random.choice([1, 2, 3, 5, 8, 13, 40], 11).tolist()
        work = random.choice([1, 30, 400, 3000], 10).tolist()
        least = bracketing(sizes, work)[0]
        with monkeypatch.context() as patched:
            patched.setattr(matrix_chain, "MOST_POINTS", 9)
            assert len(matrix_chain.useful_points(sizes, work, work)) <= 11
            assert bracketing(sizes, work)[0] == least


def test_a_long_chain_with_factors_is_multiplied_once_each(monkeypatch):
    monkeypatch.setattr(matrix_chain, "MOST_POINTS", 2)
    sizes = (4, 9, 2, 9, 9, 5)
    matrices = [draw(i, b, a) for i, (a, b) in enumerate(itertools.pairwise(sizes))]

    def push(start, end, matrix):
        return functools.reduce(lambda product, factor: factor @ product, matrices[start:end], matrix)

    def pull(start, end, matrix):
        return functools.reduce(jnp.matmul, reversed(matrices[start:end]), matrix)

    way = bracketing(sizes, [5.0] * 5, factors=[100.0] * 5)[1]
    found = multiplied(way, push, pull, jnp.matmul, lambda k: matrices[k])
    assert_close(found, functools.reduce(lambda product, factor: factor @ product, matrices), "float32", "jacobian")


def test_a_deep_narrow_network_is_cut_at_few_places(monkeypatch):
    weights = [draw(i, 3, 3) for i in range(50)]
    ends = draw(50, 3, 12)

    def f(x):
        return ends.T @ functools.reduce(lambda h, w: jnp.tanh(w @ h), weights, ends @ x)

    x = draw(51, 12)
    plan = chain_of(f, x)
    assert plan.sizes == [12, 3, 3, 12]
    monkeypatch.setattr(matrix_chain, "MOST_POINTS", 1000)
    every = chain_of(f, x)
    assert len(every.sizes) > 100
    assert plan.operations == every.operations


def test_cuts_between_values_on_all_paths():
    """Two branches of 2 and 3 entries, between values that all paths pass."""

    def f(x):
        h = jnp.tanh(W @ x)
        h = jnp.concatenate([h, h, h]) * 2
        a, b = jnp.sin(h[:2]), jnp.cos(h[3:])
        return WIDE * (jnp.exp(a).sum() * b).sum()

    assert 5 in chain_of(f, WIDE).sizes
    assert_close(jacobian.cut(f)(WIDE), jax.jacrev(f)(WIDE), "float32", "jacobian")


def test_modes_that_alternate_in_a_long_chain(monkeypatch):
    monkeypatch.setattr(matrix_chain, "MOST_POINTS", 2)
    f = lambda x: W.T @ only_reverse(only_forward(W @ x)) * WIDE
    outer = jax.jacrev(lambda h: W.T @ only_reverse(h) * WIDE)(only_forward(W @ WIDE))
    assert_close(jacobian.cut(f)(WIDE), outer @ jax.jacfwd(only_forward)(W @ WIDE) @ W, "float32", "jacobian")


@jax.custom_vjp
def only_reverse(x):
    return jnp.sin(x)


only_reverse.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (dy * jnp.cos(x),))


def only_forward(x):
    return jax.lax.while_loop(lambda y: y.sum() < 9, lambda y: 2 * y + 1, x)


W = jnp.linspace(-1, 1, 40).reshape(2, 20)
WIDE = jnp.linspace(0, 1, 20)
DIRECTIONS = {
    "reverse": (lambda x: jnp.tanh(W.T @ only_reverse(W @ x)), jax.jacrev),
    "forward": (lambda x: jnp.tanh(W.T @ only_forward(W @ x)), jax.jacfwd),
    "reverse before a narrow place": (lambda x: W.T @ jnp.tanh(W @ only_reverse(x)), jax.jacrev),
    "forward after a narrow place": (lambda x: only_forward(W.T @ jnp.tanh(W @ x)), jax.jacfwd),
}


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_part_with_one_mode_is_swept_in_that_mode(name):
    f, right = DIRECTIONS[name]
    assert len(chain_of(f, WIDE).sizes) > 2
    assert_close(jacobian.cut(f)(WIDE), right(f)(WIDE), "float32", "jacobian")


def test_parts_with_different_modes_need_a_narrow_place_between_them():
    """JAX itself has neither mode for the whole function."""
    f = lambda x: W.T @ only_reverse(only_forward(W @ x))
    outer = jax.jacrev(lambda h: W.T @ only_reverse(h))(only_forward(W @ WIDE))
    assert_close(jacobian.cut(f)(WIDE), outer @ jax.jacfwd(only_forward)(W @ WIDE) @ W, "float32", "jacobian")
    with pytest.raises(ValueError, match="only forward mode and some only reverse"):
        jacobian.cut(lambda x: only_reverse(only_forward(x) + x.sum()) * x.sum())(WIDE)


def test_a_part_without_a_derivative_is_named():
    f = lambda x: jnp.ones(2).at[jnp.array([0, 0])].mul(x)
    with pytest.raises(ValueError, match=r"neither mode of a part.*Reverse: NotImplementedError: scatter_mul"):
        jacobian.cut(f)(jnp.ones(2))


def test_complex_values_inside_are_not_cut():
    f = lambda x: W[0] * jnp.abs(jnp.fft.fft(W @ jnp.sin(x))).sum()
    assert chain_of(f, WIDE).sizes == [20, 2, 2, 1, 20]  # before the transform, and the moduli
    assert_close(jacobian.cut(f)(WIDE), jax.jacrev(f)(WIDE), "float32", "jacobian")


def test_narrow_places_of_another_dtype():
    f = lambda x: (W.T.astype(jnp.bfloat16) @ jnp.tanh(W @ x).astype(jnp.bfloat16)).astype(jnp.float32)
    assert len(chain_of(f, WIDE).sizes) > 2
    assert jnp.allclose(jacobian.cut(f)(WIDE), jax.jacrev(f)(WIDE), atol=0.05)


def test_sweeps_through_places_of_a_wider_dtype():
    """A sum of 16-bit numbers in 32 bits: the matrix so far has 16."""
    half = jnp.bfloat16
    f = lambda x, z: (lambda u: (u, u, z.astype(jnp.float32).sum().astype(half)))(2 * x)
    x, z = WIDE[:6].astype(half), jnp.ones((1, 4), half)
    got, want = jacobian.cut(f, (0, 1))(x, z), jax.jacrev(f, (0, 1))(x, z)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert a.dtype == b.dtype
        assert jnp.allclose(a.astype(jnp.float32), b.astype(jnp.float32), atol=0.05)
