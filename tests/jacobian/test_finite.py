"""The reference from values alone: right to all digits of float32, also at kinks and with wrong rules."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl import exact, jacobian
from jaxdl.jacobian.methods.finite_differences import analytic
from tests.draws import draw
from tests.tolerance import assert_close

X = draw(0, 7)


def error(f, x, true):
    got = np.asarray(jacobian.finite(f)(x), np.float64)
    return np.abs(got - np.asarray(true)).max() / np.abs(true).max()


@pytest.mark.parametrize(
    ("f", "slope", "is_analytic"),
    [
        (lambda x: jnp.sin(x) * jnp.exp(x), lambda x: np.exp(x) * (np.sin(x) + np.cos(x)), True),
        (lambda x: jnp.abs(x) ** 1.5, lambda x: 1.5 * np.sqrt(np.abs(x)) * np.sign(x), False),
        (lambda x: jnp.where(x > 0, x**3, -x), lambda x: np.where(x > 0, 3 * x**2, -1), False),
    ],
)
def test_right_to_all_digits(f, slope, is_analytic):
    assert analytic(jax.make_jaxpr(f)(X)) == is_analytic
    assert error(f, X, np.diag(slope(np.asarray(X, np.float64)))) < 1e-7


@pytest.mark.parametrize("groups", [1, 2])
def test_a_convolution(groups):
    """JAX's product of complex convolutions rounds more than the imaginary step is large: the derivative was 0."""
    kernel = draw(1, 2, 2 // groups, 3)
    f = lambda x: jax.lax.conv_general_dilated(x, kernel, (1,), "SAME", feature_group_count=groups).ravel()
    x = draw(2, 1, 2, 4)
    assert error(f, x, jax.jacfwd(f)(x)) < 1e-6


def test_a_function_applied_at_indices():
    """JAX has no derivative of it."""
    f = lambda x: x.at[jnp.array([0, 2, 0])].apply(jnp.sin)
    slope = np.ones(7)
    slope[2], slope[0] = np.cos(X[2]), np.cos(np.sin(X[0])) * np.cos(X[0])
    assert error(f, X, np.diag(slope)) < 1e-6


def test_a_kink_gives_the_mean_of_both_sides():
    assert jacobian.finite(jnp.abs)(0.0) == 0
    assert jacobian.finite(jax.nn.relu)(0.0) == 0.5


def test_where_the_function_is_nan_so_is_its_derivative():
    assert jnp.isnan(jnp.diag(jacobian.finite(jnp.log)(jnp.array([-1.0, 2.0])))).tolist() == [True, False]


def test_where_wide_steps_leave_the_domain():
    x = jnp.array([0.1])
    assert error(lambda x: jnp.abs(x) * jnp.log(x), x, np.diag(1 + np.log(np.asarray(x, np.float64)))) < 1e-6


def test_in_jit_it_needs_float64():
    with pytest.raises(TypeError, match="turn jax_enable_x64 on"):
        jax.jit(jacobian.finite(jnp.sin))(X)
    assert_close(jax.vmap(jacobian.finite(jnp.sin))(X[:2, None]), jnp.cos(X[:2, None, None]), "float32", "in vmap")
    with jax.enable_x64(True):
        x = jnp.asarray(np.asarray(X), jnp.float64)
        assert np.allclose(jax.jit(jacobian.finite(jnp.sin))(x), np.diag(np.cos(x)), atol=1e-14)


def test_equals_the_exact_derivative():
    """To the digits of float64; JAX's own derivative in float32 has half of them."""
    f = lambda x: jnp.stack([jnp.tanh(x[0] * x[1]) / x[2], jnp.log1p(jnp.exp(x[2]))])
    x = np.array([0.3, -1.2, 0.7], np.float32)
    got = jacobian.finite(f)(x)
    for j in range(3):
        column = exact.derivative(f, along=np.eye(3, dtype=np.float32)[j])(x)
        assert np.allclose(got[:, j], column.value.astype(float), rtol=1e-7, atol=0)


def test_every_operation_is_done_in_float64():
    """Also in loops, and if the function rounds to another dtype, or has dtypes that do not promote."""
    whirl = lambda c, v: (c * jnp.exp(jax.lax.complex(v, v)), jnp.real(c))
    whirled = lambda x: jax.lax.scan(whirl, jnp.complex64(1), x)[1]
    drawn = lambda x: jax.lax.map(lambda v: v * jax.random.uniform(jax.random.key(0)), x)
    rounded = lambda x: jax.lax.map(lambda v: jax.nn.soft_sign(v).astype(jnp.bfloat16), x).astype(jnp.float32)
    for f in (whirled, drawn):
        np.testing.assert_allclose(jacobian.finite(f)(X), jax.jacrev(f)(X), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jacobian.finite(rounded)(X), jnp.diag(1 / (1 + jnp.abs(X)) ** 2), rtol=1e-6)


def test_bits_are_those_of_their_own_dtype():
    signs = lambda x: jnp.where(jax.lax.bitcast_convert_type(x, jnp.int32) < 0, -x, 3 * x)
    assert_close(jacobian.finite(signs)(jnp.array([-0.5, 2.0])), jnp.diag(jnp.array([-1.0, 3.0])), "float32")
    drawn = lambda x: x * jax.random.uniform(jax.random.key(0), (2,))
    assert_close(jacobian.finite(drawn)(jnp.ones(2)), jnp.diag(drawn(jnp.ones(2))), "float32")


def test_each_loop_of_a_batch_has_its_own_end():
    halved = lambda x: jax.lax.while_loop(lambda s: s[0] > 1, lambda s: (s[0] / 2, s[1] * 1.5), (x, x))[1]
    x = jnp.array([0.5, 3.0, 9.0])
    assert_close(jacobian.finite(jax.vmap(halved))(x), np.diag([1, 1.5**2, 1.5**4]), "float32")


def test_products_that_round_to_16_bits_do_not_here():
    """JAX's attention multiplies numbers in bfloat16 by an algorithm that rounds them."""
    q, k, v = (draw(i, 1, 3, 1, 2, dtype="bfloat16") for i in range(3))
    attend = lambda q: jax.nn.dot_product_attention(q, k.astype(q.dtype), v.astype(q.dtype))
    with jax.numpy_dtype_promotion("standard"):  # the attention needs it
        true = np.asarray(jax.jacfwd(attend)(q.astype(jnp.float32)))
        got = np.asarray(jacobian.finite(attend)(q), np.float32)
    assert np.abs(got - true).max() < 0.02 * np.abs(true).max()
