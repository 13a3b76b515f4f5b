"""Attention: every kind of mask, in tiles of every size, with memory that is linear in the length."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import automatic, ops
from jaxdl.ops import attention_blocks
from jaxdl.ops.tiled_attention import _Tiles
from tests.draws import draw
from tests.platforms import as_on
from tests.tolerance import assert_close


def arguments(mask, queries=7):
    """Two examples, four heads sharing two, some queries, nine keys; the values are wider than the keys."""
    n, h, g, d, e, m = 2, 4, 2, 6, 3, 9
    masks = {
        "none": (),
        "booleans": (draw(3, n, 1, queries, m) > 0,),
        "booleans of two axes": (draw(3, queries, m) > -0.5,),
        "numbers": (draw(3, n, h, queries, m),),
        "numbers of each head": (draw(3, h, 1, m),),
        "numbers of each query": (draw(3, 1, 1, queries, 1),),
    }
    return draw(0, n, queries, h, d), draw(1, n, m, g, d), draw(2, n, m, g, e), *masks[mask]


@pytest.fixture(params=["at once", "in tiles", "in blocks"])
def form(request, monkeypatch):
    """All forms on short sequences; the last is that for accelerators, in blocks of three queries."""
    jax.clear_caches()
    monkeypatch.setattr(sys.modules["jaxdl.ops.tiled_attention"], "SHORT", 4096 if request.param == "at once" else 0)
    monkeypatch.setattr(attention_blocks, "BLOCK", 1)
    monkeypatch.setattr(attention_blocks, "FEWEST", 3)
    monkeypatch.setattr(attention_blocks, "MOST_STRETCHES", 2)  # of six and two queries
    yield lambda f: as_on("cuda" if request.param == "in blocks" else "cpu", f)
    jax.clear_caches()


MASKS = ["none", "booleans", "booleans of two axes", "numbers", "numbers of each head", "numbers of each query"]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_agrees_with_the_plain_definition(mask, causal, form, monkeypatch):
    """Eight queries, in tiles of three."""
    original = _Tiles.__init__

    def in_small_tiles(self, q, k, causal):
        original(self, q, k, causal)
        self.rows, self.of_head = 3, 3

    monkeypatch.setattr(_Tiles, "__init__", in_small_tiles)
    args = arguments(mask, queries=8)
    smooth = [i for i, a in enumerate(args) if a.dtype != bool]

    def f(*x):
        full = list(args)
        for i, a in zip(smooth, x, strict=True):
            full[i] = a
        return ops.attention(*full, causal=causal)

    dy = draw(4, 2, 8, 4, 3)
    both = lambda f: form(lambda *x: (lambda y, back: (y, *back(dy)))(*jax.vjp(f, *x)))(*(args[i] for i in smooth))
    for got, want in zip(both(f), both(automatic(f)), strict=True):
        assert_close(got, want, "float32")


def test_equals_jaxs_own_attention(form):
    q, k, v = arguments("none")[:3]
    v = v[..., [0, 1, 2, 0, 1, 2]]
    bias = draw(5, 2, 4, 7, 9)
    for causal in (False, True):
        want = jax.nn.dot_product_attention(q, k, v, bias, is_causal=causal)
        got = form(lambda *args, causal=causal: ops.attention(*args, causal=causal))(q, k, v, bias)
        assert_close(got, want, "float32")


@pytest.mark.parametrize("forbidden", [False, -jnp.inf], ids=["booleans", "numbers"])
def test_a_query_that_may_see_nothing_gets_zeros(forbidden, form):
    q, k, v = arguments("none")
    allowed = jnp.full((7, 9), True if forbidden is False else 0.0)
    mask = allowed.at[2].set(forbidden)
    f = lambda q, k, v: ops.attention(q, k, v, mask)
    y, cotangents = form(lambda *x: (lambda y, back: (y, back(jnp.ones_like(y))))(*jax.vjp(f, *x)))(q, k, v)
    assert (y[:, 2] == 0).all()
    assert (y[:, 3] != 0).all()
    assert (cotangents[0][:, 2] == 0).all()
    assert all(jnp.isfinite(c).all() for c in cotangents)


@pytest.mark.parametrize("sizes", [(1.0, 1.0, 1.0), (1e4, 1.0, 1.0), (1e3, 1e3, 1e3)], ids=str)
def test_as_close_to_float64_as_the_automatic_derivative(sizes, form):
    """Also where scores are large: logsumexp alone would round them away, and Σ ō o leave its rounding in q̄ = 0."""
    q, k, v = (size * draw(i, 1, 64, 2, 8) for i, size in enumerate(sizes))
    dy = draw(3, 1, 64, 2, 8)
    run = lambda f, *x: form(lambda *x: jax.vjp(f, *x)[1](dy.astype(x[0].dtype)))(*x)
    with jax.enable_x64(True):
        truth = map(np.asarray, run(automatic(ops.attention), *(a.astype(jnp.float64) for a in (q, k, v))))
    for hand, plain, true in zip(
        run(ops.attention, q, k, v), run(automatic(ops.attention), q, k, v), truth, strict=True
    ):
        error = lambda a, true=true: float(np.abs(np.asarray(a, np.float64) - true).max())
        assert error(hand) <= 2 * error(plain) + 1e-6 * float(np.abs(true).max())


def test_memory_is_linear_in_the_length():
    def temporary(length):
        q = jax.ShapeDtypeStruct((1, length, 2, 8), jnp.float32)
        step = lambda q, k, v: jax.vjp(ops.attention, q, k, v)[1](q)
        return jax.jit(step).lower(q, q, q).compile().memory_analysis().temp_size_in_bytes

    def kept(length):
        q = jax.ShapeDtypeStruct((1, length, 2, 8), jnp.float32)
        leaves = jax.tree.leaves(jax.eval_shape(lambda q: jax.vjp(lambda q: ops.attention(q, q, q), q)[1], q))
        return sum(leaf.size * 4 for leaf in leaves)

    assert kept(4096) == 2 * kept(2048)
    # The plain definition takes twice 134 MB at 4096: all scores and all weights of two heads.
    assert temporary(4096) < 15e6


def test_mapped_keys_alone_at_a_length_where_xla_fuses():
    """A sum beside a product of larger matrices under vmap, which XLA for CPUs once gave the sum of another example."""
    q, k, v, do = (draw(seed, 1, 192, 1, 64) for seed in range(4))
    keys = jnp.stack([k, 0.5 * k])
    pulled = lambda k: jax.vjp(ops.attention, q, k, v)[1](do)
    for together, *alone in zip(jax.jit(jax.vmap(pulled))(keys), *map(jax.jit(pulled), keys), strict=True):
        assert_close(together, jnp.stack(alone), "float32", "two orders of summation")
