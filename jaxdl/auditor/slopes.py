"""The witnesses: one-sided derivatives of a function along a direction, exact, or from values alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import mpmath
import numpy as np

from jaxdl import exact
from jaxdl import jaxpr as jx
from jaxdl.auditor.pointwise import at_points
from jaxdl.auditor.programs import in_float64
from jaxdl.auditor.subject import Subject, magnitude, values_in_float64
from jaxdl.double_precision import NoDoublePrecision, as_double, real_parts

EXACT_WORK = 4000  # scalar operations up to which the exact witness is used
STEPS = 9


@dataclass(frozen=True)
class Slopes:
    """The derivative lies between low and high; NaN where this witness does not know it.

    Attributes:
        low: In float64.
        high: In float64.
        room: How far beyond them it may lie, as the function is a search that has not converged.
    """

    low: np.ndarray
    high: np.ndarray
    room: float = 0.0


UNKNOWN = Slopes(np.asarray(np.nan), np.asarray(np.nan))


def exact_slopes(jaxpr: Any, points: Sequence[Any], along: Sequence[Any], order: int = 1) -> list[Slopes]:
    """The derivatives of each output of a pointwise jaxpr, at points (p,) for each input, in exact arithmetic.

    Numbers of like size go together: the smallest and the largest of them decide with how many digits is computed.
    """
    f = lambda *x: at_points(jaxpr, *x)
    parts = {}
    for places in _of_like_size(points):
        of = lambda xs, places=places: [None if x is None else x[places] for x in xs]
        found = exact.derivative(f, order=order, along=tuple(of(along)))(*of(points))
        for k, d in enumerate(found):
            parts.setdefault(k, []).append((places, _between(d)))
    return [_joined(part, points[0].shape) for part in parts.values()]


def _of_like_size(points):
    """Places of points whose largest number has about the same exponent."""
    largest = np.max([np.abs(p.astype(np.float64)) for p in points], 0)
    with np.errstate(divide="ignore"):
        exponent = np.clip(np.log10(largest), -400, 400)
    kinds = np.digitize(exponent, (-30, -8, -3, 0, 0.9, 1.5, 2.2, 4, 8, 30))
    return [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]


def _joined(parts, shape):
    low, high = np.full(shape, np.nan), np.full(shape, np.nan)
    for places, slopes in parts:
        low[places], high[places] = slopes.low, slopes.high
    return Slopes(low, high)


def exact_slope(subject: Subject, inputs: Sequence[Any], u: Sequence[Any], along: Sequence[Any]) -> Slopes | None:
    """The derivative of Re Σ u·f along a direction, a list like the differentiated inputs; None where it fails."""
    if operations(subject.value) > EXACT_WORK:
        return None
    f = subject.of_smooth(lambda *x: jx.evaluate(subject.value, x, lambda eqn: None), inputs)
    weighted = lambda *moved: [jnp.real(a * b) for a, b in zip(u, f(*moved), strict=True)]
    try:
        found = exact.derivative(weighted, along=tuple(along))(*[inputs[i] for i in subject.smooth])
    except exact.UnknownPrimitive:
        return None
    return _summed([_between(d) for d in found])


def _between(d) -> Slopes:
    left, right = _floats(d.left), _floats(d.right)
    left, right = np.where(np.isnan(left), right, left), np.where(np.isnan(right), left, right)
    jump = np.asarray(d.is_jump, bool) | np.asarray(d.is_infinite, bool)
    low, high = np.fmin(left, right), np.fmax(left, right)
    return Slopes(np.where(jump, np.nan, low), np.where(jump, np.nan, high))


def _floats(x):
    return np.asarray([_float(v) for v in np.asarray(x, object).reshape(-1)]).reshape(np.shape(x))


def _float(v):
    return float(mpmath.re(v)) if v is not None else np.nan


def _summed(slopes) -> Slopes:
    """The sum over all entries; at kinks of several, each entry may take another side."""
    return Slopes(np.asarray(sum(s.low.sum() for s in slopes)), np.asarray(sum(s.high.sum() for s in slopes)))


class NumericalWitness:
    """One-sided derivatives in float64, by Richardson's extrapolation of difference quotients.

    Args:
        subject: The subject.
        jaxpr: A function to use in place of the subject's.
    """

    def __init__(self, subject: Subject, jaxpr: Any = None):
        self.subject: Subject = subject
        self.jaxpr: Any = jaxpr

    def slope(self, inputs: Sequence[Any], u: Sequence[Any], along: Sequence[Any]) -> Slopes:
        """The derivative of Re Σ u·f along a direction, a list like the differentiated inputs."""
        inputs = [as_double(np.asarray(x)) if i in self.subject.smooth else x for i, x in enumerate(inputs)]
        u, along = ([np.asarray(as_double(np.asarray(x))) for x in xs] for xs in (u, along))
        steps = _steps(self.subject, inputs, along)
        at = lambda t: self._weighted(inputs, u, along, t)
        middle = at(0.0)
        # A value may be what large ones leave, as logsumexp(x) - max(x): it is as inaccurate as they are.
        inside = max(magnitude(inputs[i]) for i in self.subject.smooth)
        weights = np.concatenate([np.abs(a).reshape(-1) for a in u])
        noise = np.finfo(float).eps * (8 * np.abs(middle) + 2 * inside * weights)
        sides = [_extrapolated(steps, [(at(s * t) - middle) / (s * t) for t in steps], noise) for s in (1, -1)]
        (right, right_error), (left, left_error) = sides
        error = 4 * (right_error + left_error) + 1e-9 * (np.abs(left) + np.abs(right))
        smooth = np.abs(left - right) <= error
        left, right = (np.where(smooth, (left + right) / 2, x) for x in (left, right))
        low, high, error = (float(x.sum()) for x in (np.fmin(left, right), np.fmax(left, right), error))
        if not np.isfinite([low, high]).all() or error > 1e-3 * (np.abs(left).sum() + np.abs(right).sum()) + 1e-5:
            low, high = np.nan, np.nan
        return Slopes(np.asarray(low - error), np.asarray(high + error))

    def _weighted(self, inputs, u, along, t):
        """All entries of Re u·f in one vector, at a step t along the direction."""
        moved = list(inputs)
        for i, v in zip(self.subject.smooth, along, strict=True):
            moved[i] = np.asarray(inputs[i] + t * v, inputs[i].dtype)
        y = in_float64(self.jaxpr, *moved) if self.jaxpr else values_in_float64(self.subject, *moved)
        if y is None:
            raise NoDoublePrecision("the function does not run in float64 around the point")
        return np.concatenate([np.real(a * b).reshape(-1) for a, b in zip(u, y, strict=True)])


def slopes_of_cotangents(
    subject: Subject, u: Sequence[Any], along: Sequence[Any], rooms: Sequence[float], apart: Sequence[np.ndarray]
) -> list[Slopes]:
    """The derivatives of the real parts of each plain cotangent along a direction, from values around the point alone.

    The value at the point itself is not used: a branch may have another derivative there, as `where` at x = 0. Those
    with an error beyond the room, a number for each cotangent, and beyond a tenth of how far the two derivatives are
    apart between which they decide, are NaN.
    """
    inputs = [as_double(np.asarray(x)) if i in subject.smooth else x for i, x in enumerate(subject.inputs)]
    along = [np.asarray(as_double(np.asarray(x))) for x in along]
    steps = _steps(subject, inputs, along)

    def at(t):
        moved = list(inputs)
        for i, v in zip(subject.smooth, along, strict=True):
            moved[i] = inputs[i] + t * v
        found = in_float64(subject.steps[1], *moved, *u)
        if found is None:
            raise NoDoublePrecision("the plain derivative does not run in float64 around the point")
        return found[len(subject.outputs) :]

    beside = [[(at(s * t), at(2 * s * t)) for t in steps] for s in (1, -1)]
    slopes = []
    for k, (room, distance) in enumerate(zip(rooms, apart, strict=True)):
        sides = [[[real_parts(y[k]) for y in pair] for pair in side] for side in beside]
        noise = 16 * np.finfo(float).eps * np.abs(sides[0][-1][0])
        quotients = [
            [(far - near) / (s * t) for t, (near, far) in zip(steps, side, strict=True)]
            for s, side in zip((1, -1), sides, strict=True)
        ]
        (right, *_), (left, *_) = found = [_extrapolated(steps, q, noise) for q in quotients]
        error = 4 * sum(e for _, e in found)
        # A function may look smooth beyond a threshold nearby: the limit must also fit the smallest step, as far as its
        # quotient is no noise: sin(x)/x next to 0 has derivatives of few digits.
        away = sum(np.abs(q[-1] - x) for q, (x, _) in zip(quotients, found, strict=True))
        noisy = 4 * sum(np.abs(q[-1] - q[-2]) for q in quotients)
        known = (error <= np.maximum(room, distance / 10)) & (away <= 32 * room + 2 * noise / steps[-1] + noisy)
        low, high = np.fmin(left, right) - error, np.fmax(left, right) + error
        slopes.append(Slopes(np.where(known, low, np.nan), np.where(known, high, np.nan)))
    return slopes


def _steps(subject, inputs, along):
    size = max(map(magnitude, along)) or 1.0
    here = max(magnitude(inputs[i]) for i in subject.smooth) or 1.0
    return 0.01 * min(here, 1.0) / size * 0.25 ** np.arange(STEPS)


def _extrapolated(steps, quotients, noise):
    """The limit of quotients, whose errors are powers of the step, for steps that shrink by 4; and its error."""
    best, error = np.full_like(noise, np.nan), np.full_like(noise, np.inf)
    row = []
    for k, q in enumerate(quotients):
        new = [np.where(np.isfinite(q), q, np.nan)]
        for j, old in enumerate(row):
            new.append(new[-1] + (new[-1] - old) / (4 ** (j + 1) - 1))
        for j in range(1, len(new)):
            found = np.abs(new[j] - new[j - 1]) + np.abs(new[j] - row[j - 1]) + noise / steps[k]
            better = found < error
            best, error = np.where(better, new[j], best), np.where(better, found, error)
        row = new
    return best, error


def operations(jaxpr: Any) -> float:
    """About how many scalar operations a jaxpr needs; infinite where that depends on values."""
    largest = lambda eqn: max(map(jx.size, eqn.outvars), default=0)
    return jx.counted(jaxpr, lambda eqn: jx.products(eqn) or largest(eqn), while_steps=np.inf)
