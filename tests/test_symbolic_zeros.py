"""Symbolic zeros: which outputs have tangents and which inputs get cotangents, as in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.custom_derivatives import SymbolicZero

import jaxdl
from jaxdl import jacobian, symbolic_zeros
from jaxdl import jaxpr as jx

X, INFINITE = jnp.float32(2), jnp.float32(-np.inf)


def scanned(x, y):
    return list(lax.scan(lambda s, _: ((s[0] * 3, s[1] + s[0]), None), (x, y), length=3)[0])


def chosen(x, y):
    return list(lax.cond(True, lambda x, y: (x, y), lambda x, y: (2 * x, y), x, y))


@jax.custom_vjp
def first_alone(x, y):
    return x * lax.stop_gradient(y)


first_alone.defvjp(lambda x, y: (x * y, y), lambda y, dy: (dy * y, None))


@pytest.mark.parametrize(
    ("f", "moving", "moved"),
    [
        (lambda x, y: [lax.stop_gradient(x) * y, jnp.sin(x)], [0], [False, True]),
        (lambda x, y: [jnp.floor(x), x.astype(int), jnp.sign(x), jnp.where(x > 0, y, y)], [0], [False] * 4),
        (scanned, [0], [True, True]),
        (scanned, [1], [False, True]),
        (chosen, [0], [True, False]),
        (lambda x, y: [lax.while_loop(lambda s: s < 9, lambda s: s * 2, y), x], [0], [False, True]),
    ],
    ids=["stop", "steps", "carried on", "carried", "branch", "while"],
)
def test_which_outputs_have_a_tangent(f, moving, moved):
    assert symbolic_zeros.moved(f, [X, X], moving) == moved
    tangents = symbolic_zeros.pushed(f, [X, X], [X if i in moving else None for i in (0, 1)])
    assert [t is not None for t in tangents] == moved


@pytest.mark.parametrize(
    ("f", "cotangents", "expected"),
    [
        (scanned, [X, None], [54, None]),
        (chosen, [None, X], [None, 2]),
        (jax.checkpoint(lambda x, y: [x, jnp.log(y)]), [X, None], [2, None]),
        (lambda x, y: [first_alone(x, y)], [X], [-np.inf, None]),
        (lambda x, y: [lax.while_loop(lambda s: s > 9, lambda s: s / 2, y), x], [None, X], [2, None]),
    ],
    ids=["scan", "branch", "checkpoint", "rule", "while"],
)
def test_which_inputs_get_a_cotangent(f, cotangents, expected):
    assert symbolic_zeros.pulled(f, [X, INFINITE], [0, 1], cotangents) == expected


def test_rules_see_symbolic_zeros():
    seen = []

    @jax.custom_vjp
    def both(x, y):
        return x * y, y

    def forward(x, y):
        seen.append((x.perturbed, y.perturbed))
        return (x.value * y.value, y.value), y.value

    def back(y, cotangents):
        seen.append([isinstance(c, SymbolicZero) for c in cotangents])
        return cotangents[0] * y, None

    both.defvjp(forward, back, symbolic_zeros=True)
    assert symbolic_zeros.pulled(lambda x, y: list(both(x, y)), [X, X], [0], [X, None]) == [4]
    assert seen == [(True, False), [False, True]]


@jax.custom_vjp
def sparing(x, y):
    return jnp.sin(x) * y


sparing.defvjp(
    lambda x, y: (jnp.sin(x.value) * y.value, (jnp.sin(x.value) if y.perturbed else None, jnp.cos(x.value) * y.value)),
    lambda kept, dy: (dy * kept[1], None if kept[0] is None else dy * kept[0]),
    symbolic_zeros=True,
)  # fmt: skip


def test_residuals_may_depend_on_which_inputs_are_differentiated():
    """JAX stores one structure of residuals; here each pullback of an equation has its own, called in any order."""
    x, y = jnp.float32(0.3), jnp.float32(0.5)
    jaxpr = jax.make_jaxpr(sparing)(x, y)
    f = lambda *args: jx.evaluate(jaxpr, args, lambda eqn: jx.binding(eqn))[0]
    pulled = [jax.vjp(lambda x: f(x, y), x)[1], jax.vjp(f, x, y)[1], jax.vjp(lambda y: f(x, y), y)[1]]
    pulled.append(jax.vjp(jax.jit(f), x, y)[1])
    expected = np.cos(0.3) * 0.5, np.sin(0.3)
    for _ in range(2):
        for pullback, places in zip(pulled, ([0], [0, 1], [1], [0, 1]), strict=True):
            np.testing.assert_allclose(pullback(jnp.float32(1)), [expected[i] for i in places], rtol=1e-6)
    np.testing.assert_allclose(
        jacobian.structured(lambda x: sparing(x, x))(x).dense(), [[0.3 * np.cos(0.3) + np.sin(0.3)]], rtol=1e-6
    )
    assert jaxdl.audit(lambda x: sparing(x, 2 * x), x).faults == ()
