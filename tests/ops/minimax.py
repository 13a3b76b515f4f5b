"""Computes the coefficients of `jaxdl.ops.exponential` and `jaxdl.ops.stable_formulas`.

    python -m tests.ops.minimax

A ratio of polynomials P/Q is fitted to f by least squares of (fQ − P)/(fQ), with Q in the denominator taken from the
fit before. The points are weighted anew by their errors (Lawson 1961), which makes the largest relative error smallest.
"""

from collections.abc import Callable
from dataclasses import dataclass

import mpmath as mp

mp.mp.dps = 60


@dataclass(frozen=True)
class Approximated:
    """f(x) ≈ P(x)/Q(x) for low ≤ x ≤ high, with the degrees of P and Q; P has no constant term if f is 0 at 0."""

    f: Callable[[mp.mpf], mp.mpf]
    low: mp.mpf
    high: mp.mpf
    numerator: int
    denominator: int = 0
    zero_at_0: bool = False

    def points(self, n: int) -> list[mp.mpf]:
        """n points, denser towards both ends."""
        middle, radius = (self.low + self.high) / 2, (self.high - self.low) / 2
        return [middle - radius * mp.cos(mp.pi * (2 * i + 1) / (2 * n)) for i in range(n)]

    def largest_error(self, p: list, q: list, n: int = 400) -> mp.mpf:
        """The largest relative error of P/Q."""
        return max(abs(value(p, x) / value(q, x) / self.f(x) - 1) for x in self.points(n))


HALF = mp.mpf("0.5005")  # the exponent is rounded before its nearest integer is taken
NEEDED = {
    "EXP": Approximated(mp.exp, -HALF * mp.log(2), HALF * mp.log(2), 6),
    "EXP2": Approximated(lambda x: mp.mpf(2) ** x, -HALF, HALF, 6),
    "EXPM1": Approximated(mp.expm1, -HALF * mp.log(2), HALF * mp.log(2), 6, zero_at_0=True),
    "LOG1P": Approximated(lambda e: mp.log1p(e) / e, mp.mpf(0), mp.mpf(1), 2, 3),
    "MILLS": Approximated(lambda a: mp.erfc(a / mp.sqrt(2)) / 2 * mp.exp(a * a / 2), mp.mpf(0), mp.mpf("13.69"), 4, 5),
}


def value(coefficients: list, x: mp.mpf) -> mp.mpf:
    """Σ coefficients[k] xᵏ"""
    return mp.polyval(coefficients[::-1], x)


def minimax(wanted: Approximated, points: int = 80, rounds: int = 30) -> tuple[list, list]:
    """The coefficients of P and of Q, whose constant term is 1."""
    xs = wanted.points(points)
    fs = [wanted.f(x) for x in xs]
    first, m, n = int(wanted.zero_at_0), wanted.numerator, wanted.denominator
    weights, qs, best = [mp.mpf(1)] * points, [mp.mpf(1)] * points, None
    for done in range(rounds):
        scale = [mp.sqrt(w) / abs(f * q) for w, f, q in zip(weights, fs, qs, strict=True)]
        rows = [
            [s * x**j for j in range(first, m + 1)] + [-s * f * x**j for j in range(1, n + 1)]
            for s, x, f in zip(scale, xs, fs, strict=True)
        ]
        solution = list(mp.lu_solve(mp.matrix(rows), mp.matrix([s * f for s, f in zip(scale, fs, strict=True)])))
        p = [mp.mpf(0)] * first + solution[: m + 1 - first]
        q = [mp.mpf(1), *solution[m + 1 - first :]]
        qs = [value(q, x) for x in xs]
        errors = [abs(value(p, x) / d / f - 1) for x, d, f in zip(xs, qs, fs, strict=True)]
        if best is None or max(errors) < best[0]:
            best = max(errors), p, q
        if done >= 6:
            weights = [w * (e / max(errors)) + mp.mpf(10) ** -6 for w, e in zip(weights, errors, strict=True)]
            weights = [w * points / sum(weights) for w in weights]
    return best[1], best[2]


if __name__ == "__main__":
    for name, wanted in NEEDED.items():
        p, q = minimax(wanted)
        print(name, mp.nstr(wanted.largest_error(p, q) * 2**24, 3), "half ULP")
        print("   ", [mp.nstr(c, 12) for c in p], [mp.nstr(c, 12) for c in q])
