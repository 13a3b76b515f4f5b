"""Gradients of parts of the parameters and of parts of a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.nn import Layer
from jaxdl.train import accumulated, frozen, grad_where
from jaxdl.train.steps import gradient
from tests.draws import draw
from tests.tolerance import assert_close

PARAMS = {"body": [draw(1, 3, 4), draw(2, 4)], "head": draw(3, 4)}
X, Y = draw(4, 8, 3), draw(5, 8)


def loss(params, x, y):
    w, b = params["body"]
    return jnp.mean((jnp.tanh(x @ w + b[None]) @ params["head"] - y) ** 2)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6 * float(jnp.abs(b).max()))


def test_of_the_parameters_that_are_asked_for():
    whole = jax.grad(loss)(PARAMS, X, Y)
    found = grad_where(loss, {"body": False, "head": True})(PARAMS, X, Y)
    close(found["head"], whole["head"])
    assert found["body"] == [None, None]
    one = jax.jit(grad_where(loss, {"body": [True, False], "head": False}))(PARAMS, X, Y)
    close(one["body"][0], whole["body"][0])
    assert one["head"] is None


def test_nothing_is_computed_for_the_others():
    products = lambda f: str(jax.make_jaxpr(f)(PARAMS, X, Y)).count("dot_general")
    assert products(grad_where(loss, {"body": False, "head": True})) < products(jax.grad(loss))


def test_frozen_parameters_have_gradient_0():
    found = jax.grad(frozen(loss, {"body": True, "head": False}))(PARAMS, X, Y)
    close(found["head"], jax.grad(loss)(PARAMS, X, Y)["head"])
    assert not any(g.any() for g in found["body"])
    assert frozen(loss, True)(PARAMS, X, Y) == loss(PARAMS, X, Y)


def test_in_parts_it_is_the_whole_batch_s_gradient_in_less_memory():
    both = jax.value_and_grad(loss)
    expected = both(PARAMS, X, Y)
    found = accumulated(both, 4)(PARAMS, X, Y)
    jax.tree.map(close, found, expected)
    wide = draw(6, 4096, 3), draw(7, 4096)
    temporary = lambda f: jax.jit(f).lower(PARAMS, *wide).compile().memory_analysis().temp_size_in_bytes
    assert temporary(accumulated(both, 16)) < temporary(both) / 4


def test_errors():
    with pytest.raises(ValueError, match="a batch of 8 cannot be cut into 3 equal parts"):
        accumulated(jax.value_and_grad(loss), 3)(PARAMS, X, Y)
    with pytest.raises(ValueError, match="the mask must be True or False for parts of the parameters"):
        grad_where(loss, {"tail": True})(PARAMS, X, Y)


def drawing(params, x, *, key=None):
    """A normal number for each example, times a parameter: the gradient is the mean of what was drawn."""
    return params * jax.random.normal(key, x.shape[:1])


def test_each_part_of_a_batch_draws_numbers_of_its_own():
    model, key = Layer(lambda key, shape: jnp.ones(()), drawing), jax.random.key(3)
    x = jnp.zeros((6, 2))
    for parts in (1, 2, 3):
        drawn = [jax.random.normal(k, (6 // parts,)) for k in (jax.random.split(key, parts) if parts > 1 else [key])]
        _, found = gradient(model, lambda y, _: y, parts)(jnp.ones(()), x, x, key)
        assert_close(found, jnp.concatenate(drawn).mean(), "float32")
