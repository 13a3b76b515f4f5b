"""Any rule, at the arrays given and at some made of them: its cotangents against those of the plain function."""

import dataclasses
import functools

import jax.numpy as jnp
import numpy as np

from jaxdl.auditor.findings import Finding, Verdict, entry
from jaxdl.auditor.judge import Evidence, found, verdicts
from jaxdl.auditor.slopes import Numerical, Slopes, exact_slope, stops_matter
from jaxdl.auditor.subject import LARGE, Subject, drawn, evaluated, in_float64, top
from jaxdl.auditor.wide import wide

DIRECTIONS = 2
NEARBY = 8
DISPUTED = 6  # entries for which witnesses are called


def points(subject: Subject) -> dict[str, tuple]:
    """Arrays to look at, by what is special about them."""
    found = {"the arrays given": subject.inputs}
    if subject.size > LARGE:
        return found
    for name, change in _CHANGES.items():
        found[name] = tuple(
            change(np.asarray(x)) if i in subject.smooth and jnp.issubdtype(x.dtype, jnp.floating) else x
            for i, x in enumerate(subject.inputs)
        )
    return found


def _with_zero_row(x):
    return np.where(np.arange(len(x)).reshape(-1, *[1] * (x.ndim - 1)) == 0, 0, x).astype(x.dtype) if x.ndim else 0 * x


_CHANGES = {
    "zeros": np.zeros_like,
    "equal numbers": np.ones_like,
    "a row of zeros": _with_zero_row,
    "repeated numbers": lambda x: (np.round(x.astype(np.float64) * 2) / 2).astype(x.dtype),
    "their negative": np.negative,
    "30 times as large": lambda x: (x.astype(np.float64) * 30).astype(x.dtype),
    "1000 times as large": lambda x: (x.astype(np.float64) * 1000).astype(x.dtype),
    "a thousandth": lambda x: (x.astype(np.float64) / 1000).astype(x.dtype),
}


def at_points(subject: Subject) -> list[Finding]:
    """What is found at all points: values, and cotangents for one drawn cotangent."""
    numerical = functools.cache(lambda: Numerical(subject))
    findings, usual = [], None
    for name, inputs in points(subject).items():
        u = drawn(1, subject.outputs)
        truth = in_float64(subject.steps[1], *inputs, *u)
        if usual is None:
            usual = [top(y) for y in truth or evaluated(subject.steps[0], *inputs, *u)]
        elif not (truth and _is_defined(subject, truth, inputs, u)):
            continue
        new = at(subject, name, inputs, u, truth, usual, numerical)
        if subject.is_whole and inputs is not subject.inputs:
            # Where several kinks meet, JAX's sum of conventions need not be one itself.
            new = [f for f in new if f.verdict == Verdict.NON_FINITE]
        findings += new
    return findings


def at(subject, point, inputs, u, truth, usual, numerical) -> list[Finding]:
    """usual: the size of each output and cotangent for the arrays given, whose rounding may be met anywhere."""
    hand, plain = subject.steps
    got = evaluated(hand, *inputs, *u)
    native = evaluated(plain, *inputs, *u) if plain else [np.full_like(y, np.nan) for y in got]
    formula = in_float64(hand, *inputs, *u) or got
    truth = truth or [np.full(np.shape(y), np.nan) for y in native]
    outputs = len(subject.outputs)
    room = _conditioning(subject, inputs, u, truth)
    if subject.dtype == np.float64:  # the truth is rounded as well
        most = max(top(x) for x in (*truth, *u, *(inputs[i] for i in subject.smooth)))
        room = [r + 32 * np.finfo(float).eps * most for r in room]
    findings = []
    for k, name in enumerate(subject.names):
        low = _parts(truth[k])
        if k < outputs:
            low = np.where(np.isfinite(_parts(native[k])), low, np.nan)  # that it overflows is not the rule's fault
        high = low
        eps, scale = float(jnp.finfo(got[k].dtype).eps), top(low)
        evidence = Evidence(
            _parts(got[k]), _parts(formula[k]), low, high,
            room[k] + scale * eps**0.5 + 32 * eps * usual[k],
            room[k] * 1e-3 + 8 * eps * max(scale, usual[k]),
            _real(got[k].dtype),
        )  # fmt: skip
        evidence = _alike_in_its_precision(evidence, _parts(native[k]))
        said = {}
        if k >= outputs:
            evidence, said = _disputed(subject, evidence, k - outputs, inputs, u, numerical)
        at_entry = functools.partial(_entry, point, got[k])
        check = "value" if k < outputs else "cotangents"
        witnesses = lambda i, k=k, said=said: {"automatic": f"{_parts(native[k]).reshape(-1)[i]:.9g}"} | said.get(i, {})
        findings += found(evidence, check, name, at_entry, lambda i: tuple(inputs), witnesses)
    if stops_matter(subject):
        return findings
    if point == "the arrays given":
        return findings + _along_directions(subject, inputs, u, formula[outputs:], numerical)
    cotangents = formula[outputs:], truth[outputs:], usual[outputs:]
    return findings + _along_ones(subject, point, inputs, u, *cotangents, numerical)


def _along_directions(subject, inputs, u, formula, numerical) -> list[Finding]:
    """The derivative along drawn directions against the values alone, in float64: neither rule nor JAX's is asked."""
    findings = []
    for seed in range(10, 11 if subject.size > LARGE else 10 + DIRECTIONS):
        along = drawn(seed, [subject.types[i] for i in subject.smooth])
        try:
            slope = numerical().slope(inputs, u, along)
        except Exception:  # of what the function holds something does not work in float64
            return findings
        terms = [np.real(x * wide(v)) for x, v in zip(formula, along, strict=True)]
        got = np.asarray(sum(x.sum() for x in terms))
        room = np.asarray(float(jnp.finfo(subject.dtype).eps) ** 0.5 * sum(np.abs(x).sum() for x in terms) * 0.1)
        evidence = Evidence(got, got, np.asarray(slope.low), np.asarray(slope.high), room, room, _real(subject.dtype))
        witnesses = lambda _, slope=slope: {"numerical": _said(slope)}
        at_point = lambda _: "along a drawn direction"
        findings += found(evidence, "cotangents", "derivative", at_point, lambda _: tuple(inputs), witnesses)
    return [f for f in findings if f.verdict != Verdict.CONVENTION]


def _is_defined(subject, truth, inputs, u):
    """Whether arrays that were made up are a point of the function: it is finite there, also as it runs."""
    runs = (truth, evaluated(subject.steps[1], *inputs, *u))
    return all(np.isfinite(y).all() for outputs in runs for y in outputs[: len(subject.outputs)])


def _disputed(subject, evidence, i, inputs, u, numerical):
    """Where rule and plain function disagree, or the latter has no number, the witnesses are asked."""
    if stops_matter(subject):
        return evidence, {}  # values tell nothing about the derivative that is meant
    judged = verdicts(evidence).reshape(-1)
    places = np.flatnonzero(judged != Verdict.RIGHT)
    if not places.size:
        return evidence, {}
    with np.errstate(all="ignore"):
        apart = np.abs(evidence.formula - evidence.low).reshape(-1)[places]
    places = places[np.argsort(-np.nan_to_num(apart, nan=np.inf), kind="stable")]
    low, high = evidence.low.reshape(-1).copy(), evidence.high.reshape(-1).copy()
    low[places], high[places] = np.nan, np.nan
    said = {}
    for place in places[:DISPUTED]:
        along = [None] * len(subject.smooth)
        along[i] = _basis(inputs[subject.smooth[i]], place)
        slope, names = _asked(subject, inputs, u, along, numerical)
        low[place], high[place] = float(slope.low), float(slope.high)
        if slope.low < slope.high:
            near = _nearby(subject, inputs, u, i, place)
            low[place], high[place] = np.nanmin([low[place], *near]), np.nanmax([high[place], *near])
        said[place] = names
    shape = evidence.low.shape
    return dataclasses.replace(evidence, low=low.reshape(shape), high=high.reshape(shape)), said


def _nearby(subject, inputs, u, i, place):
    """An entry of a plain cotangent at points around a kink: all its limits there are conventions (Clarke 1975)."""
    random = np.random.default_rng(0)
    values = []
    for _ in range(NEARBY):
        moved = [
            wide(np.asarray(x)) + 1e-6 * random.standard_normal(np.shape(x)) if k in subject.smooth else x
            for k, x in enumerate(inputs)
        ]
        found = in_float64(subject.steps[1], *moved, *u)
        values += [] if found is None else [float(_parts(found[len(subject.outputs) + i]).reshape(-1)[place])]
    return [v for v in values if np.isfinite(v)] or [np.nan]


def _asked(subject, inputs, u, along, numerical):
    """The exact witness where it can be had, else the numerical; and what each says."""
    full = [np.zeros_like(inputs[i]) if a is None else a for i, a in zip(subject.smooth, along, strict=True)]
    said = {}
    slope = exact_slope(subject, inputs, u, along)
    if slope is not None:
        said["exact"] = _said(slope)
    if slope is None or np.isnan(slope.low):
        try:
            slope = numerical().slope(inputs, u, full)
            said["numerical"] = _said(slope)
        except Exception as error:  # of what the function holds something does not work in float64
            slope = Slopes(np.float64(np.nan), np.float64(np.nan))
            said["numerical"] = f"{type(error).__name__}"
    return slope, said


def _said(slope):
    low, high = (f"{float(x):.9g}" for x in (slope.low, slope.high))
    return low if low == high else f"{low} to {high}"


def _along_ones(subject, point, inputs, u, formula, truth, usual, numerical) -> list[Finding]:
    """At a kink each entry may take what it likes, but not all together: along ones the function may be smooth."""
    if point not in ("equal numbers", "zeros", "repeated numbers") or subject.size > 10**4:
        return []
    findings = []
    for i, place in enumerate(subject.smooth):
        sums = [float(np.real(x[i]).sum()) for x in (formula, truth)]
        size = np.asarray(1e-3 * np.abs(formula[i]).sum() + 1e-12 * usual[i] * formula[i].size)
        if not np.isfinite(sums[0]) or abs(sums[0] - sums[1]) <= size:
            continue
        along = [None] * len(subject.smooth)
        along[i] = np.ones_like(inputs[place])
        slope, said = _asked(subject, inputs, u, along, numerical)
        numbers = sums[0], sums[0], slope.low, slope.high, size, size
        evidence = Evidence(*map(np.asarray, numbers), _real(inputs[place].dtype))
        what, at_point = f"sum of the {subject.cotangents[i]}", lambda _: f"for {point}"
        findings += found(evidence, "cotangents", what, at_point, lambda _: tuple(inputs), lambda _, said=said: said)
    return [f for f in findings if f.verdict == Verdict.WRONG]


def _alike_in_its_precision(e, native):
    """A rule need not be more accurate than four times the plain function's own error, in the same precision; and
    where that says the same as the rule, rounding has moved the point, not the rule."""
    with np.errstate(all="ignore"):
        own = np.abs(native - e.low)
        near = np.abs(e.got - native) <= e.of_formula + float(jnp.finfo(e.dtype).eps) ** 0.5 * np.abs(native)
    got = np.where(near & np.isfinite(e.low) & np.isfinite(native), e.formula, e.got)
    return dataclasses.replace(e, got=got, room=e.room + 4 * own[np.isfinite(own)].max(initial=0))


def _conditioning(subject, inputs, u, truth):
    """How far each output and cotangent moves where all that goes in moves by its own rounding, over all entries."""
    random = np.random.default_rng(0)
    moved = lambda x: (
        wide(np.asarray(x)) * (1 + 2 * float(jnp.finfo(x.dtype).eps) * random.choice([-1, 1], np.shape(x)))
        if jnp.issubdtype(x.dtype, jnp.inexact) else x
    )  # fmt: skip
    rooms = [0.0] * len(truth)
    for _ in range(2 if subject.size <= LARGE else 1):
        other = in_float64(subject.steps[1], *map(moved, inputs), *map(moved, u))
        if other is None:
            return rooms
        for k, (a, b) in enumerate(zip(other, truth, strict=True)):
            with np.errstate(all="ignore"):
                change = np.abs(a - b)
            rooms[k] = max(rooms[k], 32 * change[np.isfinite(change)].max(initial=0))
    return rooms


def _parts(x):
    """As real numbers: of a complex array the real and the imaginary part, along an axis more."""
    x = np.asarray(x)
    return np.stack([x.real, x.imag], -1).astype(np.float64) if np.iscomplexobj(x) else x.astype(np.float64)


def _real(dtype):
    return np.dtype(np.zeros((), dtype).real.dtype) if jnp.issubdtype(dtype, jnp.complexfloating) else np.dtype(dtype)


def _basis(x, place):
    """The direction of an entry of `_parts`; of a cotangent's imaginary part it is −i, as JAX pairs without conj."""
    out = np.zeros(x.size, x.dtype)
    if np.iscomplexobj(x):
        out[place // 2] = 1 if place % 2 == 0 else -1j
    else:
        out[place] = 1
    return out.reshape(x.shape)


def _entry(point, x, i):
    """The entry of an array that has a part, and the point, in words."""
    return f"{entry(i // 2 if np.iscomplexobj(x) else i, np.shape(x))} for {point}"
