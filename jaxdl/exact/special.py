"""Special functions by mpmath, with the limits at poles and the domains of lax.

They are functions of the context and real numbers. An error counts as NaN.
"""

from collections.abc import Callable
from typing import Any

from jaxdl.exact.types import Context, Number, Rules


def log_gamma(mp: Context, x: Number) -> Number:
    """log |Γ(x)|, +∞ at the poles."""
    return mp.inf if mp.isinf(x) or (x <= 0 and mp.isint(x)) else mp.loggamma(x).real


def digamma(mp: Context, x: Number) -> Number:
    return mp.psi(0, x)


def polygamma(mp: Context, n: Number, x: Number) -> Number:
    """ψ⁽ⁿ⁾(x) for integers n ≥ 0."""
    if not (mp.isint(n) and n >= 0):
        return mp.nan
    if x <= 0 and mp.isint(x):
        return mp.inf if n % 2 else mp.nan
    return reflected_polygamma(mp, int(n), x) if x < 0 else mp.psi(int(n), x)


def polynomial(mp: Context, x: Number, *coefficients: Number) -> Number:
    """c₀ + c₁ x + c₂ x² + …, by Horner's rule."""
    y = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        y = y * x + c
    return y


def reflected_polygamma(mp: Context, n: int, x: Number) -> Number:
    """(−1)ⁿ ψ⁽ⁿ⁾(1 − x) − π dⁿ/dxⁿ cot πx; mpmath's recurrence from x up to 0 would be slow.

    The derivatives are polynomials in c = cot πx, as c′ = −π (1 + c²).
    """
    if not mp.isfinite(x):
        return mp.nan
    remainder = x - mp.nint(x)  # without rounding
    with mp.workprec(mp.prec + 10 * (n + 1)):
        coefficients = [mp.zero, mp.one]
        for _ in range(n):
            slope = [k * p for k, p in enumerate(coefficients)][1:]
            coefficients = [a + b for a, b in zip([*slope, 0, 0], [0, 0, *slope], strict=True)]
        derivative = (-mp.pi) ** n * polynomial(mp, mp.cot(mp.pi * remainder), *coefficients)
        return (-1) ** n * mp.psi(n, 1 - x) - mp.pi * derivative


def zeta(mp: Context, s: Number, q: Number) -> Number:
    """The Hurwitz zeta function ζ(s, q) = Σ (k + q)⁻ˢ for s > 1; for q ≤ 0 only integer s, +∞ at poles of even s."""
    if s < 1:
        return mp.nan
    if q > 0:
        return mp.zeta(s, q)
    if s == 1 or not mp.isint(s):
        return mp.nan
    if mp.isint(q):
        return mp.inf if s % 2 == 0 else mp.nan
    return (-1) ** int(s) * polygamma(mp, s - 1, q) / mp.factorial(s - 1)


def erf_inv(mp: Context, x: Number) -> Number:
    return mp.nan if abs(x) > 1 else mp.erfinv(x)


def gamma_below(mp: Context, a: Number, x: Number) -> Number:
    """P(a, x) = ∫₀ˣ tᵃ⁻¹ e⁻ᵗ dt / Γ(a) for a > 0, x ≥ 0; its limit 1 for a = 0."""
    at_edge = gamma_at_edge(mp, a, x)
    if at_edge is not None:
        return at_edge
    return 1 - far_above(mp, a, x) if is_far(mp, a, x) else near_below(mp, a, x)


def gamma_above(mp: Context, a: Number, x: Number) -> Number:
    """1 − P(a, x)."""
    at_edge = gamma_at_edge(mp, a, x)
    if at_edge is not None:
        return 1 - at_edge
    if is_far(mp, a, x):
        return far_above(mp, a, x)
    lost = max(0, -mp.mag(a)) + (int(1.5 * x) if x > a else 0)  # bits: P is that close to 1
    with mp.workprec(mp.prec + lost + 40):
        return 1 - near_below(mp, a, x)


def gamma_at_edge(mp: Context, a: Number, x: Number) -> Number | None:
    """P where it is 0, 1 or NaN; None elsewhere."""
    if not (a >= 0 and x >= 0) or a == x == 0 or a == x == mp.inf:
        return mp.nan
    if a == 0 or x == mp.inf:
        return mp.one
    return mp.zero if x == 0 or a == mp.inf else None


def is_far(mp: Context, a: Number, x: Number) -> bool:
    """Whether a series in 1/x, whose terms decrease down to e⁻ˣ, gives all digits."""
    return x > max(a, mp.prec)


def near_below(mp: Context, a: Number, x: Number) -> Number:
    """P = xᵃ e⁻ˣ / Γ(a + 1) · Σ xᵏ / (a + 1) … (a + k)"""
    return gamma_density(mp, a, x) / a * summed(mp, lambda k: x / (a + k))


def far_above(mp: Context, a: Number, x: Number) -> Number:
    """1 − P = xᵃ⁻¹ e⁻ˣ / Γ(a) · Σ (a − 1) … (a − k) / xᵏ"""
    return gamma_density(mp, a, x) / x * summed(mp, lambda k: (a - k) / x)


def gamma_density(mp: Context, a: Number, x: Number) -> Number:
    """xᵃ e⁻ˣ / Γ(a)"""
    with mp.workprec(mp.prec + max(0, mp.mag(a), mp.mag(x)) + 20):
        return mp.exp(a * mp.log(x) - x - mp.loggamma(a))


def summed(mp: Context, ratio: Callable[..., Any]) -> Number:
    """1 + Σ of terms, each ratio(k) times the previous one; NaN if they do not become small soon."""
    total = term = mp.one
    for k in range(1, 20 * mp.prec):
        term *= ratio(k)
        total += term
        if mp.mag(term) < mp.mag(total) - mp.prec:
            return total
    return mp.nan


def gamma_below_slope(mp: Context, a: Number, x: Number) -> Number:
    """∂P/∂a, numerically with more digits, from the smaller of P and 1 − P."""
    if not (a > 0 and x >= 0):
        return mp.nan
    if x == 0 or mp.isinf(x):
        return mp.zero
    return -mp.diff(lambda a: gamma_above(mp, a, x), a) if x > a else mp.diff(lambda a: gamma_below(mp, a, x), a)


def gamma_sample_slope(mp: Context, a: Number, x: Number) -> Number:
    """dx/da at constant P(a, x): −∂P/∂a / ∂P/∂x with ∂P/∂x = xᵃ⁻¹ e⁻ˣ / Γ(a)."""
    if x == 0:
        return mp.zero
    return -gamma_below_slope(mp, a, x) * mp.exp(x + mp.loggamma(a) - (a - 1) * mp.log(x))


def beta_below(mp: Context, a: Number, b: Number, x: Number) -> Number:
    """Iₓ(a, b) = ∫₀ˣ tᵃ⁻¹ (1 − t)ᵇ⁻¹ dt / B(a, b) for a, b > 0, 0 ≤ x ≤ 1."""
    return mp.betainc(a, b, 0, x, regularized=True) if a > 0 and b > 0 and 0 <= x <= 1 else mp.nan


def scaled_bessel_i(n: int) -> Callable[..., Any]:
    """Iₙ(x) e^−|x|"""
    return lambda mp, x: mp.zero if mp.isinf(x) else mp.besseli(n, x) * mp.exp(-abs(x))


OF_ONE: Rules = {
    "lgamma": log_gamma,
    "digamma": digamma,
    "erf_inv": erf_inv,
    "bessel_i0e": scaled_bessel_i(0),
    "bessel_i1e": scaled_bessel_i(1),
}
OF_MANY: Rules = {
    "polygamma": polygamma,
    "zeta": zeta,
    "igamma": gamma_below,
    "igammac": gamma_above,
    "igamma_grad_a": gamma_below_slope,
    "random_gamma_grad": gamma_sample_slope,
    "regularized_incomplete_beta": beta_below,
}

# At a thousand digits a call of one of these takes from milliseconds to a second.
SLOW = {*OF_MANY, "lgamma", "digamma", "erf_inv"}
