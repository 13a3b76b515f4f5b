"""Coefficients of approximations: they are what their derivation gives, and as accurate as is said of them."""

import mpmath as mp
import pytest

from jaxdl.ops import exponential, stable_formulas
from tests.ops.minimax import NEEDED, minimax, value

STORED = {
    "EXP": (exponential.EXP, (1.0,)),
    "EXP2": (exponential.EXP2, (1.0,)),
    "EXPM1": (exponential.EXPM1, (1.0,)),
    "LOG1P": stable_formulas.LOG1P,
    "MILLS": stable_formulas.MILLS,
}
HALF_ULPS = {"EXP": 0.05, "EXP2": 0.05, "EXPM1": 0.3, "LOG1P": 0.5, "MILLS": 0.15}


@pytest.mark.parametrize("name", NEEDED)
def test_stored_coefficients_are_those_of_the_best_approximation(name):
    wanted, (p, q) = NEEDED[name], STORED[name]
    assert wanted.largest_error(p, q) <= HALF_ULPS[name] * mp.mpf(2) ** -24
    best_p, best_q = minimax(wanted)
    assert wanted.largest_error(p, q) <= 1.3 * wanted.largest_error(best_p, best_q) + mp.mpf(10) ** -10
    for x in wanted.points(20):
        assert abs(value(best_p, x) / value(best_q, x) * value(q, x) / value(p, x) - 1) < mp.mpf(2) ** -25
