"""Splines, quadrature, polynomials, named axes."""

import jax.numpy as jnp

from benchmarks.libraries.entry import function_of

KNOTS = jnp.array([0.0, 0.5, 1.1, 1.8, 2.4, 3.0])
AT = jnp.array([0.2, 0.9, 2.0, 2.9])


def interpolated(method):
    import interpax

    return lambda values, at: interpax.interp1d(at, KNOTS, values, method=method), (jnp.sin(KNOTS), AT)


@function_of("interpax")
def cubic():
    return interpolated("cubic")


@function_of("interpax")
def natural_cubic_spline():
    return interpolated("cubic2")


@function_of("interpax")
def monotonic():
    return interpolated("monotonic")


@function_of("interpax")
def akima():
    return interpolated("akima")


@function_of("interpax")
def surface():
    import interpax

    f = lambda values, x, y: interpax.interp2d(x, y, KNOTS, KNOTS, values, method="cubic")
    return f, (jnp.sin(KNOTS)[:, None] * jnp.cos(KNOTS), AT, AT[::-1])


@function_of("interpax")
def fourier():
    import interpax

    return lambda values: interpax.fft_interp1d(values, 10), (jnp.sin(KNOTS),)


@function_of("interpax")
def polynomial_pieces():
    import interpax

    f = lambda values: interpax.CubicSpline(KNOTS, values, bc_type="natural", check=False)(AT)
    return f, (jnp.sin(KNOTS),)


def integral(rule, **settings):
    """∫ exp(−p x) sin x from 0 to b, in p and b."""
    import quadax

    f = lambda p, b: getattr(quadax, rule)(
        lambda x, p: jnp.exp(-p * x) * jnp.sin(x), jnp.array([0.0, 1.0]) * b, args=(p,), **settings
    )[0]
    return f, (jnp.float32(0.7), jnp.float32(2.0))


@function_of("quadax")
def adaptive_gauss_kronrod():
    return integral("quadgk", epsabs=1e-4, epsrel=1e-4, order=15)


@function_of("quadax")
def adaptive_clenshaw_curtis():
    return integral("quadcc", epsabs=1e-4, epsrel=1e-4, order=32)


@function_of("quadax")
def tanh_sinh():
    return integral("quadts", epsabs=1e-4, epsrel=1e-4, order=41)


@function_of("quadax")
def romberg():
    return integral("romberg", epsabs=1e-4, epsrel=1e-4, divmax=6)


@function_of("quadax")
def simpson_of_samples():
    import quadax

    return lambda y: (quadax.simpson(y, x=KNOTS), quadax.cumulative_trapezoid(y, x=KNOTS)), (jnp.sin(KNOTS),)


@function_of("orthax")
def legendre_series():
    import orthax

    f = lambda c, x: orthax.legendre.legval(x, c)
    return f, (jnp.array([0.3, -0.5, 1.0, 0.2]), AT / 3)


@function_of("orthax")
def chebyshev_products_and_derivatives():
    import orthax

    f = lambda a, b: orthax.chebyshev.chebder(orthax.chebyshev.chebmul(a, b))
    return f, (jnp.array([0.3, -0.5, 1.0]), jnp.array([0.1, 0.4]))


@function_of("orthax")
def roots_of_a_polynomial():
    import orthax

    f = lambda c: jnp.abs(orthax.polynomial.polyroots(c))
    return f, (jnp.array([-6.0, 11.0, -6.0, 1.0]),)


@function_of("orthax")
def hermite_fit():
    import orthax

    return lambda y: orthax.hermite.hermfit(KNOTS, y, 2), (jnp.sin(KNOTS),)


@function_of("coordax")
def field_with_named_axes():
    import coordax as cx

    def f(x, y):
        a, b = cx.field(x, "lat", "lon"), cx.field(y, "lon")
        return (cx.cmap(jnp.tanh)(a * b) + a).data

    return f, (jnp.sin(jnp.arange(6.0)).reshape(2, 3), jnp.array([0.5, 1.0, -1.0]))


@function_of("coordax")
def mapped_over_coordinates():
    import coordax as cx

    def f(x):
        mean = cx.cmap(lambda row: row - jnp.mean(row) * jnp.cumsum(row))
        return mean(cx.field(x, "lat", "lon").untag("lon")).tag("lon").data

    return f, (jnp.sin(jnp.arange(6.0)).reshape(2, 3),)
