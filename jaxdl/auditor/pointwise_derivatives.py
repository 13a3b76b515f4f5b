"""The derivatives of pointwise rules, first and second, at ordinary and at extreme numbers, against the exact ones."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxdl import exact
from jaxdl.auditor.checks import first_order_only
from jaxdl.auditor.findings import Finding, Verdict
from jaxdl.auditor.judge import Evidence, half_of_the_digits, judged, verdicts, with_users_rounding
from jaxdl.auditor.neighbours import DISTANCE
from jaxdl.auditor.pointwise import at_points, edge_points, in_wide_types, is_pointwise, natively
from jaxdl.auditor.programs import UserCodeError, evaluated
from jaxdl.auditor.slopes import Slopes, exact_slopes
from jaxdl.auditor.subject import Subject
from jaxdl.auditor.unverifiable import differ, has_stops, unverifiable_entries, without_stops
from jaxdl.double_precision import NoDoublePrecision, as_double

MANY_DIGITS = 1500
MOST_GIVEN = 8  # entries of the arrays given
WEIGHTS = 1.0, 0.75, 1.25, 0.5  # of the inputs, in the direction of the second derivative


def has_pointwise_derivatives(subject: Subject) -> bool:
    """Whether a subject and its derivatives are pointwise in all inputs, and values can verify the derivatives."""
    if len(subject.smooth) != len(subject.inputs) or len(subject.inputs) > len(WEIGHTS) or not subject.edges:
        return False
    if None in subject.steps or not all(map(is_pointwise, (subject.value, *subject.steps))):
        return False
    return not any(mask.any() for mask in unverifiable_entries(subject, subject.inputs, subject.seeds()))


@dataclass(frozen=True, eq=False)
class Places:
    """Points of a pointwise subject.

    Attributes:
        subject: The function and its rule.
        points: Numbers (p,) for each input.
        given: Which of the points are entries of the arrays given.
    """

    subject: Subject
    points: list[Any]
    given: np.ndarray

    def __getitem__(self, which: Any) -> "Places":
        return Places(self.subject, [p[which] for p in self.points], self.given[which])

    @functools.cached_property
    def is_border(self) -> np.ndarray:
        """For each point, whether the function is undefined or not finite at a neighbour."""
        ways = itertools.product((-1, 0, 1), repeat=len(self.points))
        steps = [DISTANCE * np.maximum(1, np.abs(_float64(p))) for p in self.points]
        moved = [[as_double(p) + s * step for p, s, step in zip(self.points, way, steps, strict=True)] for way in ways]
        columns = [np.concatenate(column) for column in zip(*moved, strict=True)]
        try:
            values = _values(self.subject, in_wide_types, columns)
        except (UserCodeError, NoDoublePrecision):
            return np.zeros(len(self.given), bool)
        undefined = ~np.isfinite(values).all(0)
        return np.asarray(undefined.reshape(-1, len(self.given)).any(0))

    def shared(self, got: Any, native: Any, slopes: Any) -> np.ndarray:
        """Where, at a border of the domain, neither the rule's nor the automatic derivative is finite.

        For a function that is not a rule, only where the true derivative is not finite, and not at points given.
        """
        shared = ~np.isfinite(_float64(got)) & ~np.isfinite(_float64(native))
        if self.subject.is_whole:
            shared &= (slopes.low != slopes.high) & ~self.given
        return shared & self.is_border if shared.any() else shared


def places_of(subject: Subject) -> Places:
    """The points given and the edge points at which the function is defined and values can verify the derivative."""
    given = _given(subject)
    edges = edge_points([subject.value, subject.steps[0]], subject.inputs, subject.dtype)
    edges = _in_domains(subject, edges, given)
    points = [np.concatenate([g, e]) for g, e in zip(given, edges, strict=True)]
    points = [np.asarray(p, t.dtype) for p, t in zip(points, subject.types, strict=True)]
    places = Places(subject, points, np.arange(len(points[0])) < len(given[0]))
    return _where_verifiable(places[_are_defined(subject, points)])


def _in_domains(subject, points, given):
    """The points inside the domains of the inputs, and the ends of the domains combined with numbers given."""
    domains = subject.domains or (None,) * len(points)
    for i, domain in enumerate(domains):
        for end in {domain.low, domain.high} - {-np.inf, np.inf} if domain else ():
            more = [np.full_like(x, end) if k == i else x for k, x in enumerate(given)]
            points = [np.concatenate([p, x]) for p, x in zip(points, more, strict=True)]
    inside = [d.admits(p) if d else np.ones(p.shape, bool) for p, d in zip(points, domains, strict=True)]
    return [p[np.all(inside, 0)] for p in points]


def _given(subject):
    """The first few entries given, and the first few whose derivative is not finite."""
    entries = [np.asarray(x).reshape(-1) for x in subject.inputs]
    y = evaluated(subject.steps[0], *subject.inputs, *[np.ones(t.shape, t.dtype) for t in subject.outputs])
    bad = np.flatnonzero(~np.isfinite([_float64(d).reshape(-1) for d in y[len(subject.outputs) :]]).all(0))
    chosen = np.unique([*range(min(MOST_GIVEN, entries[0].size)), *bad[:MOST_GIVEN]]).astype(int)
    return [x[chosen] for x in entries]


def pointwise_findings(subject: Subject, orders: int = 2) -> list[Finding]:
    """Findings at the edge points of a pointwise subject; UnknownPrimitive where the exact witness fails."""
    places = places_of(subject)
    subject.tally.points += len(places.given)
    slopes = functools.cache(lambda along: exact_slopes(subject.value, places.points, _columns(places.points, along)))
    findings = first_order(subject, places, slopes)
    return findings + second_order(subject, places.points, slopes) if orders == 2 else findings


def _are_defined(subject, points):
    """At which points all outputs are finite, both exactly and as computed."""
    runs = map(_float64, _values(subject, natively, points))
    return np.isfinite([*runs, *ExactOutputs(subject.value, points).at_all_points]).all(0)


def _values(subject, run, points):
    """The outputs at points, by the program that has the derivatives too."""
    return run(subject.steps[1], *points, *_seed(subject, points, 0))[: len(subject.outputs)]


def _where_verifiable(places):
    """The places at which `stop_gradient` does not change the derivative."""
    subject = places.subject
    if not has_stops(subject):
        return places
    arrays = [*places.points, *_seed(subject, places.points, 0)]
    jaxprs = subject.steps[1], without_stops(subject)
    if None in jaxprs:
        return places
    try:
        with_stops, without = (in_wide_types(jaxpr, *arrays)[len(subject.outputs) :] for jaxpr in jaxprs)
    except (UserCodeError, NoDoublePrecision):
        return places
    room = half_of_the_digits(subject.dtype)
    return places[~np.any([differ(a, b, room) for a, b in zip(with_stops, without, strict=True)], 0)]


def _columns(points, weights):
    return [np.full_like(p, w) if w else None for p, w in zip(points, weights, strict=True)]


def first_order(subject: Subject, places: Any, slopes_along: Callable[..., Any]) -> list[Finding]:
    """The value, and ∂ output / ∂ input for each output and input."""
    hand, plain = subject.steps
    points, count = places.points, len(subject.outputs)
    findings = []
    for k in range(count):
        u = _seed(subject, points, k)
        outputs, exactly = _computed(hand, [*points, *u]), ExactOutputs(hand, [*points, *u])
        got, native = outputs(), natively(plain, *points, *u)
        moved = _conditioning(plain, points, u, points[0].dtype)
        if k == 0:
            findings += values(subject, points, outputs, exactly, native)
        for i, x in enumerate(points):
            slopes = slopes_along(tuple(float(j == i) for j in range(len(points))))[k]
            formula = functools.partial(exactly, count + i)
            name = f"∂ output {k} / ∂ input {i}" if count > 1 or len(points) > 1 else "derivative"
            room = np.where(
                slopes.low < slopes.high, 0.0, moved[count + i]
            )  # rounding does not excuse errors at a kink
            beside = np.abs(_float64(got[k]))
            known = {"given": places.given, "border": places.shared(got[count + i], native[count + i], slopes)}
            about = x.dtype, "cotangents", name, points, room, beside
            users = lambda outputs=outputs, place=count + i: outputs(optimized=True)[place]
            findings += _judged(subject.tally, 1, got[count + i], users, formula, slopes, *about, **known)
    return findings


def values(
    subject: Subject, points: Sequence[Any], outputs: Callable[..., Any], exactly: Any, native: Any
) -> list[Finding]:
    """Outputs by the rule against exact ones. Errors of the plain function are not the rule's fault."""
    plainly = ExactOutputs(subject.value, points)
    findings = []
    for k, output in enumerate(subject.outputs):
        true = plainly(k)
        room = 4 * np.abs(np.nan_to_num(_float64(native[k]) - true, posinf=0.0, neginf=0.0))
        formula = functools.partial(exactly, k)
        known = np.where(np.isfinite(_float64(native[k])), true, np.nan)
        about = output.dtype, "value", f"output {k}", points, room
        users = lambda k=k: outputs(optimized=True)[k]
        findings += _judged(subject.tally, 0, outputs()[k], users, formula, Slopes(known, known), *about)
    return findings


def second_order(subject: Subject, points: Sequence[Any], slopes_along: Callable[..., Any]) -> list[Finding]:
    """The second derivative along one direction in all inputs."""
    try:
        jaxpr = subject.seconds[0]
    except UserCodeError as raised:
        return [first_order_only(subject, raised.error)]
    if len(subject.outputs) > 1 or not is_pointwise(jaxpr):
        return []
    u = _seed(subject, points, 0)
    v = [np.full_like(x, w) for x, w in zip(points, WEIGHTS, strict=False)]
    first = slopes_along(WEIGHTS[: len(points)])[0]
    second = exact_slopes(subject.value, points, v, order=2)[0]
    is_smooth = (first.low == first.high) & (second.low == second.high)
    moderate = np.abs(second.low) < float(jnp.finfo(points[0].dtype).max) ** 0.5
    known = np.where(is_smooth & moderate, second.low, np.nan)

    def total(columns):
        with np.errstate(all="ignore"):
            return sum(c * w for c, w in zip(columns, WEIGHTS, strict=False))

    outputs = _computed(jaxpr, [*points, *u, *v])
    got, users = total(map(_float64, outputs())), lambda: total(map(_float64, outputs(optimized=True)))
    exactly = ExactOutputs(jaxpr, [*points, *u, *v])
    formula = lambda *at: total(exactly(i, *at) for i in range(len(points)))
    info = jnp.finfo(points[0].dtype)
    room = 32 * float(info.eps) * np.abs(np.nan_to_num(first.low)) + 1e6 * float(info.tiny)
    if subject.seconds[1] is not None and is_pointwise(subject.seconds[1]):
        moved = _conditioning(subject.seconds[1], points, [*u, *v], points[0].dtype, total)
        room = room + moved
    slopes = Slopes(known, known)
    beside = np.abs(np.nan_to_num(first.low))
    found = _judged(
        subject.tally,
        2,
        got,
        users,
        formula,
        slopes,
        points[0].dtype,
        "second order",
        "second derivative",
        points,
        room,
        beside,
    )
    second = lambda f: dataclasses.replace(f, verdict=Verdict.WRONG_SECOND)
    return [second(f) if f.verdict == Verdict.WRONG else f for f in found]


def _judged(tally, order, got, users, formula, slopes, dtype, check, name, points, room, beside: Any = 0.0, **known):
    """Findings on numbers got, given those that users get, the formula and the true slopes.

    formula(places, digits) is evaluated again with many more digits where it seems wrong, as it may have cancelled. It
    is exact at the point; only constants in it are rounded, relative to the size of `beside`.
    """
    of_formula = np.minimum(room, half_of_the_digits(dtype) * np.nan_to_num(beside, posinf=0.0))
    of_points = (_float64(got), formula(), slopes.low, slopes.high, room, of_formula)
    got, formulas, low, high, room, of_formula = (np.broadcast_to(x, points[0].shape).copy() for x in of_points)
    evidence = Evidence(got, formulas, low, high, room, of_formula, np.dtype(dtype), **known)
    evidence = with_users_rounding(evidence, lambda: _float64(users()))
    found = verdicts(evidence)
    if order:
        right = found == Verdict.RIGHT
        tally.add(order, evidence.got[right], low[right], high[right], dtype, room[right] / 16)
    wrong = np.flatnonzero(found == Verdict.WRONG)
    if wrong.size:
        evidence.formula[wrong] = formula(wrong, MANY_DIGITS)
    inputs = lambda i: tuple(p[i] for p in points)
    at = lambda i: "at " + ", ".join(f"{float(x):.9g}" for x in inputs(i))
    oddity = lambda i: sum(abs(np.log10(max(abs(float(x)), 1e-300))) for x in inputs(i))
    return judged(evidence, check, name, at, inputs, oddity=oddity)


def _computed(jaxpr, arrays):
    """A function: the outputs of a pointwise jaxpr in its own types, compiled quickly or optimized."""
    return functools.cache(functools.partial(natively, jaxpr, *arrays))


def _seed(subject, points, k):
    """Cotangents of the outputs: 1 for output k, 0 for the others."""
    return [np.full(points[0].shape, float(j == k), t.dtype) for j, t in enumerate(subject.outputs)]


def _conditioning(jaxpr, points, rest, dtype, total=np.stack):
    """By how much outputs, or a total of them, change when the point changes by some units in the last place."""
    signs = [(0,) * len(points), *itertools.product((1, -1), repeat=len(points))]
    step = 2 * float(jnp.finfo(dtype).eps)
    moved = [np.concatenate([as_double(p) * (1 + step * s) for s in column]) for p, column in
             zip(points, zip(*signs, strict=True), strict=True)]  # fmt: skip
    y = total(in_wide_types(jaxpr, *moved, *[np.tile(as_double(x), len(signs)) for x in rest]))
    here, *others = np.split(y, len(signs), axis=-1)
    with np.errstate(all="ignore"):
        change = functools.reduce(np.fmax, (np.abs(other - here) for other in others))
    return np.where(np.isfinite(change), 16 * change, np.where(np.isfinite(here), np.inf, 0.0))


class ExactOutputs:
    """The outputs of a pointwise jaxpr in exact arithmetic."""

    def __init__(self, jaxpr: Any, arrays: Sequence[Any]):
        self.jaxpr: Any = jaxpr
        self.arrays: Sequence[Any] = arrays

    def __call__(self, k: int, places: Any = None, digits: int = 60) -> np.ndarray:
        """Output k at all points, or at some with a number of digits."""
        return (self.at_all_points if places is None else self.evaluated(places, digits))[k]

    @functools.cached_property
    def at_all_points(self) -> list[np.ndarray]:
        """All outputs at all points, with 60 digits."""
        return self.evaluated(slice(None), 60)

    def evaluated(self, places: Any, digits: int) -> list[np.ndarray]:
        """All outputs at some points."""
        arrays = [x[places] for x in self.arrays]
        outputs = exact.evaluate(lambda *x: at_points(self.jaxpr, *x), digits)(*arrays)
        return [self.floats(y, arrays[0].shape) for y in outputs]

    @staticmethod
    def floats(y: Any, shape: Sequence[int]) -> np.ndarray:
        numbers = np.asarray([float(getattr(v, "real", v)) for v in np.ravel(y)])
        return np.broadcast_to(numbers.reshape(np.shape(y)), shape).copy()


def _float64(x):
    return np.asarray(x).astype(np.float64)
