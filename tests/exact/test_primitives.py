"""Each primitive against SciPy's or NumPy's function; every differentiable primitive is defined."""

import jax
import jax.extend.core.primitives
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.special as sp
from jax import lax

from jaxdl import exact
from jaxdl import jaxpr as jx
from jaxdl.exact import interpreter

ANY = [-7.5, -1.25, -0.5, 0.0, 0.3, 1.0, 2.5, 40.0]
UNIT = [-0.95, -0.3, 0.0, 0.01, 0.6]
POSITIVE = [1e-3, 0.4, 1.0, 2.5, 30.0]
COMPLEX = [0.3 + 0.4j, -1.5 + 0.25j, 2.0 - 3.0j]

# name of the function in lax, its arguments, the reference
NEWER = [  # from JAX 0.11 on
    ("log2", [POSITIVE], np.log2),
    ("log2", [COMPLEX], lambda x: np.log(x) / np.log(2)),
    ("one_minus_square", [[*ANY, 1 - 2**-24]], lambda x: 1 - x * x),
    ("one_minus_square", [COMPLEX], lambda x: 1 - x * x),
]
TABLE = [
    *(row for row in NEWER if hasattr(lax, row[0])),
    ("abs", [ANY], np.abs),
    ("abs", [COMPLEX], np.abs),
    ("acos", [UNIT], np.arccos),
    ("acosh", [[1.0, 1.5, 30.0]], np.arccosh),
    ("add", [ANY, ANY[::-1]], np.add),
    ("asin", [UNIT], np.arcsin),
    ("asinh", [ANY], np.arcsinh),
    ("atan", [ANY], np.arctan),
    ("atan2", [ANY, ANY[::-1]], np.arctan2),
    ("atanh", [UNIT], np.arctanh),
    ("bessel_i0e", [ANY], sp.i0e),
    ("bessel_i1e", [ANY], sp.i1e),
    ("betainc", [POSITIVE, POSITIVE[::-1], [0.0, 0.1, 0.5, 0.9, 1.0]], sp.betainc),
    ("cbrt", [ANY], np.cbrt),
    ("ceil", [ANY], np.ceil),
    ("clamp", [[-1.0] * 8, ANY, [1.5] * 8], lambda a, x, b: np.clip(x, a, b)),
    ("complex", [ANY, ANY[::-1]], lambda x, y: x + 1j * y),
    ("conj", [COMPLEX], np.conj),
    ("cos", [ANY], np.cos),
    ("cos", [COMPLEX], np.cos),
    ("cosh", [ANY], np.cosh),
    ("digamma", [[-7.5, -1.25, *POSITIVE]], sp.digamma),
    ("div", [ANY, ANY[::-1]], np.divide),
    ("div", [COMPLEX, COMPLEX[::-1]], np.divide),
    ("eq", [ANY, ANY[::-1]], np.equal),
    ("erf", [ANY], sp.erf),
    ("erf_inv", [UNIT], sp.erfinv),
    ("erfc", [ANY], sp.erfc),
    ("exp", [ANY], np.exp),
    ("exp", [COMPLEX], np.exp),
    ("exp2", [ANY], np.exp2),
    ("expm1", [[*ANY, 1e-10]], np.expm1),
    ("floor", [ANY], np.floor),
    ("ge", [ANY, ANY[::-1]], np.greater_equal),
    ("gt", [ANY, ANY[::-1]], np.greater),
    ("igamma", [POSITIVE, POSITIVE[::-1]], sp.gammainc),
    ("igammac", [POSITIVE, POSITIVE[::-1]], sp.gammaincc),
    ("imag", [COMPLEX], np.imag),
    ("is_finite", [[*ANY, np.inf, np.nan]], np.isfinite),
    ("le", [ANY, ANY[::-1]], np.less_equal),
    ("lgamma", [[-7.5, -1.25, *POSITIVE]], sp.gammaln),
    ("log", [POSITIVE], np.log),
    ("log", [COMPLEX], np.log),
    ("log1p", [[-0.5, 1e-10, *POSITIVE]], np.log1p),
    ("logistic", [ANY], sp.expit),
    ("lt", [ANY, ANY[::-1]], np.less),
    ("max", [ANY, ANY[::-1]], np.maximum),
    ("min", [ANY, ANY[::-1]], np.minimum),
    ("mul", [ANY, ANY[::-1]], np.multiply),
    ("mul", [COMPLEX, COMPLEX[::-1]], np.multiply),
    ("ne", [ANY, ANY[::-1]], np.not_equal),
    ("neg", [ANY], np.negative),
    ("polygamma", [[0.0, 1.0, 2.0, 3.0, 5.0], POSITIVE], lambda n, x: sp.polygamma(n.astype(int), x)),
    ("pow", [POSITIVE, [-2.5, 0.0, 3.0, 0.5, 1.25]], np.power),
    ("pow", [[-2.0, -2.0, 0.0, -0.5], [3.0, -2.0, 0.0, 2.0]], np.power),
    ("real", [COMPLEX], np.real),
    ("rem", [ANY, [2.0] * 8], np.fmod),
    ("round", [ANY], lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5)),
    ("rsqrt", [POSITIVE], lambda x: x**-0.5),
    ("sign", [ANY], np.sign),
    ("sign", [COMPLEX], lambda z: z / np.abs(z)),
    ("sin", [ANY], np.sin),
    ("sinh", [ANY], np.sinh),
    ("sqrt", [POSITIVE], np.sqrt),
    ("sqrt", [COMPLEX], np.sqrt),
    ("square", [ANY], np.square),
    ("sub", [ANY, ANY[::-1]], np.subtract),
    ("tan", [ANY], np.tan),
    ("tanh", [ANY], np.tanh),
    ("tanh", [COMPLEX], np.tanh),
    ("zeta", [[1.5, 2.0, 3.0, 4.5, 10.0], POSITIVE], sp.zeta),
]


def agree(got, expected, tolerance=3e-13):
    for y, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        e = np.asarray(e)
        assert y.shape == e.shape
        assert (y.dtype == object) == np.issubdtype(e.dtype, np.inexact)
        np.testing.assert_allclose(y.astype(e.dtype), e, rtol=tolerance, atol=1e-300)


def single(x):
    return np.asarray(x, np.complex64 if np.iscomplexobj(x) else np.float32)


def double(x):
    return x.astype(np.complex128 if np.iscomplexobj(x) else np.float64)


@pytest.mark.parametrize(("name", "args", "reference"), TABLE, ids=[f"{i}-{row[0]}" for i, row in enumerate(TABLE)])
def test_elementwise(name, args, reference):
    """The arguments are rounded to single precision, but not the result; the reference has the same arguments."""
    args = list(map(single, args))
    with np.errstate(all="ignore"):
        expected = reference(*map(double, args))
    agree(exact.evaluate(getattr(lax, name))(*args), expected)


@pytest.mark.skipif(not hasattr(lax, "polynomial"), reason="from JAX 0.12 on")
def test_polynomial():
    """With a number, a column and a full array among the coefficients."""
    x, row = single(np.outer(ANY, [1, 2])), single(np.arange(8.0)[:, None])
    of_double = lambda x: 3 + x * double(row) + x**3 - 0.5 * x**3
    agree(exact.evaluate(lambda x: lax.polynomial(x, [3.0, row, x, -0.5]))(x), of_double(double(x)))


def test_fifty_digits():
    """Against independent definitions."""
    x = np.float32(0.3)
    with mpmath.workdps(70):
        t = mpmath.mpf(float(x))
        a = mpmath.mpf(1.5)
        references = {
            lax.erf: 2 / mpmath.sqrt(mpmath.pi) * mpmath.quad(lambda s: mpmath.exp(-s * s), [0, t]),
            lax.lgamma: mpmath.log(mpmath.quad(lambda s: s ** (t + 2) * mpmath.exp(-s), [0, 5, 20, 60, 200]))
            - mpmath.log(t * (t + 1) * (t + 2)),
            lax.bessel_i0e: mpmath.exp(-t)
            * mpmath.nsum(lambda k: (t / 2) ** (2 * k) / mpmath.fac(k) ** 2, [0, mpmath.inf]),
            lax.logistic: (1 + mpmath.tanh(t / 2)) / 2,
            lax.asinh: mpmath.log(t + mpmath.sqrt(t * t + 1)),
            (lambda x: lax.igamma(np.float32(1.5), x)): mpmath.quad(
                lambda s: 2 * s**2 * mpmath.exp(-s * s), [0, mpmath.sqrt(t)]
            )
            / mpmath.gamma(a),
        }
        for f, expected in references.items():
            assert abs(exact.evaluate(f, 50)(x)[()] / expected - 1) < mpmath.mpf(10) ** -50


def test_slopes_of_the_gamma_functions():
    """∂P/∂a against differences of SciPy's P in double precision; the sample's slope against quantiles."""
    a, x = single([0.7, 2.5, 4.0]), single([0.2, 3.0, 9.0])
    low, high, h = double(a) - 1e-4, double(a) + 1e-4, 1e-4
    slope = (sp.gammainc(high, double(x)) - sp.gammainc(low, double(x))) / (2 * h)
    agree(exact.evaluate(lax.igamma_grad_a, 20)(a, x), slope, 1e-6)
    p = sp.gammainc(double(a), double(x))
    quantile = (sp.gammaincinv(high, p) - sp.gammaincinv(low, p)) / (2 * h)
    agree(exact.evaluate(lax.random_gamma_grad, 20)(a, x), quantile, 1e-6)


def test_gamma_functions_of_large_arguments():
    """Against closed forms, where mpmath's recurrence or series would not end."""
    with mpmath.workdps(60):
        x = mpmath.mpf(-123456789.25)  # ψ′(x) = π²/sin² πx − ψ′(1 − x), and sin² is ½
        expected = 2 * mpmath.pi**2 - mpmath.psi(1, 1 - x)
        got = exact.evaluate(lax.polygamma, 50)(single(1.0), np.array(x, object))
        assert mpmath.almosteq(got[()], expected, mpmath.mpf(10) ** -49)
        got = exact.evaluate(lax.zeta, 50)(single(2.0), np.array(x, object))
        assert mpmath.almosteq(got[()], expected, mpmath.mpf(10) ** -49)
        for a, x, tail in (
            (1.0, 1e10, mpmath.exp(-mpmath.mpf(1e10))),
            (3.0, 1e4, mpmath.exp(-10000) * (1 + 10000 + mpmath.mpf(10000) ** 2 / 2)),
            (0.5, 90.25, mpmath.erfc(9.5)),
        ):
            above = exact.evaluate(lax.igammac, 50)(single(a), single(x))[()]
            assert mpmath.almosteq(above, tail, mpmath.mpf(10) ** -49)
            below = exact.evaluate(lax.igamma, 50)(single(a), single(x))[()]
            assert mpmath.almosteq(below, 1 - tail, mpmath.mpf(10) ** -49)
    assert np.isnan(float(exact.evaluate(lax.igammac, 50)(single(1e19), single(1e19))[()]))


@pytest.mark.parametrize("x", [-0.5, -9.446, -3.0001, -1e-6])
def test_polygamma_of_negative_numbers(x):
    """Against mpmath's recurrence."""
    x = single(x)
    for n in range(6):
        with mpmath.workdps(80):
            expected = mpmath.psi(n, mpmath.mpf(float(x)))
            got = exact.evaluate(lax.polygamma, 50)(single(n), x)[()]
            assert mpmath.almosteq(got, expected, mpmath.mpf(10) ** -48), n
    assert np.isnan(float(exact.evaluate(lax.zeta)(single(2.5), x)[()]))


def test_edges_are_ieee():
    """A real function is NaN outside its domain, and has its limit at a pole."""
    inf, nan = np.inf, np.nan
    table = [
        (lax.sqrt, [-1.0, inf, nan, -inf], [nan, inf, nan, nan]),
        (lax.log, [0.0, -1.0, inf], [-inf, nan, inf]),
        (lax.log1p, [-1.0, -2.0], [-inf, nan]),
        (lambda x: 1 / x, [0.0, inf, nan], [inf, 0, nan]),
        (lambda x: x / x, [0.0, inf], [nan, nan]),
        (lambda x: -1 / x, [0.0], [-inf]),
        (lax.rsqrt, [0.0, inf, -1.0], [inf, 0, nan]),
        (lax.lgamma, [0.0, -1.0, inf, -inf], [inf, inf, inf, inf]),
        (lax.digamma, [0.0, -1.0], [nan, nan]),
        (lax.erf_inv, [-1.0, 1.0, 2.0], [-inf, inf, nan]),
        (lax.atanh, [-1.0, 1.0, 2.0, inf], [-inf, inf, nan, nan]),
        (lax.acos, [2.0], [nan]),
        (lambda x: lax.igamma(x, single([0.2, 0.0, 0.2])), [0.0, 0.0, -1.0], [1, nan, nan]),
        (lambda x: lax.igammac(x, single([0.2, 0.0, 0.2])), [0.0, 2.0, 1e-30], [0, 1, 0]),
        (lambda x: lax.cumlogsumexp(x), [-inf, -inf, 1.0], [-inf, -inf, 1]),
        (lax.exp, [inf, -inf, nan], [inf, 0, nan]),
        (lax.tanh, [inf, -inf], [1, -1]),
        (lax.sin, [inf], [nan]),
        (lax.bessel_i0e, [inf, -inf], [0, 0]),
        (lambda x: lax.pow(x, single([-1.0, 0.0, 2.0, 0.5])), [0.0, 0.0, -inf, -1.0], [inf, 1, inf, nan]),
        (lambda x: lax.pow(x, single([inf, -inf, 3.0, inf])), [2.0, 0.5, -inf, -1.0], [inf, inf, -inf, 1]),
        (lambda x: lax.max(x, single([nan, 1.0])), [1.0, nan], [nan, nan]),
        (lambda x: lax.rem(x, single([0.0, inf])), [1.0, -2.0], [nan, -2]),
        (jnp.floor, [inf, nan], [inf, nan]),
        (lax.sign, [nan, -inf], [nan, -1]),
    ]
    for f, x, expected in table:
        y = exact.evaluate(f)(single(x))
        np.testing.assert_allclose(y.astype(float), np.asarray(expected, float), atol=1e-29)


def test_nothing_is_rounded():
    """Neither by sums nor by conversions between dtypes: 1 + 2⁻¹⁰⁰ is not 1."""
    tiny = np.float32(2.0**-100)
    small = lambda x: ((1 + x).astype(jnp.bfloat16).astype(jnp.float32) - 1).astype(jnp.float16)
    assert exact.evaluate(small)(tiny)[()] == mpmath.mpf(2) ** -100
    assert exact.evaluate(lambda x: lax.reduce_precision(1 + x, 8, 7) - 1)(tiny)[()] == mpmath.mpf(2) ** -100
    assert exact.evaluate(lambda x: jnp.exp(x) - 1, 60)(tiny)[()] > 0
    assert exact.evaluate(lambda x: x * np.float32(0.1))(np.float32(1))[()] == mpmath.mpf(float(np.float32(0.1)))


def test_conversion_to_integers_truncates():
    x = single([-1.7, 1.7, np.nan, 1e20, -np.inf])
    np.testing.assert_array_equal(
        exact.evaluate(lambda x: x.astype(jnp.int8))(x), np.array([-1, 1, 0, 127, -128], np.int8)
    )
    assert exact.evaluate(lambda x: x.astype(bool))(single([0.0, 0.5])).tolist() == [False, True]
    assert exact.evaluate(lambda n: n.astype(jnp.float32))(np.int32(2**24 + 1))[()] == 2**24 + 1


def test_arguments_of_more_digits():
    """Object arrays are not rounded, and the result has as many digits."""
    with mpmath.workdps(60):
        third = mpmath.mpf(1) / 3
        y = exact.evaluate(lambda x: x * 3)(np.array([third], object))
        assert isinstance(y[0], mpmath.mpf)
        assert abs(y[0] - 1) < mpmath.mpf(10) ** -59
        z = exact.evaluate(lambda z: z * z)(np.array(mpmath.mpc(0, third), object))
        assert isinstance(z[()], mpmath.mpc)
        assert abs(9 * z[()] + 1) < mpmath.mpf(10) ** -58


def test_the_users_precision_is_not_changed():
    before = mpmath.mp.prec
    exact.derivative(jnp.sin)(np.float32(1))
    assert mpmath.mp.prec == before


# JAX differentiates these, but they are not defined here: primitives that need a mesh or a mutable array; an
# approximation without a defined value; a sampler whose derivative is not that of its values.
WITHOUT = {
    *("all_gather", "all_to_all", "ppermute", "psum", "ragged_all_to_all"),
    *("get", "swap"),
    "approx_top_k",
    "random_gamma",
}
# Primitives of integers, bits and keys only, which JAX evaluates.
OF_BITS = {
    *("and", "or", "not", "xor", "shift_left", "shift_right_arithmetic", "shift_right_logical"),
    *("random_bits", "random_fold_in", "random_seed", "random_split"),
}


def test_every_differentiable_primitive_is_defined():
    public = {
        getattr(jax.extend.core.primitives, name) for name in dir(jax.extend.core.primitives) if name[-2:] == "_p"
    }
    differentiable = {primitive.name for primitive in public if jx.has_derivative(primitive)}
    defined = {*interpreter.RULES, *interpreter.FLOW}
    assert differentiable - defined == WITHOUT | OF_BITS
    assert {"custom_vmap_call", "optimization_barrier", "scatter-sub", "split", "stack", "tile", "unstack"} <= defined


def test_an_unknown_parameter_is_named_with_its_line(monkeypatch):
    """A newer version of JAX may add a parameter to a primitive."""
    unknown = lambda eqn: ("way", 2) if eqn.primitive.name == "rev" else None
    monkeypatch.setattr(interpreter.jx, "unknown_parameter", unknown)
    with pytest.raises(exact.UnknownPrimitive, match=r"rev with way=2, at .*test_primitives.py:\d+") as error:
        exact.evaluate(lambda x: jax.jit(jnp.flip)(x) * 2)(np.ones(2, np.float32))
    assert (error.value.primitive, error.value.setting) == ("rev", "way=2")


def test_an_undefined_primitive_is_named_with_its_line():
    key = jax.random.key(0)
    with pytest.raises(exact.UnknownPrimitive, match=r"random_gamma, at .*test_primitives.py:\d+"):
        exact.evaluate(lambda a: jax.random.gamma(key, a))(np.float32(2))
    with pytest.raises(NotImplementedError, match="pure_callback"):
        exact.evaluate(lambda x: jax.pure_callback(np.sin, x, x))(np.float32(2))
