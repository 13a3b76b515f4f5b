"""`stock(f)` puts functions of other libraries in place of ops, everywhere in f."""

import jax
import jax.numpy as jnp
import pytest

import jaxdl
from jaxdl import ops, rules, saving, stock
from tests.strip.liars import CONTEXTS, LIARS, X
from tests.tolerance import assert_close


@jaxdl.op
def shifted(x):
    return jnp.sin(x)


@shifted.rule
def shifted_rule(x):
    return jnp.sin(x), saving(lambda x, dy: (100 * dy,), x)


@shifted.stock
def shifted_stock(x):
    return jnp.cos(x - jnp.pi / 2)


@pytest.mark.parametrize("context", [c for c in CONTEXTS if c != "another rule"])
def test_ops_are_replaced_everywhere(context):
    f = stock(CONTEXTS[context](shifted))
    assert_close(f(X), jnp.sin(X), "float32", "value")
    assert_close(jax.jit(jax.grad(lambda x: f(x).sum()))(X), jnp.cos(X), "float32", "gradient")
    assert "cos" in str(jax.make_jaxpr(f)(X))
    assert rules(f, X) == []


def test_rules_of_other_libraries_stay():
    f = lambda x: LIARS["custom_jvp"](jax.nn.relu(shifted(x)))
    assert [site.name for site in rules(stock(f), X)] == ["relu", "lying_jvp"]
    within = stock(CONTEXTS["another rule"](shifted))
    assert [site.kind for site in rules(within, X)] == ["custom_jvp"]
    assert "cos" in str(jax.make_jaxpr(within)(X))


def test_only_and_keep():
    f = lambda x: ops.relu(shifted(x))
    kinds = lambda **choice: [site.kind for site in rules(stock(f, **choice), X)]
    assert kinds() == ["custom_jvp"]
    assert kinds(keep="shifted") == ["op", "custom_jvp"]
    assert kinds(only="shifted") == ["op"]


def test_ops_inside_a_definition_are_replaced():
    """`reversible` has no stock function; its blocks have ops."""
    branch = lambda p, x: ops.relu(p * x)
    f = lambda x, p: sum(ops.reversible(x, x, p, p, f=branch, g=branch))
    p = jnp.ones((3, 2))
    assert {site.kind for site in rules(stock(f), X, p)} == {"custom_jvp"}
    assert_close(stock(f)(X, p), f(X, p), "float32")


def test_settings_that_close_over_arrays():
    weights = jnp.array([1.0, 3.0])
    f = lambda z: ops.logistic_loss(z, jnp.array([0, 1]), reduce=lambda losses: (z * weights * losses).sum())
    assert_close(stock(f)(X), f(X), "float32")
    assert_close(jax.grad(stock(f))(X), jax.grad(f)(X), "float32")


def test_a_stock_function_must_return_what_the_op_returns():
    @jaxdl.op
    def doubled(x):
        return 2 * x

    doubled.rule(lambda x: (2 * x, saving(lambda dy: (2 * dy,))))
    doubled.stock(lambda x: (2 * x).sum())
    with pytest.raises(TypeError, match=r"doubled: the stock function returns float32\[\], the primal float32\[2\]"):
        stock(doubled)(X)
