"""How the source of a derivative reads, and which functions have none."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.extend.core import Primitive

from jaxdl import op, saving
from jaxdl.graph import source
from jaxdl.graph.codegen import expressions
from tests.draws import draw
from tests.graph.written_source import W, assert_same

A, V = draw(1, 3, 3) + 3 * jnp.eye(3), draw(3, 3)
PLACES = jnp.array([0, 2])


A, B, V = draw(1, 3, 3) + 3 * jnp.eye(3), draw(2, 3, 2), draw(3, 3)
SHORT, FEW_BITS = jnp.array([55, 77, 103], jnp.int8), V.astype(jnp.bfloat16)
KEY, KEYS = jax.random.key(3), jax.random.split(jax.random.key(3), 3)
PLACES, RAW = jnp.array([0, 2]), jnp.arange(4, dtype=jnp.uint32)
dot, special, linalg = jnp.dot, jax.scipy.special, lax.linalg


def test_how_it_reads():
    def f(x, w):
        return jnp.sin(x @ w)

    assert source(f, jnp.ones((2, 3)), jnp.ones((3, 4))).endswith(
        '''
@op
def f(x, w):
    """x: float32[2,3], w: float32[3,4]"""
    u1 = x @ w
    u2 = jnp.sin(u1)
    return u2


@f.rule
def f_rule(x, w):
    u1 = x @ w
    u2 = jnp.sin(u1)
    u3 = jnp.cos(u1)

    def pullback(x, w, u3, dy):
        v1 = dy * u3
        v2 = v1.T @ x
        v3 = v2.T
        v4 = v1 @ w.T
        return (v4, v3)

    return u2, saving(pullback, x, w, u3)
'''
    )


def test_unused_residuals_are_not_saved():
    @op
    def double(x):
        return 2 * x

    @double.rule
    def double_rule(x):
        return 2 * x, saving(lambda x, dy: (2 * dy,), jnp.sin(x))

    assert source(double, V).endswith("return u1, saving(pullback)\n")
    assert "sin" not in source(double, V)


def test_only_settings_other_than_the_defaults_are_written():
    once, often = (lambda v, b, u=u: v.at[PLACES].add(b, unique_indices=u) for u in (True, False))
    assert "unique_indices=True" in source(once, V, V[:2])
    assert "unique_indices" not in source(often, V, V[:2])


def test_constants_have_names_and_are_written_once():
    table = draw(5, 3, 20)
    f = lambda v: jnp.tanh(v @ table) @ table.T + (v * table.sum()).sum()
    assert_same(f, V)
    primal, rule = source(f, V).split(".rule")
    assert primal.count("jnp.asarray(") == 1
    assert rule.count("jnp.asarray(") == 1
    assert "jnp.asarray" not in source(lambda v: (v @ table, v * 2)[1], V)


def test_a_function_without_a_derivative_is_refused():
    with pytest.raises(ValueError, match=r"source: the function has no derivative in its arguments: .*igamma_grad_a"):
        source(lambda x: jax.lax.igamma_grad_a(x, x), jnp.ones(2))


def test_primitives_of_other_libraries_are_refused_by_name():
    foreign = Primitive("their_own_solve")
    foreign.def_impl(lambda x: x)
    foreign.def_abstract_eval(lambda x: x)
    with pytest.raises(ValueError, match=r"source: their_own_solve .at .*test_source.py.* has no form in Python"):
        source(lambda x: foreign.bind(lax.stop_gradient(x)) * x, W)
    foreign.name = "sin"
    with pytest.raises(ValueError, match=r"source: sin .at .*, which is not JAX's of that name"):
        source(lambda x: foreign.bind(lax.stop_gradient(x)) * x, W)


def test_errors():
    table = jnp.arange(2000.0)
    with pytest.raises(ValueError, match=r"closes over a constant float32\[2000\]; make it an argument"):
        source(lambda x: x * table, jnp.ones(2000))
    with pytest.raises(ValueError, match="source: <lambda> returned no array"):
        source(lambda x: None, V)
    with pytest.raises(ValueError, match="source: there is no array among the arguments"):
        source(lambda name: jnp.ones(3), "x")
    with pytest.raises(ValueError, match=r"scatter .at .*test_source.py.*x.at\[i\].apply\(f\), has no form in Python"):
        source(lambda x: x * lax.stop_gradient(x).at[PLACES].apply(jnp.sin), V)
    with pytest.raises(ValueError, match=r"schur has no form in Python"):
        source(lambda a: jax.scipy.linalg.schur(a)[0], A)
    with pytest.raises(ValueError, match=r"debug_print .at .*test_source.py.* calls back into Python.*; remove it"):
        source(lambda x: (jax.debug.print("{}", x), x * x)[1], V)


def test_a_parameter_that_no_form_reads(monkeypatch):
    """As a newer JAX may give one to an operation, or to a loop."""
    total = lambda x: lax.scan(lambda c, v: (c + v, c), 0.0, x)[0]
    for name, f in (("rev", lambda x: lax.rev(x, (0,)) * 2), ("scan", total)):
        unknown = lambda eqn, name=name: ("way", 2) if eqn.primitive.name == name else None
        monkeypatch.setattr(expressions.jx, "unknown_parameter", unknown)
        with pytest.raises(ValueError, match=rf"source: {name} .at .*test_source.py.* with way=2 has no form"):
            source(f, V)
