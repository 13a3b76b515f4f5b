"""Special functions by mpmath, with their limits at poles and their domains as lax has them.

Functions of the context and real entries; what they raise counts as NaN.
"""


def log_gamma(mp, x):
    """log |Γ(x)|, +∞ at the poles."""
    return mp.inf if mp.isinf(x) or (x <= 0 and mp.isint(x)) else mp.loggamma(x).real


def digamma(mp, x):
    return mp.psi(0, x)


def polygamma(mp, n, x):
    """ψ⁽ⁿ⁾(x) for whole n ≥ 0."""
    if not (mp.isint(n) and n >= 0):
        return mp.nan
    if x <= 0 and mp.isint(x):
        return mp.inf if n % 2 else mp.nan
    return mp.psi(int(n), x)


def zeta(mp, s, q):
    """Hurwitz's ζ(s, q) = Σ (k + q)⁻ˢ for s > 1; +∞ at the poles of even s."""
    if s < 1:
        return mp.nan
    if q <= 0 and mp.isint(q):
        return mp.inf if mp.isint(s) and s % 2 == 0 else mp.nan
    return mp.zeta(s, q)


def erf_inv(mp, x):
    return mp.nan if abs(x) > 1 else mp.erfinv(x)


def gamma_below(mp, a, x):
    """P(a, x) = ∫₀ˣ tᵃ⁻¹ e⁻ᵗ dt / Γ(a) for a > 0, x ≥ 0; its limit 1 for a = 0."""
    if a == 0 and x > 0:
        return mp.one
    return mp.gammainc(a, 0, x, regularized=True) if a > 0 and x >= 0 else mp.nan


def gamma_above(mp, a, x):
    """1 − P(a, x)."""
    if a == 0 and x > 0:
        return mp.zero
    return mp.gammainc(a, x, mp.inf, regularized=True) if a > 0 and x >= 0 else mp.nan


def gamma_below_slope(mp, a, x):
    """∂P/∂a, numerically in more digits; from the smaller one of P and 1 − P."""
    if not (a > 0 and x >= 0):
        return mp.nan
    if x == 0 or mp.isinf(x):
        return mp.zero
    return -mp.diff(lambda a: gamma_above(mp, a, x), a) if x > a else mp.diff(lambda a: gamma_below(mp, a, x), a)


def gamma_sample_slope(mp, a, x):
    """dx/da at constant P(a, x): −∂P/∂a / ∂P/∂x with ∂P/∂x = xᵃ⁻¹ e⁻ˣ / Γ(a)."""
    if x == 0:
        return mp.zero
    return -gamma_below_slope(mp, a, x) * mp.exp(x + mp.loggamma(a) - (a - 1) * mp.log(x))


def beta_below(mp, a, b, x):
    """Iₓ(a, b) = ∫₀ˣ tᵃ⁻¹ (1 − t)ᵇ⁻¹ dt / B(a, b) for a, b > 0, 0 ≤ x ≤ 1."""
    return mp.betainc(a, b, 0, x, regularized=True) if a > 0 and b > 0 and 0 <= x <= 1 else mp.nan


def scaled_bessel_i(n):
    """Iₙ(x) e^−|x|"""
    return lambda mp, x: mp.zero if mp.isinf(x) else mp.besseli(n, x) * mp.exp(-abs(x))


OF_ONE = {
    "lgamma": log_gamma,
    "digamma": digamma,
    "erf_inv": erf_inv,
    "bessel_i0e": scaled_bessel_i(0),
    "bessel_i1e": scaled_bessel_i(1),
}
OF_MANY = {
    "polygamma": polygamma,
    "zeta": zeta,
    "igamma": gamma_below,
    "igammac": gamma_above,
    "igamma_grad_a": gamma_below_slope,
    "random_gamma_grad": gamma_sample_slope,
    "regularized_incomplete_beta": beta_below,
}

# A call of one of these takes from milliseconds to a second at a thousand digits.
SLOW = {*OF_MANY, "lgamma", "digamma", "erf_inv"}
