"""`rules(f)` lists rules everywhere; observed rules have the values of the run."""

import jax
import jax.numpy as jnp
import pytest

from jaxdl import ops, rules
from jaxdl.strip import observe
from tests.strip.liars import CONTEXTS, LIARS, X, in_other_rule
from tests.tolerance import assert_close


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("kind", LIARS)
def test_rules_are_listed_everywhere(kind, context):
    found = rules(CONTEXTS[context](LIARS[kind]), jax.ShapeDtypeStruct(X.shape, X.dtype))
    assert kind in {site.kind for site in found}
    assert all(site.where.startswith(__file__) or "liars.py" in site.where for site in found)


def test_sites_say_where_how_often_and_what():
    def f(x):
        y, _ = jax.lax.scan(lambda c, _: (ops.tanh(c), None), x, None, 5)
        return ops.tanh(y)

    inside, outside = rules(f, jax.ShapeDtypeStruct((3,), jnp.float32))
    assert (inside.name, inside.kind, inside.count) == ("tanh", "op", 5)
    assert outside.count == 1
    assert inside.inputs == outside.outputs == (jax.ShapeDtypeStruct((3,), jnp.float32),)
    assert "test_sites.py" in inside.where
    assert inside.where != outside.where
    assert "tanh (op) ×5" in str(inside)


def test_rules_within_rules_say_so():
    found = rules(in_other_rule(LIARS["op"]), X)
    assert [(site.name, site.within) for site in found] == [("outer", ()), ("liar", ("outer",))]


def test_observed_inputs_say_what_moves():
    stop = jax.lax.stop_gradient
    f = lambda x: jax.lax.scan(lambda c, a: (ops.multiply(stop(a), c), None), x[0], x)[0] * ops.tanh(stop(x[1]))
    assert [(seen.site.name, seen.moving) for seen in observe(f, X)] == [("multiply", (1,)), ("tanh", ())]


def test_a_jitted_function_is_observed_at_each_line_that_calls_it():
    def f(x):
        y = jax.nn.log_sigmoid(x)
        return y + jax.nn.log_sigmoid(-x)

    assert [seen.site for seen in observe(f, X)] == rules(f, X)
    assert len(rules(f, X)) == 2


def test_observed_values_are_those_of_the_run():
    def f(x, key):
        y, _ = jax.lax.scan(lambda c, _: (ops.square(c), None), x, None, 3)
        return ops.dropout(jax.nn.relu(y), key, rate=0.5)

    key = jax.random.key(3)
    square, relu, dropout = observe(jax.jit(f), X, key)
    assert_close(square.inputs[0], X, "float32")
    assert square.site.count == 3
    assert_close(relu.inputs[0], X**8, "float32")
    assert relu.site.kind == "custom_jvp"
    assert (jax.random.key_data(dropout.inputs[1]) == jax.random.key_data(key)).all()
    for seen in (square, relu, dropout):
        assert_close(seen.hand(*seen.inputs)[0], seen.automatic(*seen.inputs)[0], "float32", seen.site.name)
