"""Costs of nodes: operations forward and backward, and the bytes kept in between."""

import jax
import jax.numpy as jnp
import pytest

from jaxdl import automatic, ops, trace
from jaxdl.measure import Differentiated
from tests.draws import draw

X = draw(1, 8, 4)


def cost_of(f, *args):
    graph = trace(f)(*args)
    return graph.costs().nodes[graph.nodes[-1]]


@pytest.mark.parametrize(
    ("f", "kept", "own"),
    [
        (lambda x, y: x + y, (0, 0), 0),
        (lambda x, y: x * y, (128, 128), 0),
        (lambda x, y: x @ y.T, (128, 128), 0),
        (lambda x: jnp.sin(x), (0,), 128),  # cos x
        (lambda x: ops.relu(x), None, None),
    ],
    ids=["sum", "product", "matrix product", "sine", "relu"],
)
def test_what_is_kept(f, kept, own):
    count = f.__code__.co_argcount
    cost = cost_of(f, *[X, X + 1][:count])
    if kept is None:  # a rule: its residuals, as contrast counts them
        assert sum(cost.kept) + sum(cost.results) + cost.own == Differentiated(f, (X,)).stored_bytes()[0]
    else:
        assert (cost.kept[:count], cost.own) == (kept if count == len(cost.kept) else kept[-1:], own)


def test_operations():
    assert cost_of(lambda x: x.sum(), X).forward == X.size
    cost = cost_of(lambda x, w: x @ w, X, draw(2, 4, 5))
    assert cost.forward == 2 * 8 * 4 * 5
    assert cost.backward == 2 * cost.forward


def test_the_backward_pass_of_a_sine_computes_its_cosine():
    assert cost_of(jnp.sin, X).backward == 2 * X.size  # and a product


def test_no_gradient_is_computed_for_constant_data():
    data, w = draw(2, 8, 4), draw(3, 4, 5)
    cost = cost_of(lambda w: ops.matmul(data, w), w)
    assert cost.backward == cost.forward == 2 * 8 * 4 * 5
    assert cost_of(ops.matmul, data, w).backward == 2 * cost.forward


def test_operations_of_loops_and_branches():
    one = lambda x: jnp.tanh(x) + 1
    two = lambda x: one(one(x))
    assert cost_of(lambda x: jax.lax.fori_loop(0, 5, lambda i, x: one(x), x), X).forward >= 5 * 2 * X.size
    assert cost_of(lambda x: jax.lax.scan(lambda c, _: (one(c), None), x, length=5)[0], X).forward == 5 * 2 * X.size
    assert cost_of(lambda x, n: jax.lax.switch(n, [one, two], x), X, jnp.int32(0)).forward == 2 * 2 * X.size
    loop = cost_of(lambda x: jax.lax.while_loop(lambda x: x.sum() < 9, one, x), X)
    assert loop.forward == 2 * X.size + X.size + 1  # of one step, and of one test


def network(params, x):
    for w in params:
        x = jnp.tanh(x @ w)
    return (x * x).sum()


def test_a_network_costs_what_contrast_counts():
    params = [draw(i, 4, 4) for i in range(3)]
    for f in (network, automatic(network)):
        found = trace(f)(params, X).costs()
        flat = lambda *arrays, f=f: f(arrays[:-1], arrays[-1])
        assert found.kept_bytes == Differentiated(flat, (*params, X)).stored_bytes()[0]
        assert 1.5 < found.backward / found.forward < 3
    assert "kept from forward to backward" in found.table().note


def test_a_loop_of_unknown_length_has_no_backward_cost():
    cost = cost_of(lambda x: jax.lax.while_loop(lambda x: x < 9.0, lambda x: x * 2, x), jnp.float32(1))
    assert cost.backward is None


def test_types_alone_suffice():
    graph = trace(network)(
        [jax.ShapeDtypeStruct((512, 512), jnp.float32)], jax.ShapeDtypeStruct((64, 512), jnp.float32)
    )
    assert graph.costs().forward > 2 * 64 * 512 * 512


def test_an_output_that_only_its_own_pullback_needs_is_kept():
    assert trace(lambda x: jnp.exp(x).sum())(X).costs().kept_bytes == X.nbytes


@pytest.mark.parametrize(
    "settings",
    [
        {"padding": "VALID"},
        {"padding": "SAME"},
        {"padding": ((3, 0), (1, 2)), "stride": 3},
        {"padding": ((2, 0), (0, 3)), "stride": 2},
        {"padding": "SAME", "dilation": 2, "groups": 2},
    ],
    ids=str,
)
def test_only_products_with_pixels_count_in_a_convolution(settings):
    """As the compiler counts; the derivatives by the image and by the kernel have as many products each."""
    x, w = draw(1, 2, 9, 8, 4), draw(2, 3, 2, 4 // settings.get("groups", 1), 6)
    f = automatic(lambda x, w: ops.conv2d(x, w, **settings))
    cost = cost_of(f, x, w)
    assert cost.forward == jax.jit(f).lower(x, w).cost_analysis()["flops"]
    assert cost.backward == 2 * cost.forward


def test_equal_operations_on_a_number_and_on_an_array():
    graph = trace(lambda n, x: n.astype(jnp.float32) * (3.0 * x))(jnp.int32(2), jnp.float32(0.1))
    costs = graph.costs()
    three, product = list(costs.nodes.values())[1:]
    assert costs.table().rows[1][4] == "–, –"  # a number in the program is not kept
    assert (three.kept, product.kept) == ((0,), (4, 0))
    assert costs.kept_bytes == 4


def test_costs_of_rules_with_the_same_name():
    """Two calls of an op are equal only if their settings are."""
    x, w = draw(1, 1, 8, 8, 1), draw(2, 3, 3, 1, 1)
    graph = trace(lambda x, w: (ops.conv2d(x, w), ops.conv2d(x, w, stride=4)))(x, w)
    dense, sparse = graph.costs().nodes.values()
    assert dense.forward > 8 * sparse.forward


def test_results_that_are_numbers():
    constant = jax.custom_jvp(lambda x: 2.0)
    constant.defjvp(lambda x, x_dot: (2.0, 0.0 * x_dot[0].sum()))
    costs = trace(lambda x: (constant(x), jax.lax.cond(x.sum() > 0, lambda x: 1.0, lambda x: 2.0, x)))(X).costs()
    assert costs.kept_bytes == 0
    assert costs.table().rows


def test_constant_operations_keep_nothing():
    stopped = trace(lambda x: jnp.sin(jax.lax.stop_gradient(x)) * x)(X).costs()
    assert [c.own for c in stopped.nodes.values()] == [0, 0, 0]


def test_random_keys_have_a_size_in_bytes(key):
    f = lambda x, key: ops.dropout(x, key, rate=0.5)
    assert trace(f)(X, key).costs().table().rows
