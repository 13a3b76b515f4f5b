"""The source takes the function's own arguments and returns its result."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.graph import source
from tests.graph.written_source import ROWS, W, assert_same, executed, rule_of


class Layer(NamedTuple):
    w: jax.Array
    b: jax.Array


@jax.tree_util.register_pytree_node_class
class Scale:
    """A container without a form in Python."""

    def __init__(self, s):
        self.s = s

    def tree_flatten(self):
        return (self.s,), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


OWN = {
    "a dict": (lambda p, x: jnp.tanh(x @ p["w"] + p["b"][None]).sum(), {"w": W, "b": W[0]}, ROWS),
    "nested": (lambda p: [p[0]["a"] * p[1][0], {"y": (p[1][1],)}], [{"a": W}, (W + 1, W[0])]),
    "a named tuple": (lambda p, x: x @ p.w + p.b[None], Layer(W, W[0]), ROWS),
    "a container of one's own": (lambda p, x: x * p.s, Scale(W[0, 0]), ROWS),
    "None": (lambda x, mask, y: (x * y, None), W, None, W),
    "integers among them": (lambda p, x: x * p["n"].astype(x.dtype)[0], {"n": jnp.arange(2), "s": W}, ROWS),
    "a result of one": (lambda x: {"y": jnp.sin(x)}, W),
    "integers in the result": (lambda x: {"k": x.argmax(), "y": (x * x, [x.sum()])}, W),
    "many": (lambda *xs: sum(xs), W, W + 1),
    "names that are taken": (lambda u1, u1_tree, lax, dy: u1[0] * u1_tree + lax * dy, (W,), W, W + 1, W + 2),
    "a leaf's name that is taken": (lambda p, p_0: p[0] * p_0, (W,), W + 1),
}


@pytest.mark.parametrize("name", OWN)
def test_arguments_and_result_are_those_of_f(name):
    f, *args = OWN[name]
    assert_same(f, *args)
    text = source(f, *args)
    y, pullback = rule_of(text)(*args)
    expected, its = jax.vjp(f, *args)
    assert jax.tree.structure(y) == jax.tree.structure(expected)
    one = lambda y: jnp.ones_like(y) if jnp.issubdtype(y.dtype, jnp.inexact) else np.zeros(y.shape, jax.dtypes.float0)
    dy = jax.tree.map(one, expected)
    for ours, theirs in zip(pullback(dy), its(dy), strict=True):
        pairs = zip(*(jax.tree.leaves(c, is_leaf=lambda x: x is None) for c in (ours, theirs)), strict=True)
        for a, b in pairs:
            if a is None:
                assert b is None or b.dtype == jax.dtypes.float0
            else:
                np.testing.assert_allclose(a, b, rtol=1e-5)


def test_other_containers_of_results_are_named():
    text = source(lambda x: Scale(x * x), W)
    assert "returns the arrays of a Scale as a tuple" in text
    np.testing.assert_allclose(executed(text)(W)[0], W * W)


def test_arrays_by_keyword():
    f = lambda x, *, w, b: x @ w + b[None]
    written = executed(source(f, ROWS, w=W, b=W[0]))
    np.testing.assert_allclose(written(ROWS, w=W, b=W[0]), f(ROWS, w=W, b=W[0]), rtol=1e-6)
    slope = lambda f: jax.grad(lambda w: f(ROWS, b=W[0], w=w).sum())(W)
    np.testing.assert_allclose(slope(written), slope(f), rtol=1e-5)


def test_numbers():
    f = lambda x, n, s: x**n * s
    text = source(f, W, 2, 0.5)
    written = executed(text)
    for n, s in ((2, 0.5), (3, -1.5)):  # arguments like any others
        np.testing.assert_allclose(written(W, n, s), f(W, n, s), rtol=1e-5)
        assert jax.grad(lambda s, n=n: written(W, n, s).sum())(s) == pytest.approx(float((W**n).sum()), rel=1e-5)
    y, pullback = rule_of(text)(W, 2, 0.5)
    np.testing.assert_allclose(pullback(y)[0], W * y, rtol=1e-5)


def test_a_constant_that_f_needs_is_a_setting():
    f = lambda x, axis, how, activation: activation(x.sum(axis) if how == "sum" else x)
    text = source(f, W, 1, "sum", jnp.tanh)
    written = executed(text)
    np.testing.assert_allclose(written(W), jnp.tanh(W.sum(1)), rtol=1e-6)
    np.testing.assert_allclose(written(W, axis=1, how="sum"), jnp.tanh(W.sum(1)), rtol=1e-6)
    for other in ({"axis": 0}, {"how": "max"}):
        with pytest.raises(ValueError, match=r"(axis|how) must be"):
            written(W, **other)
    assert "fixed: activation: tanh" in text
    with pytest.raises(TypeError):
        written(W, activation=jnp.sin)


def test_a_fixed_part_is_documented():
    text = source(lambda p, x: x * p["w"] if p["on"] else x, {"w": W[0, 0], "on": True, "s": 'a"""\\'}, ROWS)
    assert "fixed: p: True" in text
    y, pullback = rule_of(text)({"w": W[0, 0], "on": True, "s": ""}, ROWS)
    assert pullback(y)[0]["w"] == pytest.approx(float((ROWS * y).sum()), rel=1e-5)


def test_none_is_not_an_array():
    written = executed(source(lambda x, mask: x * x, W, None))
    with pytest.raises(ValueError, match="mask must not contain arrays"):
        written(W, W)


def test_keys_inside():
    f = lambda x, key: x * jax.random.uniform(jax.random.fold_in(key, 3), x.shape)
    seven = jax.random.key(7)
    assert_same(lambda x: f(x, jax.random.key(7)), W)
    assert_same(lambda x: f(x, seven), W)  # held as a constant
    assert_same(lambda x: x * jax.random.normal(jax.random.PRNGKey(3), x.shape), W)
