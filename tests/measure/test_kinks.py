"""A difference at a kink is reported as one at a kink, not as inaccuracy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from jaxdl import contrast, ops

W = jnp.asarray(np.random.default_rng(1).standard_normal((64, 64)), jnp.float32)


def in_another_order(factor=1.0):
    """x w summed in another order by hand, so that it rounds otherwise."""

    @jaxdl.op
    def product(x, w):
        return x @ w

    @product.rule
    def product_rule(x, w):
        y = x[:, ::-1] @ w[::-1]
        return y + 1.2e-5, jaxdl.saving(lambda x, w, dy: (factor * dy @ w.T, factor * x.T @ dy), x, w)

    return product


def close_call():
    """x with one entry of x w that rounding puts on either side of 0."""
    x = np.random.default_rng(2).standard_normal((4, 64))
    w = np.asarray(W, np.float64)
    x[0] -= (x[0] @ w[:, 0] + 6e-6) * w[:, 0] / (w[:, 0] @ w[:, 0])
    return jnp.asarray(x, jnp.float32)


def test_a_flipped_relu_is_told_as_a_kink():
    f = lambda product, x, w: jax.nn.relu(product(x, w))
    report = contrast(lambda x, w: f(in_another_order(), x, w), close_call(), W, time=False, sites=False)
    output, *cotangents = report.whole.differences
    assert not output.is_at_kink
    for d in cotangents:
        assert d.is_at_kink
        assert d.relative > 1e-2
        assert max(d.hand_ulp, d.automatic_ulp) < 64
    assert report.whole.largest.relative < 1e-5
    assert "is at a kink: rounding decides" in report.table().note
    assert "the results agree to" in report.conclusion
    assert ", except 2 of 3 arrays at a kink, where rounding decides" in report.conclusion


@pytest.mark.parametrize("factor", [1.01, -1.0])
def test_a_wrong_rule_beside_a_kink_stays_wrong(factor):
    f = lambda x, w: jax.nn.relu(in_another_order(factor)(x, w))
    report = contrast(f, close_call(), W, time=False, sites=False)
    assert not any(d.is_at_kink for d in report.whole.differences)
    assert "DIFFER by" in report.conclusion


def test_a_flipped_maximum_of_a_window():
    x = jax.random.normal(jax.random.key(0), (1, 8, 8, 1))
    x = x.at[0, 0, 0, 0].set(5.0).at[0, 0, 1, 0].set(5.0 + 1e-6)

    @jaxdl.op
    def shifted(x):
        return x + 0.0

    @shifted.rule
    def shifted_rule(x):
        return x.at[0, 0, 0, 0].add(2e-6), jaxdl.saving(lambda dy: (dy,))

    report = contrast(lambda x: ops.max_pool(shifted(x), window=2), x, time=False, sites=False)
    _, cotangent = report.whole.differences
    assert cotangent.is_at_kink
    assert cotangent.hand_ulp < 64


def test_smooth_inaccuracy_is_none(key):
    naive = jaxdl.op(lambda x: jnp.log(jnp.exp(x) + 1) * jnp.maximum(x, -100))
    naive.rule(lambda x: (naive.primal(x), jaxdl.saving(lambda x, dy: (dy * jax.nn.sigmoid(x) * 1.001,), x)))
    report = contrast(naive, jax.random.normal(key, (64,)) - 9, time=False, sites=False)
    assert not any(d.is_at_kink for d in report.whole.differences)
