"""Verdicts from evidence: what a rule gave, what its formula gives without rounding, and bounds of the truth."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxdl.auditor.findings import Finding, Verdict, interval, number

CLEARLY = 0.1  # an error, relative to the truth, beyond which a larger one shows no more


@dataclass(frozen=True)
class Evidence:
    """What is known about the entries of an array, in arrays of one shape.

    Attributes:
        got: The rule's result.
        formula: The same computed with far less rounding.
        low: Lower bound of the truth; NaN where no witness knows it.
        high: Upper bound of the truth.
        room: By how much got may be off, beyond half of its digits, because its inputs are rounded.
        of_formula: The same for formula.
        dtype: The type of got.
        given: Where the point is given and the function is finite.
        border: Where the point is at a border of the domain, and the automatic derivative is not finite either.
    """

    got: np.ndarray
    formula: np.ndarray
    low: np.ndarray
    high: np.ndarray
    room: np.ndarray
    of_formula: np.ndarray
    dtype: np.dtype
    given: np.ndarray | bool = False
    border: np.ndarray | bool = False

    @property
    def flat(self) -> "Evidence":
        """The evidence with all arrays as vectors."""
        vectors = {
            field.name: np.broadcast_to(getattr(self, field.name), np.shape(self.got)).reshape(-1)
            for field in dataclasses.fields(self)
            if field.name != "dtype"
        }
        return Evidence(**vectors, dtype=self.dtype)


def half_of_the_digits(dtype: Any) -> float:
    """The relative error that leaves half of a format's digits, at most six: special functions are approximations."""
    return max(float(jnp.finfo(dtype).eps) ** 0.5, 1e-6)


def verdicts(e: Evidence) -> np.ndarray:
    """A Verdict for each entry: half of the digits must be right, and as many of the formula's."""
    info = jnp.finfo(e.dtype)
    half = half_of_the_digits(e.dtype)
    tiny = 1e3 * float(info.tiny)  # intermediate values below this count as 0
    with np.errstate(all="ignore"):
        size = np.fmax(np.abs(e.low), np.abs(e.high))
        room = half * size + e.room + tiny
        inside = lambda x, room: (x >= e.low - room) & (x <= e.high + room)
        known = np.isfinite(e.low) & np.isfinite(e.high)
        representable = size < float(info.max) / 4
        formula_right = inside(e.formula, half * size + e.of_formula + tiny)
        off = known & ~inside(e.got, room)
        kink = (e.high - e.low) > 2 * (half * size + e.of_formula)
    out = np.full(e.got.shape, Verdict.RIGHT, object)
    out[kink & known] = Verdict.CONVENTION
    out[off & formula_right] = Verdict.INACCURATE
    out[off & ~formula_right] = Verdict.WRONG
    out[~off & known & np.isfinite(e.formula) & ~formula_right] = Verdict.WRONG
    out[known & ~np.isfinite(e.got)] = Verdict.NON_FINITE
    out[known & ~representable] = Verdict.RIGHT
    out[~known] = Verdict.NOT_VERIFIABLE
    out[e.given & ~np.isfinite(e.got)] = Verdict.NON_FINITE
    out[e.border & (out == Verdict.NON_FINITE)] = Verdict.BORDER
    return out


def with_users_rounding(e: Evidence, users: Callable[[], np.ndarray]) -> Evidence:
    """The evidence, in which results that rounding may have spoilt are those of a user's program.

    Programs that are compiled quickly round in another way, which may lose digits, or keep them, where few are left.

    Args:
        e: The evidence.
        users: Gives the rule's result as `jax.jit` compiles it.
    """
    found = verdicts(e)
    spoilt = (found == Verdict.INACCURATE) | (found == Verdict.NON_FINITE)
    return dataclasses.replace(e, got=np.where(spoilt, users(), e.got)) if spoilt.any() else e


def judged(
    e: Evidence,
    check: str,
    what: str,
    at: Callable[[int], str],
    inputs: Callable[[int], tuple[Any, ...]],
    witnesses: Callable[[int], dict[str, str]] = lambda i: {},
    oddity: Callable[[int], float] = lambda i: 0.0,
) -> list[Finding]:
    """One finding for each verdict but RIGHT and NOT_VERIFIABLE, with the entry of the largest error.

    Args:
        e: The evidence.
        check: The name of the check.
        what: The name of the array.
        at: Where a flat entry is, in words.
        inputs: The inputs at a flat entry.
        witnesses: What the witnesses say about a flat entry.
        oddity: How unusual the inputs are. Of entries with clear errors the least odd one is reported.
    """
    flat = e.flat
    by_entry = verdicts(flat)
    found = []
    for verdict in sorted(set(by_entry) - {Verdict.RIGHT, Verdict.NOT_VERIFIABLE}, key=lambda v: v.rank):
        places = np.flatnonzero(by_entry == verdict)
        i: Any = max(places, key=lambda i: (min(_error(flat, i), CLEARLY), -oddity(int(i))))
        shows_formula = verdict == Verdict.WRONG and _distance(flat.got, flat, i) <= flat.room[i]
        got = flat.formula[i] if shows_formula else flat.got[i]
        unlike = np.isfinite(got) and not np.isclose(got, flat.formula[i], 1e-6, 0)
        formula = {"the rule's formula, not rounded": number(flat.formula[i])} if unlike else {}
        found.append(
            Finding(
                verdict,
                check,
                what,
                at(i),
                number(got),
                interval(flat.low[i], flat.high[i]) if np.isfinite(flat.low[i]) else "a finite number",
                formula | witnesses(i),
                inputs(i),
                _ulp(flat, i) if verdict == Verdict.INACCURATE else None,
                len(places),
            )
        )
    return found


def _distance(x, e, i):
    return max(e.low[i] - x[i], x[i] - e.high[i], 0.0)


def _error(e, i):
    """The error relative to the truth."""
    with np.errstate(all="ignore"):
        off = max(_distance(e.got, e, i), _distance(e.formula, e, i)) / max(abs(e.low[i]), abs(e.high[i]), 1e-30)
    return min(np.nan_to_num(off, nan=1.0), 1e3)


def _ulp(e, i):
    info = jnp.finfo(e.dtype)
    size = max(abs(e.low[i]), abs(e.high[i]), float(info.tiny))
    with np.errstate(all="ignore"):
        return float(_distance(e.got, e, i) / (2.0 ** np.floor(np.log2(size)) * float(info.eps)))
