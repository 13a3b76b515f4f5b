"""Findings *wrong* and *non-finite* of the audit on published functions, each confirmed by mpmath.

    python -m benchmarks.audit_functions.confirmed

jaxdl is not used: JAX's derivative comes from `jax.grad`, the exact one from a formula written out here.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import optax

from jaxdl.report import Table

special, distributions = jax.scipy.special, jax.scipy.stats
bernoulli, truncnorm = distributions.bernoulli, distributions.truncnorm


class Claim(NamedTuple):
    """A derivative of `f`, `orders` times in each argument, at float32 numbers; `truth` computes it in mpmath."""

    name: str
    f: Callable
    point: tuple
    orders: tuple
    truth: Callable

    def row(self) -> tuple[str, ...]:
        """Function, point, derivative, JAX's value, JAX's derivative, and the exact derivative."""
        at = [jnp.float32(x) for x in self.point]
        exactly = [mp.mpf(float(x)) for x in at]
        g = self.f
        for place, order in enumerate(self.orders):
            for _ in range(order):
                g = jax.grad(g, place)
        variables = "xyz"[: len(at)]
        total = sum(self.orders)
        parts = "".join(f"∂{v}{'²' if o == 2 else ''}" for v, o in zip(variables, self.orders, strict=True) if o)
        point = ", ".join(f"{float(x):.9g}" for x in at)
        return (self.name, point, f"∂{'²' if total == 2 else ''}/{parts}", _said(self.f(*at)), _said(g(*at)),
                mp.nstr(mp.re(self.truth(*exactly)), 9))  # fmt: skip


def _said(x):
    return f"{float(np.asarray(x)):.9g}"


def harmonic(polar):
    """Re Y₂¹(θ, 0.3) = −√(15/8π) sin θ cos θ cos 0.3"""
    degree, order, azimuth = jnp.array([2]), jnp.array([1]), jnp.float32([0.3])
    return special.sph_harm_y(degree, order, polar[None], azimuth, n_max=2)[0].real


def factor(t):
    """The entry of L in the factors of [[t, 0], [1, 2]], whose rows are swapped: t / 1"""
    return jax.lax.linalg.lu(jnp.array([[0.0, 0.0], [1.0, 2.0]]).at[0, 0].set(t))[0][1, 0]


def solution(t):
    """The first number of the least squares solution for a matrix of zeros but for 1 + t: 1 / (1 + t)"""
    return jnp.linalg.lstsq(jnp.zeros((3, 3)).at[0, 0].set(1 + t), jnp.ones(3))[0][0]


def bessel(x):
    """J₂(x)"""
    return special.bessel_jn(x[None], v=2)[2, 0]


def solved(b):
    """x of x = b, in float16"""
    one = jnp.eye(1, dtype=jnp.float16)
    return jax.scipy.sparse.linalg.bicgstab(one, b[None].astype(jnp.float16))[0][0]


def standardized(t):
    """The first of (t, 0, 0, 0) standardized in float16, with ε = 1e-5"""
    return jax.nn.standardize(jnp.zeros(4, jnp.float16).at[0].set(t.astype(jnp.float16)))[0]


def of_small(f):
    """f of (t, 2⁻⁹) and (2⁻⁹, −2⁻¹⁰), in float16"""
    vector = lambda t: jnp.array([0, 2**-9], jnp.float16).at[0].set(t.astype(jnp.float16))
    return lambda t: f(vector(t), jnp.array([2**-9, -(2**-10)], jnp.float16))


def cosine(t):
    """Cosine of the angle between the two vectors of `of_small`"""
    p, q = mp.mpf(2) ** -9, mp.mpf(2) ** -10
    return (t * p - p * q) / mp.sqrt((t * t + p * p) * (p * p + q * q))


def two_of_a_simplex(x, y):
    """The density of Dirichlet(1, 1), which is 0 outside the simplex x + y = 1"""
    return distributions.dirichlet.pdf(jnp.stack([x, y]), jnp.ones(2))


def two_kinds(pmf):
    """The probability that two draws are both of the second kind: y², independent of x"""
    return lambda x, y: pmf(jnp.array([0, 2]), 2, jnp.stack([x, y]))


def mass(a, b):
    """P(a < X < b) of a normal X"""
    return mp.ncdf(b) - mp.ncdf(a)


def log_ratio_slope(x):
    """φ(x) / Φ(x), the derivative of log Φ"""
    return mp.npdf(x) / mp.ncdf(x)


CLAIMS = (
    # exp(|x|) i0e(x): |x|′ is 1 at 0 in one factor, sign(0) = 0 in the other
    Claim("jax.scipy.special.i0", special.i0, (0.0,), (1,), lambda x: mp.besseli(1, x)),
    Claim("jax.scipy.special.i0", special.i0, (0.0,), (2,), lambda x: mp.besseli(0, x) / 2),
    Claim("jax.scipy.special.i1", special.i1, (0.0,), (2,), lambda x: mp.mpf(0)),
    Claim("jax.scipy.special.i1", special.i1, (-1.1920929e-07,), (2,), lambda x: mp.besseli(1, x, 2)),
    # its rule returns 0 at 0, so that the derivative of the rule is 0 there
    Claim("jax.numpy.i0", jnp.i0, (0.0,), (2,), lambda x: mp.besseli(0, x) / 2),
    # its rule returns ½ for |x| ≤ ε, so that the derivative of the rule is 0 there
    Claim("jax.scipy.special.i1e", special.i1e, (-1.1920929e-07,), (2,),
          lambda x: mp.diff(lambda t: mp.exp(t) * mp.besseli(1, t), x, 2)),
    # sin(πx)/(πx), the quotient rule where x² is 0 in float32
    Claim("jax.numpy.sinc", jnp.sinc, (1e-20,), (1,), lambda x: mp.diff(mp.sincpi, x)),
    Claim("jax.numpy.sinc", jnp.sinc, (1e-17,), (2,), lambda x: -(mp.pi**2) / 3),
    # minimum and maximum split the derivative at a tie: right at first order only
    Claim("jax.scipy.special.betaln", special.betaln, (2.0, 2.0), (2, 0), lambda a, b: mp.psi(1, a) - mp.psi(1, a + b)),
    Claim("jax.scipy.special.betaln", special.betaln, (2.0, 2.0), (1, 1), lambda a, b: -mp.psi(1, a + b)),
    # a branch not taken is NaN for a + b < 0
    Claim("jax.scipy.special.betaln", special.betaln, (-1.45041704, -0.231938332), (1, 0),
          lambda a, b: mp.psi(0, a) - mp.psi(0, a + b)),
    Claim("jax.scipy.special.beta", special.beta, (0.3, -0.9), (1, 0),
          lambda a, b: mp.beta(a, b) * (mp.psi(0, a) - mp.psi(0, a + b))),
    # log x is selected for λ = 0, and differentiated as if it held for all λ
    Claim("jax.scipy.special.boxcox", special.boxcox, (2.0, 0.0), (0, 1), lambda x, _: mp.log(x) ** 2 / 2),
    Claim("jax.scipy.special.boxcox", special.boxcox, (2.0, 0.0), (1, 1), lambda x, _: mp.log(x) / x),
    Claim("jax.scipy.special.boxcox", special.boxcox, (2.0, 1e-30), (0, 1), lambda x, _: mp.log(x) ** 2 / 2),
    Claim("jax.scipy.special.boxcox1p", special.boxcox1p, (2.0, 0.0), (0, 1), lambda x, _: mp.log1p(x) ** 2 / 2),
    Claim("jax.scipy.special.boxcox1p", special.boxcox1p, (-1.0, 3.0), (1, 0), lambda x, k: (1 + x) ** (k - 1)),
    Claim("jax.scipy.special.boxcox1p", special.boxcox1p, (-1.0, 0.75), (0, 1), lambda x, k: 1 / k**2),
    Claim("jax.scipy.special.boxcox", special.boxcox, (0.0, 2.0), (1, 0), lambda x, k: x ** (k - 1)),
    # zeta(2, x) by its asymptotic series at x + 9, which is not large below −9
    Claim("jax.scipy.special.digamma", special.digamma, (-9.44613266,), (1,), lambda x: mp.psi(1, x)),
    Claim("jax.scipy.special.digamma", special.digamma, (-9.99999905,), (1,), lambda x: mp.psi(1, x)),
    # a branch not taken is NaN
    Claim("jax.scipy.special.factorial", special.factorial, (-1.0,), (1,), lambda x: mp.mpf(0)),
    Claim("jax.nn.log1mexp", jax.nn.log1mexp, (100.0,), (2,), lambda x: -mp.exp(x) / mp.expm1(x) ** 2),
    Claim("jax.scipy.special.poch", special.poch, (0.0, 0.0), (1, 0), lambda z, m: mp.diff(lambda t: mp.rf(t, 0), z)),
    # 0/0 where the count times the logarithm is 0
    Claim("jax.scipy.special.xlogy", special.xlogy, (0.0, 0.0), (0, 1), lambda x, y: mp.mpf(0)),
    Claim("jax.scipy.stats.bernoulli.pmf", bernoulli.pmf, (0.0, 0.0), (0, 1), lambda k, p: mp.mpf(-1)),
    Claim("jax.scipy.stats.bernoulli.logpmf", bernoulli.logpmf, (0.0, 0.0), (0, 1), lambda k, p: -1 / (1 - p)),
    Claim("jax.scipy.stats.binom.pmf", distributions.binom.pmf, (0.0, 2.0, 0.0), (0, 0, 1),
          lambda k, n, p: -n * (1 - p) ** (n - 1)),
    Claim("jax.scipy.stats.binom.logpmf", distributions.binom.logpmf, (0.0, 2.0, 0.0), (0, 0, 1),
          lambda k, n, p: -n / (1 - p)),
    Claim("jax.scipy.stats.poisson.pmf", distributions.poisson.pmf, (0.0, 0.0), (0, 1), lambda k, m: -mp.exp(-m)),
    Claim("jax.scipy.stats.poisson.logpmf", distributions.poisson.logpmf, (0.0, 0.0), (0, 1), lambda k, m: mp.mpf(-1)),
    Claim("jax.scipy.stats.nbinom.pmf", distributions.nbinom.pmf, (0.0, 2.0, 1.0), (0, 0, 1),
          lambda k, n, p: n * p ** (n - 1)),
    Claim("jax.scipy.stats.geom.pmf", distributions.geom.pmf, (1.0, 1.0), (0, 1), lambda k, p: mp.mpf(1)),
    Claim("jax.scipy.stats.gamma.pdf", distributions.gamma.pdf, (0.0, 1.0), (1, 0), lambda x, a: -mp.exp(-x)),
    Claim("jax.scipy.stats.gumbel_r.logsf", distributions.gumbel_r.logsf, (-88.7228394,), (1,),
          lambda x: mp.mpf(float(mp.exp(-x - mp.exp(-x)) / mp.expm1(-mp.exp(-x))))),  # 0 but for 10³⁷ digits
    Claim("jax.scipy.stats.gumbel_r.pdf", distributions.gumbel_r.pdf, (-88.7228394,), (1,),
          lambda x: mp.mpf(float(mp.exp(-x - mp.exp(-x)) * mp.expm1(-x)))),
    Claim("jax.scipy.stats.gumbel_l.pdf", distributions.gumbel_l.pdf, (88.7228394,), (1,),
          lambda x: mp.mpf(float(-mp.exp(x - mp.exp(x)) * mp.expm1(x)))),
    Claim("jax.scipy.stats.dirichlet.pdf", two_of_a_simplex, (0.0, 0.5), (1, 0), lambda x, y: mp.mpf(0)),
    Claim("jax.scipy.stats.multinomial.pmf", two_kinds(distributions.multinomial.pmf), (0.0, 0.5), (1, 0),
          lambda x, y: mp.diff(lambda t: t**0 * y**2, x)),
    Claim("jax.scipy.stats.multinomial.logpmf", two_kinds(distributions.multinomial.logpmf), (0.0, 0.5), (1, 0),
          lambda x, y: mp.diff(lambda t: mp.log(t**0 * y**2), x)),
    # p log p of a p that has underflowed: ∞ · 0. Of the mean m it is E log(K + 1) − log m, K of Poisson(m)
    Claim("jax.scipy.stats.poisson.entropy", distributions.poisson.entropy, (500.0,), (1,),
          lambda m: mp.fsum(mp.exp(k * mp.log(m) - m - mp.loggamma(k + 1)) * mp.log(k + 1) for k in range(2000))
          - mp.log(m)),
    # the branch for intervals around 0, log(1 − Φ(6) − Φ(−20)), is not selected for (6, 20), and is log 0
    Claim("jax.scipy.stats.truncnorm.cdf", truncnorm.cdf, (6.0, -20.0, 20.0), (1, 0, 0),
          lambda x, a, b: mp.npdf(x) / mass(a, b)),
    Claim("jax.scipy.stats.truncnorm.logcdf", truncnorm.logcdf, (6.0, -20.0, 20.0), (1, 0, 0),
          lambda x, a, b: mp.npdf(x) / mass(a, x)),
    Claim("jax.scipy.stats.truncnorm.sf", truncnorm.sf, (6.0, -20.0, 20.0), (1, 0, 0),
          lambda x, a, b: -mp.npdf(x) / mass(a, b)),
    Claim("jax.scipy.stats.truncnorm.logsf", truncnorm.logsf, (6.0, -20.0, 20.0), (1, 0, 0),
          lambda x, a, b: -mp.npdf(x) / mass(x, b)),
    # as betaln: a tie, and the branch not taken
    Claim("jax.scipy.stats.beta.logpdf", distributions.beta.logpdf, (0.25, 1.0, 1.0), (0, 2, 0),
          lambda x, a, b: mp.psi(1, a + b) - mp.psi(1, a)),
    Claim("jax.scipy.stats.beta.pdf", distributions.beta.pdf, (0.25, 1.0, 1.0), (0, 2, 0),
          lambda x, a, b: mp.diff(lambda a: x ** (a - 1) * (1 - x) ** (b - 1) / mp.beta(a, b), a, 2)),
    Claim("jax.scipy.stats.beta.logpdf", distributions.beta.logpdf, (1.1920929e-07,) * 3, (0, 1, 0),
          lambda x, a, b: mp.log(x) - mp.psi(0, a) + mp.psi(0, a + b)),
    Claim("jax.scipy.stats.beta.pdf", distributions.beta.pdf, (2.0, 1.0, 1.0), (0, 0, 1), lambda x, a, b: mp.mpf(0)),
    # from the right, as it is not defined on the left: ∂P/∂a of a small a is −E₁(x)
    Claim("jax.scipy.special.gammainc", special.gammainc, (0.0, 3.0), (1, 0), lambda a, x: -mp.e1(x)),
    Claim("jax.scipy.special.gammainc", special.gammainc, (1.0, 0.0), (0, 1), lambda a, x: mp.exp(-x)),
    Claim("jax.scipy.special.gammaincc", special.gammaincc, (0.0, 0.5), (1, 0), lambda a, x: mp.e1(x)),
    Claim("jax.scipy.special.gammaincc", special.gammaincc, (1.0, 0.0), (0, 1), lambda a, x: -mp.exp(-x)),
    # the rule is −Eₙ₋₁(x), and E₋₁ is NaN
    Claim("jax.scipy.special.expn(0, x)", lambda x: special.expn(0, x), (1.0,), (1,), lambda x: -mp.expint(-1, x)),
    # √(1 − cos² θ)
    Claim("jax.scipy.special.sph_harm_y(2, 1)", harmonic, (1e-4,), (1,),
          lambda t: -mp.sqrt(15 / (8 * mp.pi)) * mp.cos(2 * t) * mp.cos(np.float32(0.3).item())),
    # the value is NaN already
    Claim("jax.scipy.special.bessel_jn(v=2)", bessel, (1.0,), (1,), lambda x: mp.besselj(2, x, 1)),
    # divided by the last pivot, which is 0
    Claim("jax.lax.linalg.lu", factor, (0.0,), (1,), lambda t: mp.diff(lambda t: t / 1, t)),
    # singular values that are equal: both are 0
    Claim("jax.numpy.linalg.lstsq", solution, (0.0,), (1,), lambda t: -1 / (1 + t) ** 2),
    # exp(−x) of the branch that is not taken is infinite
    Claim("jax.scipy.stats.expon.cdf", distributions.expon.cdf, (-90.0,), (1,), lambda x: mp.mpf(0)),
    # sech² · ∞
    Claim("jax.nn.gelu", jax.nn.gelu, (-1e20,), (1,), lambda x: mp.mpf(0)),
    # ε^(−3/2) is infinite in float16, and 1e-3² nearly 0
    Claim("jax.nn.standardize, float16", standardized, (0.0,), (1,), lambda t: 0.75 / mp.sqrt(mp.mpf("1e-5"))),
    Claim("optax.losses.cosine_similarity, float16", of_small(optax.losses.cosine_similarity), (2**-10,), (1,),
          lambda t: mp.diff(cosine, t)),
    Claim("optax.losses.cosine_distance, float16", of_small(optax.losses.cosine_distance), (2**-10,), (1,),
          lambda t: -mp.diff(cosine, t)),
    # half of the derivative at each of two ties, but the function is constant
    Claim("optax.projections.projection_box", optax.projections.projection_box, (-1.0, -1.0, -1.0), (1, 0, 0),
          lambda x, lower, upper: mp.diff(lambda x: min(max(x, lower), upper), x)),
    # the solve in the backward pass breaks down
    Claim("jax.scipy.sparse.linalg.bicgstab, float16", solved, (0.0,), (1,), lambda b: mp.mpf(1)),
    Claim("jax.scipy.special.log_ndtr", special.log_ndtr, (-22011.9512,), (1,), log_ratio_slope),
)  # fmt: skip


def print_table(claims: Sequence[Claim]) -> None:
    """Print the claims in Markdown."""
    mp.mp.dps = 60
    columns = "function", "at", "derivative", "value of the function", "derivative by JAX", "mpmath"
    print(Table("", columns, [claim.row() for claim in claims], words=3).markdown())


if __name__ == "__main__":
    print_table(CLAIMS)
