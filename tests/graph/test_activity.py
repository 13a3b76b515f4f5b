"""No cotangent flows to values that do not reach the result: zeros stay symbolic, as in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.graph import trace
from tests.symbolic_rule import product_of_fixed

TWO = jnp.array([0.0, 2.0])


def adjoint(f, *args):
    graph = trace(f)(*args)
    return graph.backward(jnp.ones(graph.flat_outputs[0].type.shape)).flat_arguments[0].node.adjoint


@jax.custom_vjp
def ignoring(x, y):
    return x * jax.lax.stop_gradient(y)


ignoring.defvjp(lambda x, y: (x * y, y), lambda y, dy: (dy * y, None))


@jax.custom_vjp
def never(x):
    return jnp.sin(x)


def _fail(*_):
    raise AssertionError("called")


never.defvjp(lambda x: (jnp.sin(x), None), _fail)
# Each computes a value with an infinite slope at 0 that does not reach the result, so that JAX's gradient is finite.
WITH_UNUSED_VALUES = {
    "scan": lambda x: jax.lax.scan(lambda s, _: ((s[0] * 3, s[1] - 1), None), (x, jnp.log(x)), length=3)[0][0],
    "fori": lambda x: jax.lax.fori_loop(0, 3, lambda _, s: (s[0] * 3, s[1] - 1), (x, jnp.log(x)))[0],
    "rows": lambda x: jax.lax.scan(lambda c, r: (c + r[0], r[1]), 0.0, (x, jnp.log(x)))[0] * x,
    "cond": lambda x: jax.lax.cond(x.sum() > 0, lambda x, y: (x * 2, y), lambda x, y: (x, y), x, jnp.log(x))[0],
    "checkpoint": lambda x: jax.checkpoint(lambda x, y: (x * 2, y * y))(x, jnp.log(x))[0],
    "rule without it": lambda x: ignoring(x, jnp.sqrt(x)),
    "stop_gradient": lambda x: x * jax.lax.stop_gradient(jnp.sqrt(x)),
    "through integers": lambda x: x + jnp.exp(jnp.sqrt(x).astype(int).astype(x.dtype)),
    "while": lambda x: jax.lax.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1]), (0, jnp.sqrt(x)))[0] * x,
    "a rule that is not needed": lambda x: jax.lax.cond(True, lambda x, y: (x, y), lambda x, y: (x, y), x, never(x))[0],
    "unused": lambda x: (never(x), x * x)[1],
}


@pytest.mark.parametrize("name", WITH_UNUSED_VALUES)
def test_unused_values_get_no_cotangent(name):
    f = WITH_UNUSED_VALUES[name]
    g = (lambda x: f(x.astype(x.dtype))) if name != "while" else lambda x: f(x).astype(x.dtype)
    expected = jax.grad(lambda x: g(x).sum())(TWO)
    assert jnp.isfinite(expected).all()
    np.testing.assert_allclose(adjoint(g, TWO), expected, rtol=1e-6)
    graph = trace(g)(TWO)
    found = graph.grad(graph.flat_outputs[0], graph.flat_arguments[0], jnp.ones(2))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_rule_gets_symbolic_zeros():
    stopped = jax.lax.stop_gradient
    f = lambda x: product_of_fixed(stopped(x) + 1, x)
    np.testing.assert_allclose(adjoint(f, TWO), TWO + 1)
    looped = lambda x: jax.lax.scan(lambda c, a: (product_of_fixed(stopped(a), c), None), x, TWO + 1)[0].sum()
    np.testing.assert_allclose(adjoint(looped, TWO), jax.grad(looped)(TWO))
    graph = trace(looped)(TWO).backward()
    step = graph.inside(next(node for node in graph.nodes if node.name == "scan"), 1)
    assert [x.node.adjoint is None for x in step.flat_arguments] == [False, True]
    graph = trace(f)(TWO).forward(TWO)
    assert [node.tangent is None for node in graph.nodes] == [False, True, True, False]
    of_one = lambda y, x: product_of_fixed(y, x).sum()
    np.testing.assert_allclose(trace(of_one)(TWO + 1, TWO).grad("u2", "x"), TWO + 1)  # no tangent is needed of y


def test_rules_get_constants_as_arrays():
    table = np.arange(1.0, 3.0, dtype=np.float32)

    @jax.custom_jvp
    def weighted(x, table, factor):
        return x * table * factor

    def rule(primals, tangents):
        _, table, factor = primals
        assert factor.weak_type
        return weighted(*primals), tangents[0] * table.at[0].set(5.0) * factor

    weighted.defjvp(rule)
    f = lambda x: weighted(x, table, 2.0)
    np.testing.assert_allclose(adjoint(f, TWO), [10, 4])
    np.testing.assert_allclose(trace(f)(TWO).forward(jnp.ones(2)).outputs.node.tangent, [10, 4])
