"""The derivatives of elementwise operations, in units of the last place, against 60 digits of mpmath."""

import functools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from jaxdl import automatic, ops

mp.mp.dps = 60

sigma = lambda x: 1 / (1 + mp.exp(-x))
phi = lambda x: mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)
cdf = lambda x: mp.erfc(-x / mp.sqrt(2)) / 2


def _gelu_tanh_slope(x):
    c, a = mp.sqrt(2 / mp.pi), mp.mpf("0.044715")
    v = 2 * c * (x + a * x**3)
    return sigma(v) + x * 2 * c * (1 + 3 * a * x * x) * sigma(v) * sigma(-v)


Q = mp.mpf("1.702")
LAMBDA, ALPHA = mp.mpf("1.0507009873554804934193349852946"), mp.mpf("1.6732632423543772848170429916717")

# The true derivative, and the point near which it has a zero of its own, if it has one.
TRUTH = {
    "square": (lambda x: 2 * x, None),
    "sqrt": (lambda x: 1 / (2 * mp.sqrt(x)), None),
    "exp": (mp.exp, None),
    "log": (lambda x: 1 / x, None),
    "sigmoid": (lambda x: sigma(x) * sigma(-x), None),
    "tanh": (lambda x: 1 / mp.cosh(x) ** 2, None),
    "softplus": (sigma, None),
    "silu": (lambda x: sigma(x) * (1 + x * sigma(-x)), -1.2784645),
    "gelu": (lambda x: cdf(x) + x * phi(x), -0.7517915),
    "gelu_tanh": (_gelu_tanh_slope, -0.7524614),
    "quick_gelu": (lambda x: sigma(Q * x) * (1 + Q * x * sigma(-Q * x)), -1.2784645 / 1.702),
    "elu": (lambda x: mp.mpf(1) if x > 0 else mp.exp(x), None),
    "selu": (lambda x: LAMBDA if x > 0 else LAMBDA * ALPHA * mp.exp(x), None),
    "relu": (lambda x: mp.mpf(x > 0), None),
    "leaky_relu": (lambda x: mp.mpf(1) if x > 0 else mp.mpf(np.float32(0.01).item()), None),
}
ALLOWED = {"gelu": 32, "gelu_tanh": 32}
ACCURATE = {"tanh": functools.partial(ops.tanh, accurate_tails=True)}
LARGEST, SMALLEST = float(jnp.finfo(jnp.float32).max), float(jnp.finfo(jnp.float32).tiny)


def points(only_positive):
    """Points over the whole range of float32: all magnitudes, and densely where activations bend."""
    rng = np.random.default_rng(0)
    wide = np.exp(rng.uniform(np.log(1e-37), np.log(1e38), 400))
    near = rng.uniform(0, 110, 600)
    x = np.concatenate([wide, near, rng.uniform(0, 6, 600)]).astype(np.float32)
    return x if only_positive else np.concatenate([x, -x])


def ulps(got, truth):
    """Distance in units in the last place of the truth; None where the truth is subnormal or too large."""
    if not SMALLEST <= abs(truth) <= LARGEST:
        return None
    place = mp.mpf(2) ** (mp.floor(mp.log(abs(truth), 2)) - 23)
    return float(abs(mp.mpf(float(got)) - truth) / place)


@pytest.mark.parametrize("name", TRUTH)
def test_derivative_within_4_ulp_of_the_truth(name):
    truth, zero = TRUTH[name]
    x = points(only_positive=name in ("sqrt", "log"))
    got = np.asarray(jax.jit(jax.vmap(jax.grad(ACCURATE.get(name, getattr(ops, name)))))(x))
    for xi, slope in zip(x.tolist(), got, strict=True):
        if zero is not None and abs(xi - zero) < 0.1:
            continue
        off = ulps(slope, truth(mp.mpf(xi)))
        assert np.isfinite(slope) or off is None, f"{name}′({xi}) = {slope}"
        assert off is None or off <= ALLOWED.get(name, 4), f"{name}′({xi}) = {slope}, {off:.1f} ULP off"


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softplus", "silu", "gelu", "gelu_tanh", "quick_gelu"])
def test_second_derivative(name):
    truth, _ = TRUTH[name]
    x = np.array([0, -1e-30, 1e-30, -1e-3, 0.25, -0.5, 1, -2, 3, -6], np.float32)
    got = jax.vmap(jax.grad(jax.grad(getattr(ops, name))))(x)
    np.testing.assert_allclose(got, [float(mp.diff(truth, mp.mpf(v))) for v in x.tolist()], rtol=1e-4, atol=1e-6)


def test_tanh_by_default_loses_digits_only_where_its_output_is_near_1():
    x = np.linspace(-0.4, 0.4, 401, dtype=np.float32)
    slopes = jax.jit(jax.vmap(jax.grad(ops.tanh)))(x)
    assert max(ulps(slope, 1 / mp.cosh(mp.mpf(v)) ** 2) for v, slope in zip(x.tolist(), slopes, strict=True)) <= 4
    assert float(jax.grad(ops.tanh)(12.0)) == 0
    assert float(jax.grad(ACCURATE["tanh"])(12.0)) == pytest.approx(1 / np.cosh(12.0) ** 2, rel=1e-6)


@pytest.mark.parametrize("form", [None, "slope saved"])
@pytest.mark.parametrize(("name", "slope"), [("elu", 1.0), ("selu", float(LAMBDA * ALPHA))])
def test_second_derivative_at_0_is_that_from_the_left(name, slope, form):
    """As y′ is: eˣ′ = 1, not the −1 of e^−|x|."""
    op = getattr(ops, name)
    curvature = jax.grad(jax.grad(op.in_form(form) if form else op))
    assert [float(curvature(x)) for x in (0.0, -0.0, 1.0)] == pytest.approx([slope, slope, 0], rel=1e-6)


@pytest.mark.parametrize("name", ["silu", "gelu", "gelu_tanh", "quick_gelu"])
def test_nothing_is_left_far_below_0(name):
    """In float64 e^−v for the v of float32's range is an ordinary number: times a large x it would not be 0."""
    with jax.enable_x64(True):
        x = -np.geomspace(1e4, 1e300, 40)
        y, slope = jax.vmap(jax.value_and_grad(getattr(ops, name)))(x)
    assert not np.any(y)
    assert not np.any(slope)


def test_power_is_smooth_in_its_base_where_the_exponent_is_0():
    """∂²xʸ/∂x∂y = xʸ⁻¹(1 + y log x), 1/x at y = 0"""
    assert float(jax.grad(jax.grad(ops.power), 1)(3.0, 0.0)) == pytest.approx(1 / 3)


@pytest.mark.parametrize("tanh", [ops.tanh, ACCURATE["tanh"]])
def test_tanh_near_0_has_the_second_derivative_minus_2x(tanh):
    x = np.array([1e-30, -1e-10, 1e-5, -1e-3], np.float32)
    np.testing.assert_allclose(jax.vmap(jax.grad(jax.grad(tanh)))(x), -2 * x, rtol=1e-5)


@pytest.mark.parametrize(("name", "x"), [("silu", -709.5), ("quick_gelu", -416.9)])
def test_products_of_large_numbers_and_small_ones_in_float64(name, x):
    """Also where e^x is too small for a number and xe^x is not."""
    v = mp.mpf(x) * (Q if name == "quick_gelu" else 1)
    with jax.enable_x64(True):
        assert float(getattr(ops, name)(x)) == pytest.approx(float(mp.mpf(x) * sigma(v)), rel=1e-11)


def test_jax_sigmoid_is_what_it_is_measured_against():
    """At 40 the derivative of jax.nn.sigmoid is 0; the truth is 4.2e-18, and the rule here says so."""
    assert jax.grad(jax.nn.sigmoid)(40.0) == 0
    assert float(jax.grad(ops.sigmoid)(40.0)) == pytest.approx(4.248354255291589e-18, rel=1e-6)


@pytest.mark.parametrize("name", [n for n in TRUTH if n not in ("square", "sqrt", "log", "exp")])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_no_less_accurate_than_automatic(name, dtype):
    """The largest error over ordinary points is at most that of the automatic derivative, or one rounding."""
    truth, _ = TRUTH[name]
    f = getattr(ops, name)
    x = jnp.linspace(-8, 8, 401).astype(dtype)
    want = np.array([float(truth(mp.mpf(float(v)))) for v in x])
    error = lambda g: np.nanmax(np.abs(np.asarray(jax.jit(jax.vmap(jax.grad(g)))(x), np.float64) - want))
    assert error(f) <= max(1.05 * error(automatic(f)), float(jnp.finfo(dtype).eps))


def test_confident_cross_entropy_does_not_cancel():
    """With a margin m, loss and slope are log(1 + e⁻ᵐ) and −e⁻ᵐ/(1 + e⁻ᵐ), down to the smallest numbers."""
    loss = ops.softmax_cross_entropy_with_integer_labels
    for margin in (1.0, 10.0, 30.0, 60.0, 80.0):
        logits = jnp.array([[0.0, -margin]])
        value, slope = jax.value_and_grad(lambda z: loss(z, jnp.array([0])).sum())(logits)
        m = mp.mpf(margin)
        assert ulps(value, mp.log1p(mp.exp(-m))) <= 4
        assert ulps(slope[0, 0], -mp.exp(-m) / (1 + mp.exp(-m))) <= 4


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "bool"])
@pytest.mark.parametrize("name", [n for n in TRUTH if getattr(ops, n).forms])
def test_integers_are_numbers(name, dtype):
    """No integer overflows or wraps, such as the negative of an unsigned one."""
    integers = jnp.array([0, 1, 3, 100] if dtype in ("uint8", "bool") else [-128, -100, -3, 0, 1, 100], dtype)
    op, numbers = getattr(ops, name), integers.astype("float32")
    with jax.numpy_dtype_promotion("standard"):
        for f in (op, op.primal, *map(op.in_form, op.forms)):
            np.testing.assert_allclose(f(integers), op(numbers), rtol=1e-4, atol=1e-6)
            assert f(integers).dtype == "float32"
