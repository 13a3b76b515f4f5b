"""A difference at a kink is reported as one at a kink, not as inaccuracy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdl
from jaxdl import contrast, ops
from jaxdl.measure.differentiated import Differentiated
from jaxdl.measure.kinks import runs_beside_kinks

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


def spreads(f, *arrays, smooth=None):
    """How far the cotangents differ over the runs, each over its largest entry."""
    side = Differentiated(lambda *args: [f(*args)], [jnp.asarray(x) for x in arrays], smooth)
    stacked = [np.stack(runs) for runs in zip(*runs_beside_kinks(side), strict=True)]
    return [float(np.max(np.ptp(x, axis=0)) / np.max(np.abs(x))) for x in stacked[-len(side.smooth) :]]


SMALL = np.array([0.25, -0.5, 0.75], np.float32)


def test_an_outlier_does_not_put_the_other_entries_at_a_kink():
    slope = lambda factor, x: jnp.where(x > 0, 1, factor)

    @jaxdl.op
    def clipped(x):
        return jnp.maximum(x, 0)

    @clipped.rule
    def clipped_rule(x):
        return clipped.primal(x), jaxdl.saving(lambda x, dy: (dy * slope(0.5, x),), x)  # wrong for negative x

    outlier = jnp.asarray([*SMALL, 1e8])
    whole = contrast(clipped, outlier, time=False, sites=False).whole
    assert not any(d.is_at_kink for d in whole.differences)
    assert whole.largest.relative > 0.1


@pytest.mark.parametrize("x", [0.0, 1e-30])
def test_an_argument_is_moved_by_its_own_rounding(x):
    (spread,) = spreads(lambda x: jnp.maximum(x, 0), np.array([*SMALL, x, 1e6], np.float32))
    assert (spread > 0.1) == (x == 0)


times_w = lambda x: x @ W.astype(x.dtype)
relu = lambda x: jnp.maximum(x, 0)


def counted_in_a_loop(x):
    """x times a number that a loop without reverse mode adds up, in whose body the close entry decides."""
    y = jax.lax.stop_gradient(times_w(x)[0, 0])
    step = lambda carry: (carry[0] + 1, carry[1] + jnp.where(y > 0, 1.0, 3.0).astype(x.dtype))
    return x * jax.lax.while_loop(lambda carry: carry[0] < 2, step, (0, jnp.zeros((), x.dtype)))[1]


CLOSE = {
    "product": lambda x: relu(times_w(x)),
    "comparison": lambda x: jnp.where((y := times_w(x)) > 0, y, 0),
    "inner jit": jax.jit(lambda x: relu(times_w(x))),
    "checkpoint": jax.checkpoint(lambda x: relu(times_w(x))),
    "scan": lambda x: jax.lax.scan(lambda c, row: (c + relu(times_w(row)), None), jnp.zeros(64, x.dtype), x)[0],
    "while": counted_in_a_loop,
    "cond": lambda x: jax.lax.cond(times_w(x)[0, 0] > 0, lambda x: x, lambda x: 3 * x, x),
    "index": lambda x: x[0, jnp.argmax(jnp.stack([times_w(x)[0, 0], 0 * x[0, 0]]))],
    "later": lambda x: relu(jnp.sin(times_w(x)) * jnp.exp(x[0, 0])),
}


@pytest.mark.parametrize("name", CLOSE)
def test_a_kink_is_found_where_rounding_of_what_was_computed_decides(name):
    x = np.random.default_rng(2).standard_normal((4, 64))
    w = np.asarray(W, np.float64)
    near = lambda y: (x + np.eye(4, 1) * (y - x[0] @ w[:, 0]) * w[:, 0] / (w[:, 0] @ w[:, 0])).astype(np.float32)
    assert min(spreads(CLOSE[name], near(1e-7))) > 0.01
    assert max(spreads(CLOSE[name], near(1e-2))) < 1e-6


EXACT = {
    "equality with the maximum": lambda x, mask: x * (x == x.max()),
    "a mask": lambda x, mask: jnp.where(mask > 0, x, 2 * x),
    "a count": lambda x, mask: x * (mask.sum() == 2),
    "an infinite entry": lambda x, mask: jax.nn.logsumexp(jnp.where(mask > 0, x, -jnp.inf)),
    "random numbers": lambda x, mask: jnp.where(jax.random.bernoulli(jax.random.key(0), 0.5, x.shape), x, 0),
}


@pytest.mark.parametrize("name", EXACT)
def test_what_rounding_does_not_decide_is_the_same_in_all_runs(name):
    mask = np.array([0, 1, 1], np.float32)
    with jax.numpy_dtype_promotion("standard"):
        assert spreads(EXACT[name], SMALL, mask, smooth=[0]) == [0.0]


def test_an_inaccurate_value_before_a_maximum_is_no_kink():
    """The value keeps its accuracy in these runs; only the decision is that of rounded values."""
    naive = lambda x: jnp.maximum(jnp.log(jnp.exp(x) + 1), 1e-9) ** 2
    assert spreads(naive, np.array([-11.0, -10.5], np.float32)) == [0.0]


def test_16_bits_and_complex_numbers():
    (spread,) = spreads(lambda x: jnp.maximum(x * x - 1, 0), jnp.asarray([1.001, 2, 3], jnp.bfloat16))
    assert spread > 0.1
    side = Differentiated(lambda x: [jnp.abs(x.real + x.imag)], [jnp.array([1 - 1.0000001j, 2 - 1j], jnp.complex64)])
    real, imaginary = (np.ptp([part(dx) for _, dx in runs_beside_kinks(side)], axis=0) for part in (np.real, np.imag))
    assert np.all(real == imaginary)
    assert (real > 0).tolist() == [True, False]
