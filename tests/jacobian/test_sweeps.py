"""Chunks and limits of memory: the same matrix, within the limit."""

import jax
import jax.numpy as jnp
import pytest

from jaxdl import jacobian
from tests.draws import draw
from tests.tolerance import assert_close

A = draw(0, 300, 300) / 17


def f(x):
    return jnp.tanh(A @ jnp.sin(A @ x))


def temporary(g, x):
    return jax.jit(g).lower(x).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize("method", [jacobian.reverse, jacobian.forward])
@pytest.mark.parametrize("budget", [20_000, 100_000, 1_000_000])
def test_the_limit_is_kept_and_used(method, budget):
    x = draw(1, 300)
    within = method(f, max_bytes=budget)
    assert temporary(within, x) <= budget
    assert temporary(within, x) > budget / 2 or temporary(method(f), x) <= budget
    assert_close(within(x), jax.jacrev(f)(x), "float32", "jacobian")


@pytest.mark.parametrize("method", [jacobian.reverse, jacobian.forward])
def test_a_limit_too_small_for_one_sweep(method):
    with pytest.raises(ValueError, match=r"takes [\d,]+ bytes of temporary memory, max_bytes is 100"):
        method(f, max_bytes=100)(draw(1, 300))


@pytest.mark.parametrize("options", [{"chunk": 0}, {"chunk": 1.5}, {"chunk": 2, "max_bytes": 1000}])
def test_invalid_chunks(options):
    with pytest.raises(ValueError, match=r"jacobian\.reverse: "):
        jacobian.reverse(f, **options)(draw(1, 300))


def test_chunked_jacobians_can_be_differentiated():
    x = draw(2, 6)
    g = lambda x: jnp.sin(A[:4, :6] @ x)
    for method in (jacobian.reverse, jacobian.forward):
        second = jax.jacrev(method(g, chunk=3))(x)
        assert_close(second, jax.jacrev(jax.jacrev(g))(x), "float32", "second derivative")


def test_holomorphic_functions():
    z = draw(3, 4).astype(jnp.complex64) * (1 + 0.5j)
    for method in (jacobian.reverse, jacobian.forward):
        assert_close(method(jnp.exp, holomorphic=True)(z), jnp.diag(jnp.exp(z)), "complex64", "jacobian")


def test_numbers_of_several_types():
    """Blocks have the dtypes of the inputs, as in jax.jacrev."""
    p = {"half": draw(5, 3).astype(jnp.bfloat16), "single": draw(6, 3)}
    g = lambda p: p["half"].astype(jnp.float32) * p["single"]
    want = {"half": jnp.diag(p["single"]).astype(jnp.bfloat16), "single": jnp.diag(p["half"]).astype(jnp.float32)}
    for method in (jacobian.reverse, jacobian.forward):
        got = method(g)(p)
        for key in p:
            assert got[key].dtype == want[key].dtype
            assert_close(got[key], want[key], "bfloat16", "jacobian")


def test_a_limit_with_other_arguments():
    """Closed-over arrays and arguments that are not differentiated are not mixed up."""
    g, x, y = (lambda x, y: jnp.sin(A[:4, :6] @ x) * y.sum()), draw(7, 6), draw(8, 3)
    want = jnp.cos(A[:4, :6] @ x)[:, None] * A[:4, :6] * y.sum()
    assert_close(jacobian.reverse(g, max_bytes=10_000)(x, y), want, "float32", "jacobian")
