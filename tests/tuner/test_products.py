"""Products as products of matrices have the same values and types."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import jaxpr as jx
from jaxdl.tuner.products import as_matrices
from tests.tolerance import assert_close


def product(x, y, contracted, **settings):
    return jax.lax.dot_general(x, y, ((contracted, contracted), ((), ())), **settings)


@pytest.mark.parametrize(("left", "right"), [((5,), (6,)), ((5, 2), (6,)), ((), (6, 2)), ((), ())])
@pytest.mark.parametrize("settings", [{}, {"preferred_element_type": jnp.bfloat16, "precision": "highest"}])
def test_products_over_leading_axes(left, right, settings):
    random = np.random.default_rng(0)
    x, y = (jnp.asarray(random.standard_normal((3, 4, *free)), jnp.bfloat16) for free in (left, right))
    f = lambda x, y: product(x, y, (0, 1), **settings)
    (eqn,) = jax.make_jaxpr(f)(x, y).eqns
    (got,), want = as_matrices(eqn)(x, y), f(x, y)
    assert got.dtype == want.dtype
    assert_close(got, want, jnp.bfloat16)


def test_products_of_another_type_are_left_alone():
    f = lambda x, y: product(x, y, (0, 1), preferred_element_type=jnp.float32)
    (eqn,) = jax.make_jaxpr(f)(*2 * [jnp.ones((2, 2, 2), jnp.bfloat16)]).eqns
    assert as_matrices(eqn) is None


@pytest.mark.parametrize("contracted", [(0,), (1, 0), (0, 2), (1, 2)])
def test_other_products_are_left_alone(contracted):
    (eqn,) = jax.make_jaxpr(lambda x, y: product(x, y, contracted))(*2 * [jnp.ones((2, 2, 2))]).eqns
    assert as_matrices(eqn) is None


def test_the_compiler_copies_no_operand():
    x, dy = jnp.ones((4, 128, 64)), jnp.ones((4, 128, 32))
    f = lambda x, dy: product(dy, x, (0, 1)).T
    text = lambda f: jax.jit(f).lower(x, dy).compile().as_text()
    eqn = jax.make_jaxpr(lambda x, dy: product(dy, x, (0, 1)))(x, dy).eqns[0]
    assert "copy" not in text(lambda x, dy: as_matrices(eqn)(dy, x)[0].T)
    assert list(jx.primitives(jax.make_jaxpr(f)(x, dy))) == ["dot_general", "transpose"]
