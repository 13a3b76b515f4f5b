"""Derivatives against closed forms in mpmath, and at kinks, jumps, infinite slopes and thresholds."""

import jax
import jax.numpy as jnp
import jax.scipy.special as js
import mpmath
import numpy as np
import pytest
from mpmath import mp

from jaxdl import exact
from tests.exact.test_primitives import single

relu = lambda x: jnp.maximum(x, 0)
sigmoid = lambda x: 1 / (1 + mp.exp(-x))
normal = lambda x: mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)
F32 = lambda x: mp.mpf(float(np.float32(x)))
nan, inf = float("nan"), float("inf")

# f, its own definition with mpmath, points
CLOSED_FORMS = {
    "sigmoid": (jax.nn.sigmoid, sigmoid, [-30, 0.5, 40]),
    "silu": (jax.nn.silu, lambda x: x * sigmoid(x), [-30, 0.5, 4]),
    "softplus": (jax.nn.softplus, lambda x: mp.log1p(mp.exp(x)), [-90, 0.5, 40]),
    "naive softplus": (lambda x: jnp.log(1 + jnp.exp(x)), lambda x: mp.log1p(mp.exp(x)), [-300, 0.5, 400]),
    "log sigmoid": (jax.nn.log_sigmoid, lambda x: -mp.log1p(mp.exp(-x)), [-40, 0.5, 90]),
    "gelu": (lambda x: jax.nn.gelu(x, approximate=False), lambda x: x * mp.ncdf(x), [-3, 0.5, 9]),
    "gelu tanh": (
        jax.nn.gelu,
        lambda x: x / 2 * (1 + mp.tanh(F32(np.sqrt(2 / np.pi)) * (x + F32(0.044715) * x**3))),
        [-3, 0.5, 9],
    ),
    "elu": (jax.nn.elu, lambda x: x if x > 0 else mp.expm1(x), [-3, 0.5]),
    "celu": (lambda x: jax.nn.celu(x, 2.0), lambda x: x if x > 0 else 2 * mp.expm1(x / 2), [-3, 0.5]),
    "mish": (jax.nn.mish, lambda x: x * mp.tanh(mp.log1p(mp.exp(x))), [-3, 0.5]),
    "soft sign": (jax.nn.soft_sign, lambda x: x / (1 + abs(x)), [-3, 0.5]),
    "squareplus": (jax.nn.squareplus, lambda x: (x + mp.sqrt(x * x + 4)) / 2, [-3, 0.5]),
    "gammaln": (js.gammaln, lambda x: mp.log(abs(mp.gamma(x))), [-1.5, 0.01, 7]),
    "digamma": (js.digamma, lambda x: mp.psi(0, x), [-1.5, 0.5, 7]),
    "erf": (js.erf, mp.erf, [-2, 1e-10]),
    "erfc": (js.erfc, mp.erfc, [-2, 9]),
    "erfinv": (js.erfinv, mp.erfinv, [-0.875, 0.01]),
    "logit": (js.logit, lambda x: mp.log(x / (1 - x)), [0.25]),
    "ndtr": (js.ndtr, mp.ncdf, [-5, 0.5]),
    "log_ndtr": (js.log_ndtr, lambda x: mp.log(mp.ncdf(x)), [-2, 0.5]),
    "entr": (js.entr, lambda x: -x * mp.log(x), [0.25, 3]),
    "xlogy": (lambda x: js.xlogy(x, x + 1), lambda x: x * mp.log(x + 1), [0.25, 3]),
    "i0": (js.i0, lambda x: mp.besseli(0, x), [-2, 0.5]),
    "i1e": (js.i1e, lambda x: mp.besseli(1, x) * mp.exp(-abs(x)), [-2, 0.5]),
    "gammainc": (lambda x: js.gammainc(2.5, x), lambda x: mp.gammainc(2.5, 0, x, regularized=True), [0.5, 3]),
    "gammaincc of a": (
        lambda a: js.gammaincc(a, 2.5),
        lambda a: mp.gammainc(a, 2.5, mp.inf, regularized=True),
        [0.5, 3],
    ),
    "betainc": (lambda x: js.betainc(2.5, 1.5, x), lambda x: mp.betainc(2.5, 1.5, 0, x, regularized=True), [0.25]),
    "zeta": (lambda x: js.zeta(2.5, x), lambda x: mp.zeta(2.5, x), [0.5, 3]),
    "polygamma": (lambda x: js.polygamma(2, x), lambda x: mp.psi(2, x), [0.5, 3]),
    "sinc": (jnp.sinc, lambda x: mp.sin(mp.pi * x) / (mp.pi * x), [0.25]),
    "log1mexp": (lambda x: jnp.log(-jnp.expm1(-x)), lambda x: mp.log(1 - mp.exp(-x)), [1e-6, 30]),
}
# JAX's definitions of these have float32 constants, which differ from those of the closed form.
FLOAT32 = {"sinc", "ndtr", "log_ndtr", "gelu"}


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_closed_forms(name):
    f, definition, points = CLOSED_FORMS[name]
    x = single(points)
    y, d, d2 = exact.evaluate(f)(x), exact.derivative(f)(x), exact.derivative(f, 2)(x)
    digits = 5 if name in FLOAT32 else 40
    with mpmath.workdps(260):
        for i, point in enumerate(map(F32, points)):
            for n, got in enumerate((y[i], d.value[i], d2.value[i])):
                expected = mp.diff(definition, point, n) if n else definition(point)
                assert abs(got - expected) <= mp.mpf(10) ** -digits * abs(expected), (point, n, got, expected)
    assert not (d.is_kink | d.is_jump | d.is_infinite).any()


def sides(f, x, order=1, **settings):
    """left, right, value and the names of the flags that are true, at one point."""
    d = exact.derivative(f, order, **settings)(np.float32(x))
    flags = "".join(c for c, flag in (("k", d.is_kink), ("j", d.is_jump), ("i", d.is_infinite)) if flag)
    return [float(d.left[()]), float(d.right[()]), float(d.value[()]), flags]


NEXT = float(np.nextafter(np.float32(1), np.float32(2)))
TINY = 1e-45
DRAW = float(jax.random.uniform(jax.random.key(0)))
POINTS = [
    ("relu", relu, 0, [0, 1, nan, "k"]),
    ("relu", relu, TINY, [1, 1, 1, ""]),
    ("relu", relu, -TINY, [0, 0, 0, ""]),
    ("relu", jax.nn.relu, 3, [1, 1, 1, ""]),
    ("abs", jnp.abs, 0, [-1, 1, nan, "k"]),
    ("tie", lambda x: jnp.maximum(x, 2 - x), 1, [-1, 1, nan, "k"]),
    ("max", lambda x: jnp.max(jnp.stack([x, 2 * x, -x])), 0, [-1, 2, nan, "k"]),
    ("floor", jnp.floor, 2, [0, 0, nan, "j"]),
    ("floor", jnp.floor, 2.5, [0, 0, 0, ""]),
    ("sign", jnp.sign, 0, [0, 0, nan, "j"]),
    ("a point apart", lambda x: jnp.where(x == 1, 5.0, 2 * x), 1, [2, 2, nan, "j"]),
    ("jump and kink", lambda x: jnp.where(x > 0, x + 1, 3 * x), 0, [3, 1, nan, "kj"]),
    ("sqrt", jnp.sqrt, 0, [nan, inf, nan, "i"]),
    ("sqrt", jnp.sqrt, -1, [nan, nan, nan, ""]),
    ("cbrt", jnp.cbrt, 0, [inf, inf, inf, "i"]),
    ("sqrt of |x|", lambda x: jnp.sqrt(jnp.abs(x)), 0, [-inf, inf, nan, "ki"]),
    ("log", jnp.log, 0, [nan, inf, nan, "i"]),
    ("x log x", lambda x: jnp.where(x > 0, x * jnp.log(jnp.where(x > 0, x, 1)), 0), 0, [0, -inf, nan, "ki"]),
    ("1/x", lambda x: 1 / x, 0, [-inf, -inf, nan, "i"]),
    ("0/0", lambda x: jnp.sin(x) / x, 0, [0, 0, nan, ""]),
    ("|x|^1.5", lambda x: jnp.abs(x) ** 1.5, 0, [0, 0, 0, ""]),
    ("no limit", lambda x: x * jnp.sin(1 / jnp.where(x == 0, 1, x)), 0, [nan, nan, nan, ""]),
    ("noise", lambda x: jnp.sin(x) ** 2 + jnp.cos(x) ** 2, 1, [0, 0, 0, ""]),
    ("a minimum", jnp.cos, 0, [0, 0, 0, ""]),
    ("at infinity", jnp.tanh, inf, [0, 0, 0, ""]),
    ("at infinity", lambda x: x * x, inf, [nan, nan, nan, ""]),
    ("at NaN", jnp.tanh, nan, [nan, nan, nan, ""]),
    ("before a threshold", lambda x: jnp.where(x >= NEXT, 5 * x, x), 1, [1, 1, 1, ""]),
    ("at a threshold", lambda x: jnp.where(x >= NEXT, 5 * x, x), NEXT, [1, 5, nan, "kj"]),
    ("small threshold", lambda x: jnp.where(x < 1e-30, x, 3 * x), 0, [1, 1, 1, ""]),
    ("far threshold", lambda x: jnp.where(x * 1e30 < 1, x, 3 * x), 0, [1, 1, 1, ""]),
    ("beside 1e-30", lambda x: jnp.maximum(x, 1e-30), 1.0000001e-30, [1, 1, 1, ""]),
    ("steep", lambda x: jnp.sin(1e30 * x), 0, [float(np.float32(1e30))] * 3 + [""]),
    ("large", jnp.sin, 3e38, [float(mp.cos(F32(3e38)))] * 3 + [""]),
    ("masked", lambda x: jax.nn.softmax(jnp.stack([x, jnp.finfo(jnp.float32).min]))[0], 1, [0, 0, 0, ""]),
    ("cancels", lambda x: (x + 1e30) - 1e30, 1, [1, 1, 1, ""]),
    ("cancels more", lambda x: (jnp.exp(x) + x) - jnp.exp(x), 700, [1, 1, 1, ""]),
    ("cancels yet more", lambda x: (jnp.exp(x) + x) - jnp.exp(x), 1600, [1, 1, 1, ""]),
    ("conversion", lambda x: x.astype(jnp.float16).astype(jnp.float32), 1, [1, 1, 1, ""]),
    ("to integers", lambda x: x.astype(jnp.int32).astype(jnp.float32), 0, [0, 0, 0, ""]),
    ("random", lambda x: x * jax.random.uniform(jax.random.key(0)), 1, [DRAW] * 3 + [""]),
]


@pytest.mark.parametrize(("name", "f", "x", "expected"), POINTS, ids=[f"{i}-{row[0]}" for i, row in enumerate(POINTS)])
def test_points(name, f, x, expected):
    got = sides(f, x)
    np.testing.assert_allclose(got[:3], expected[:3], rtol=1e-15)
    assert got[3] == expected[3]


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (lambda x: relu(x) ** 2, 0, [0, 2, nan, "k"]),
        (lambda x: relu(x) ** 2, 1, [2, 2, 2, ""]),
        (relu, 0, [0, 0, nan, "j"]),
        (jnp.abs, 0, [0, 0, nan, "j"]),
        (jnp.floor, 1, [0, 0, nan, "j"]),
        (jnp.sqrt, 0, [nan, -inf, nan, "i"]),
        (lambda x: jnp.abs(x) ** 3, 0, [0, 0, 0, ""]),
        (jnp.exp, -300, [5.148200222412013e-131] * 3 + [""]),
        (lambda x: 1 / x, TINY, [7.2675e134] * 3 + [""]),
        (lambda x: x * x / 2, 3e38, [1, 1, 1, ""]),
        (lambda x: 1 - jnp.cos(x), 1e-30, [1, 1, 1, ""]),
    ],
)
def test_second_derivatives(f, x, expected):
    got = sides(f, x, order=2)
    np.testing.assert_allclose(got[:3], expected[:3], rtol=1e-3 if x == TINY else 1e-14)
    assert got[3] == expected[3]


def test_derivatives_outside_the_range_of_floats():
    """A derivative that no float can hold is correct."""
    d = exact.derivative(lambda x: jnp.exp(-x))(np.float32(1e5)).value[()]
    assert mpmath.almosteq(d, -mp.exp(-100000), 1e-14)


def test_all_digits():
    with mpmath.workdps(60):
        d = exact.derivative(jnp.exp, digits=50)(np.float32(1)).right[()]
        assert abs(d - mp.e) < mp.mpf(10) ** -50


def test_float64_denormals():
    with jax.enable_x64(True):
        x = np.array([5e-324, -5e-324, 1e308])
        d = exact.derivative(relu)(x)
        assert d.value.tolist() == [1, 0, 1]
        assert exact.derivative(lambda x: jnp.where(x < 1e-300, x, -x))(np.float64(0)).value[()] == 1
        assert exact.derivative(lambda x: jnp.where(x * 1e200 < 1, x, -x))(np.float64(0)).value[()] == 1


def test_directions():
    """A direction in all arguments; integers and arguments with None are constant."""
    x, y, n = single([1.0, 2.0]), single([3.0, 5.0]), np.arange(2)
    f = lambda p, n: (p["x"] * p["y"] * n.astype(np.float32), n, p["x"].sum())
    product, none, total = exact.derivative(f, along=({"x": single([1.0, 10.0]), "y": y}, None))({"x": x, "y": y}, n)
    assert none is None
    assert product.value.tolist() == [0, 10 * 5 + 2 * 5]
    assert total.value[()] == 11
    still = exact.derivative(f, along=({"x": x, "y": None}, None))({"x": x, "y": y}, n)[0]
    assert still.value.tolist() == [0, 10]
    assert exact.derivative(f, along=(None, None))({"x": x, "y": y}, n)[0].value.tolist() == [0, 0]
    small = exact.derivative(jnp.sin, along=(np.float32(1e-30),))(np.float32(0))
    assert mpmath.almosteq(small.value[()], F32(1e-30), 1e-40)


def test_complex():
    z = np.complex64(0.5 + 0.25j)
    d = exact.derivative(lambda z: z * z * z, along=(np.complex64(1j),))(z)
    assert d.value[()] == 3j * mp.mpc(complex(z)) ** 2
    d = exact.derivative(lambda z: jnp.conj(z), along=(np.complex64(1j),))(z)
    assert d.value[()] == -1j
    d = exact.derivative(lambda x: jax.lax.complex(jnp.abs(x), x))(np.float32(0))
    assert d.is_kink
    assert d.right[()] == 1 + 1j


def test_arguments_of_more_digits():
    with mpmath.workdps(60):
        x = np.array(mp.mpf(1) / 3, object)
        assert mpmath.almosteq(exact.derivative(jnp.exp)(x).value[()], mp.exp(mp.mpf(1) / 3), mp.mpf(10) ** -50)


def test_errors():
    with pytest.raises(ValueError, match="order is 1 or 2, got 3"):
        exact.derivative(jnp.sin, 3)
    with pytest.raises(ValueError, match=r"along has shape \(2,\) for an argument of shape \(3,\)"):
        exact.derivative(jnp.sin, along=(np.ones(2),))(np.ones(3))
    with pytest.raises(exact.UnknownPrimitive):
        exact.derivative(lambda x: jax.random.gamma(jax.random.key(0), x))(np.float32(1))
    assert exact.derivative(lambda x: x > 0)(np.float32(1)) is None
