"""One-sided derivatives of one number as a function of t at t = 0, from values at smaller and smaller steps."""

import math
from typing import Any

from jaxdl.exact.numbers import SMALLEST_EXPONENT, agree
from jaxdl.exact.types import Context, Number

SIDES = LEFT, RIGHT = -1, 1


class OneSidedSlopes:
    """The behaviour of one number at 0: differences and slopes on both sides for each step so far.

    Args:
        mp: The mpmath context.
        order: The order of the derivatives.
        digits: Decimal digits of the result.
        steps: The number of steps that will be added at most.
    """

    def __init__(self, mp: Context, order: int, digits: int, steps: int):
        self.mp: Context = mp
        self.order: int = order
        self.steps: int = steps
        self.tolerance: Number = mp.mpf(10) ** (-digits / 2)
        self.hs: list[Number] = []
        self.gaps: dict[int, list[Number]] = {side: [] for side in SIDES}
        self.firsts: list[Number] = []
        self.slopes: dict[int, list[Number]] = {side: [] for side in SIDES}
        self.derivatives: dict[int, Any] = dict.fromkeys(SIDES)

    def add(self, h: Number, f0: Number, *values: Any) -> None:
        """Adds f(0) and the values at ±h, ±2h, ±4h, … for a step h."""
        self.hs.append(h)
        self.f0 = f0
        firsts = []
        for side, ys in zip(SIDES, values, strict=True):
            ts = [side * h * 2**j for j in range(len(ys))]
            self.gaps[side].append(abs(2 * ys[0] - ys[1] - f0))
            self.slopes[side].append(self.extrapolated(ts, ys, self.order))
            firsts.append(self.extrapolated(ts, ys, 1))
            if self.derivatives[side] is None:
                self.derivatives[side] = self.limit(self.slopes[side])
        self.firsts.append(abs(firsts[0] - firsts[1]))

    def extrapolated(self, ts: list[Any], ys: list[Any], n: int) -> Number:
        """The n-th derivative at 0 of the interpolation of the values, with an error of order h²."""
        near, far = (math.factorial(n) * divided_difference(ts[i : i + n + 1], ys[i : i + n + 1]) for i in (0, 1))
        return 2 * near - far

    @property
    def is_settled(self) -> bool:
        """Whether both one-sided derivatives are known."""
        return None not in self.derivatives.values()

    # --- limits ------------------------------------------------------------------------------------

    def limit(self, slopes: list[Any]) -> Number | None:
        """The limit of the slopes so far: a number, ±∞, NaN if there is none, None if it is not known yet."""
        mp = self.mp
        if not mp.isfinite(slopes[-1]):
            return mp.nan
        if len(slopes) > 1 and (slopes[-1] or len(slopes) > 2) and self.same(*slopes[-2:]):
            return slopes[-1]
        if len(slopes) > 2 and max(map(mp.mag, slopes[-2:])) < SMALLEST_EXPONENT:
            return mp.zero
        return self.limit_by_growth(slopes) if len(slopes) == self.steps else None

    def same(self, x: Number, y: Number) -> bool:
        return agree(self.mp, x, y, self.tolerance)

    def limit_by_growth(self, slopes: list[Any]) -> Number:
        """The limit of slopes that grow or vanish like a power of t, or grow like its logarithm; else NaN."""
        mp = self.mp
        if 0 in slopes[1:]:
            return mp.nan
        powers = self.rates([mp.log(abs(s)) for s in slopes[1:]])
        if min(powers) > 0.3:
            return mp.zero
        if len({mp.sign(s) for s in slopes}) > 1:
            return mp.nan
        powers, growths = self.rates([mp.log(abs(s)) for s in slopes]), self.rates(slopes)
        if not (are_equal(powers) or are_equal(growths)):
            return mp.nan
        return mp.inf * (mp.sign(slopes[-1]) if are_equal(powers) else -mp.sign(growths[-1]))

    def rates(self, values: list[Any]) -> list[Number]:
        """The change of values over the change of the logarithm of the step, from one step to the next."""
        hs = self.hs[-len(values) :]
        pairs = zip(values, values[1:], hs, hs[1:], strict=False)
        return [(b - a) / self.mp.log(v / u) for a, b, u, v in pairs]

    # --- kind of point ------------------------------------------------------------------

    @property
    def is_jump(self) -> bool:
        gaps = [*self.gaps.values(), *([self.firsts] if self.order > 1 else [])]
        return bool(self.mp.isfinite(self.f0)) and any(map(self.persists, gaps))

    def persists(self, gaps: list[Any]) -> bool:
        """Whether a difference does not become smaller with the step."""
        return len(gaps) > 1 and bool(gaps[-1] > 0.99 * gaps[-2] > 0)

    @property
    def is_kink(self) -> bool:
        left, right = self.derivatives.values()
        return left == left and right == right and not self.same(left, right)

    @property
    def is_infinite(self) -> bool:
        return any(map(self.mp.isinf, self.derivatives.values()))

    @property
    def value(self) -> Number:
        left, right = self.derivatives.values()
        if self.is_jump or self.is_kink or not self.mp.isfinite(self.f0):
            return self.mp.nan
        return left if self.mp.isinf(left) else (left + right) / 2


def divided_difference(ts: list[Any], ys: list[Any]) -> Number:
    if len(ys) == 1:
        return ys[0]
    return (divided_difference(ts[1:], ys[1:]) - divided_difference(ts[:-1], ys[:-1])) / (ts[-1] - ts[0])


def are_equal(rates: list[Any]) -> bool:
    """Whether the rates between steps are all equal, and not 0."""
    return all(abs(r) > 1e-3 and abs(r / rates[0] - 1) < 1e-3 for r in rates)
