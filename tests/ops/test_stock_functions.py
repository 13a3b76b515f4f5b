"""The functions of other libraries that stand for ops compute the same values."""

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import ops, stock
from jaxdl.ops.op_cases import cases, edges, normal
from tests.tolerance import assert_close

CASES = [case for case in cases() if case.op.stock_function]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_are_those_of_the_op(case, dtype):
    with jax.enable_x64(dtype == "float64"):
        args = case.make(1, jnp.dtype(dtype))
        both = lambda *args: (
            stock(lambda *args: case.op(*args, **case.settings))(*args),
            case.op.primal(*args, **case.settings),
        )
        got, want = jax.jit(both)(*args)
        assert jax.tree.structure(got) == jax.tree.structure(want)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            assert a.dtype == b.dtype
            assert_close(a, b, dtype)


BIAS = jnp.array([[0, -jnp.inf, 1, 2], [-jnp.inf] * 4, [-jnp.inf, 0, 0, 0]])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [None, BIAS, BIAS[1:2, :1], BIAS == 0, (BIAS == 0)[None, None, 2]])
def test_attention_with_masks(mask, causal):
    """A query that attends to no key gets 0, and no gradient is NaN; two heads of queries share one of keys."""
    q, k, v = normal((1, 3, 2, 2), (1, 4, 1, 2), (1, 4, 1, 2))(1, jnp.float32)
    attend = lambda f: lambda q, k, v: f(lambda q, k, v: ops.attention(q, k, v, mask, causal=causal))(q, k, v)
    for transformed in (lambda f: f, lambda f: jax.grad(lambda q, k, v: (f(q, k, v) ** 2).sum(), (0, 1, 2))):
        got, want = (jax.jit(transformed(attend(f)))(q, k, v) for f in (stock, lambda f: f))
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            assert_close(a, b, "float32")


@pytest.mark.parametrize("edge", [e for e in edges() if e.op.stock_function], ids=str)
def test_values_at_edges(edge):
    got = stock(lambda *args: edge.op(*args, **edge.settings))(*edge.args)
    np.testing.assert_allclose(got, edge.op(*edge.args, **edge.settings), rtol=1e-5, atol=1e-7)


def test_labels_and_indices_outside_give_nan():
    table, outside = jnp.ones((3, 2)), jnp.array([-1, 0, 3], jnp.int8)
    assert jnp.isnan(stock(ops.embedding)(table, outside)).all(1).tolist() == [True, False, True]
    loss = stock(ops.softmax_cross_entropy_with_integer_labels)
    assert jnp.isnan(loss(jnp.ones((3, 3)), outside)).tolist() == [True, False, True]
    assert jnp.isnan(stock(ops.logistic_loss)(jnp.ones(3), outside)).tolist() == [True, False, True]


@pytest.mark.parametrize("op", [ops.sigmoid, ops.silu, ops.quick_gelu, ops.gelu, ops.relu], ids=lambda op: op.__name__)
def test_integers(op):
    with jax.numpy_dtype_promotion("standard"):
        got, want = stock(op)(jnp.arange(3)), op.primal(jnp.arange(3))
    assert got.dtype == want.dtype
    assert_close(got, want, "float32")


def test_they_are_what_the_libraries_compute():
    """Also in derivatives: the column of a comparison says what those libraries cost."""
    x, labels = jnp.linspace(-2, 3, 12).reshape(3, 4), jnp.array([0, 3, 1])
    scale, bias = jnp.linspace(0.5, 1, 4), jnp.linspace(-1, 1, 4)
    params = {"params": {"scale": scale, "bias": bias}}
    of_scale = {"params": {"scale": scale}}
    attending = x.reshape(1, 3, 2, 2)
    pairs = {
        "layer_norm": (lambda x: ops.layer_norm(x, scale, bias), lambda x: linen.LayerNorm().apply(params, x)),
        "rms_norm": (lambda x: ops.rms_norm(x, scale), lambda x: linen.RMSNorm().apply(of_scale, x)),
        "attention": (
            lambda x: ops.attention(*[x.reshape(attending.shape)] * 3, causal=True),
            lambda x: jax.nn.dot_product_attention(*[x.reshape(attending.shape)] * 3, is_causal=True),
        ),
        "cross entropy": (
            lambda x: ops.softmax_cross_entropy_with_integer_labels(x, labels),
            lambda x: optax.softmax_cross_entropy_with_integer_labels(x, labels),
        ),
        "distributions": (
            lambda x: ops.softmax_cross_entropy(x, jax.nn.one_hot(labels, 4)),
            lambda x: optax.safe_softmax_cross_entropy(x, jax.nn.one_hot(labels, 4)),
        ),
        "logistic": (
            lambda x: ops.logistic_loss(x[:, 0], labels // 2),
            lambda x: optax.sigmoid_binary_cross_entropy(x[:, 0], labels // 2),
        ),
    }
    for name, (ours, theirs) in pairs.items():
        gradients = [jax.grad(lambda x, f=f: f(x).sum()) for f in (stock(ours), theirs)]
        flops = [jax.jit(g).lower(x).compile().cost_analysis()["flops"] for g in gradients]
        assert flops[0] <= 1.2 * flops[1], name
        assert_close(gradients[0](x), gradients[1](x), "float32", name)
