"""One number as a function of t, near t = 0: its one-sided derivatives from values at ever smaller steps."""

import math

from jaxdl.exact.numbers import SMALLEST, agree

SIDES = LEFT, RIGHT = -1, 1


class OneSidedSlopes:
    """What is known of one number's behaviour at 0: for each step so far, limits and slopes from both sides."""

    def __init__(self, mp, order, digits, steps):
        self.mp, self.order, self.steps = mp, order, steps
        self.tolerance = mp.mpf(10) ** (-digits / 2)
        self.hs, self.gaps, self.firsts = [], {side: [] for side in SIDES}, []
        self.slopes = {side: [] for side in SIDES}
        self.derivatives = dict.fromkeys(SIDES)

    def add(self, h, f0, *values):
        """f(0) and the values at ±h, ±2h, ±4h, … for a step h."""
        self.hs.append(h)
        self.f0 = f0
        firsts = []
        for side, ys in zip(SIDES, values, strict=True):
            ts = [side * h * 2**j for j in range(len(ys))]
            self.gaps[side].append(abs(2 * ys[0] - ys[1] - f0))
            self.slopes[side].append(self.extrapolated(ts, ys, self.order))
            firsts.append(self.extrapolated(ts, ys, 1))
            if self.derivatives[side] is None:
                self.derivatives[side] = self.settled(self.slopes[side])
        self.firsts.append(abs(firsts[0] - firsts[1]))

    def extrapolated(self, ts, ys, n):
        """The n-th derivative at 0 of what goes through the values, with an error of order h²."""
        near, far = (math.factorial(n) * divided_difference(ts[i : i + n + 1], ys[i : i + n + 1]) for i in (0, 1))
        return 2 * near - far

    @property
    def is_settled(self):
        return None not in self.derivatives.values()

    # --- limits ------------------------------------------------------------------------------------

    def settled(self, slopes):
        """The limit of the slopes so far: a number, ±∞, NaN where there is none, None if it is not known yet."""
        mp = self.mp
        if not mp.isfinite(slopes[-1]):
            return mp.nan
        if len(slopes) > 1 and (slopes[-1] or len(slopes) > 2) and self.same(*slopes[-2:]):
            return slopes[-1]
        if len(slopes) > 2 and max(map(mp.mag, slopes[-2:])) < SMALLEST:
            return mp.zero
        return self.by_law(slopes) if len(slopes) == self.steps else None

    def same(self, x, y):
        return agree(self.mp, x, y, self.tolerance)

    def by_law(self, slopes):
        """The limit of slopes that grow or vanish as a power of t, or grow as its logarithm; else NaN."""
        mp = self.mp
        if 0 in slopes[1:]:
            return mp.nan
        powers = self.rates([mp.log(abs(s)) for s in slopes[1:]])
        if min(powers) > 0.3:
            return mp.zero
        if len({mp.sign(s) for s in slopes}) > 1:
            return mp.nan
        powers, growths = self.rates([mp.log(abs(s)) for s in slopes]), self.rates(slopes)
        if not (alike(powers) or alike(growths)):
            return mp.nan
        return mp.inf * (mp.sign(slopes[-1]) if alike(powers) else -mp.sign(growths[-1]))

    def rates(self, values):
        """How values change with the logarithm of the step, from one step to the next."""
        hs = self.hs[-len(values) :]
        pairs = zip(values, values[1:], hs, hs[1:], strict=False)
        return [(b - a) / self.mp.log(v / u) for a, b, u, v in pairs]

    # --- what kind of point it is ------------------------------------------------------------------

    @property
    def is_jump(self):
        gaps = [*self.gaps.values(), *([self.firsts] if self.order > 1 else [])]
        return bool(self.mp.isfinite(self.f0)) and any(map(self.stays, gaps))

    def stays(self, gaps):
        """Whether a difference does not become smaller with the step."""
        return len(gaps) > 1 and bool(gaps[-1] > 0.99 * gaps[-2] > 0)

    @property
    def is_kink(self):
        left, right = self.derivatives.values()
        return left == left and right == right and not self.same(left, right)

    @property
    def is_infinite(self):
        return any(map(self.mp.isinf, self.derivatives.values()))

    @property
    def value(self):
        left, right = self.derivatives.values()
        if self.is_jump or self.is_kink or not self.mp.isfinite(self.f0):
            return self.mp.nan
        return left if self.mp.isinf(left) else (left + right) / 2


def divided_difference(ts, ys):
    if len(ys) == 1:
        return ys[0]
    return (divided_difference(ts[1:], ys[1:]) - divided_difference(ts[:-1], ys[:-1])) / (ts[-1] - ts[0])


def alike(rates):
    """Whether the rates between steps are one and the same, and not 0."""
    return all(abs(r) > 1e-3 and abs(r / rates[0] - 1) < 1e-3 for r in rates)
