"""The derivative of a rule on whole arrays: its cotangents at a few points against those of the plain function.

Where they disagree, the witnesses decide: the exact derivative, or one from values alone.
"""

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.auditor.array_points import GIVEN, points
from jaxdl.auditor.array_witnesses import ArrayWitnesses, slope_text
from jaxdl.auditor.findings import Finding, Verdict, entry, number
from jaxdl.auditor.judge import Evidence, judged, verdicts, with_users_rounding
from jaxdl.auditor.neighbours import Neighbours
from jaxdl.auditor.programs import compile_ahead, evaluated, in_float64
from jaxdl.auditor.session import is_time_up
from jaxdl.auditor.subject import Subject, magnitude, random_arrays
from jaxdl.auditor.unverifiable import is_sampled_in_a_loop, unverifiable_entries
from jaxdl.double_precision import NoDoublePrecision, as_double, real_parts

DIRECTIONS = 2
DISPUTED = 6  # entries for which witnesses are called
ROUNDED = 0.02  # of the largest entry: what rounding explains where nothing is computed in float64


def array_findings(subject: Subject) -> list[Finding]:
    """Findings on values, and on the cotangents for one cotangent of the outputs, at all points."""
    witnesses = ArrayWitnesses(subject)
    if not jx.are_large(subject.inputs):
        compile_ahead(*subject.steps)
    findings, usual = [], None
    for name, inputs in points(subject).items():
        if usual is not None and is_time_up():
            subject.tally.left_out.append("some points")
            break
        u = subject.seeds()
        truth = in_float64(subject.steps[1], *inputs, *u)
        if usual is None:
            usual = [magnitude(y) for y in truth or evaluated(subject.steps[0], *inputs, *u)]
        elif not (truth and _is_defined(subject, truth, inputs, u)):
            continue
        subject.tally.points += 1
        new = ArrayPoint(subject, name, inputs, u, truth, usual, witnesses).findings()
        if subject.is_whole and inputs is not subject.inputs:
            # Where several kinks meet, JAX's sum of conventions need not be a convention.
            new = [f for f in new if f.verdict in (Verdict.NON_FINITE, Verdict.BORDER)]
        findings += new
    return findings


@dataclass(eq=False)
class ArrayPoint:
    """A subject at one point.

    Attributes:
        subject: The function and its rule.
        point: A description of the point.
        inputs: The arrays.
        u: Cotangents of the outputs.
        truth: Outputs and cotangents of the plain function in float64; None where it does not run in float64.
        usual: The size of each output and cotangent at the arrays given, of which rounding errors may be a part.
        witnesses: Of the subject.
    """

    subject: Subject
    point: str
    inputs: tuple[Any, ...]
    u: list[Any]
    truth: list[Any] | None
    usual: list[Any]
    witnesses: ArrayWitnesses

    @property
    def is_given(self) -> bool:
        """Whether these are the arrays given."""
        return self.point == GIVEN

    @functools.cached_property
    def got(self) -> list[np.ndarray]:
        """Outputs and cotangents by the rule."""
        return evaluated(self.subject.steps[0], *self.inputs, *self.u)

    @functools.cached_property
    def users(self) -> list[np.ndarray]:
        """The same as `jax.jit` compiles it."""
        return evaluated(self.subject.steps[0], *self.inputs, *self.u, optimized=True)

    @functools.cached_property
    def native(self) -> list[np.ndarray]:
        """Outputs and cotangents of the plain function in the types given; NaN where JAX cannot derive them."""
        plain = self.subject.steps[1]
        return evaluated(plain, *self.inputs, *self.u) if plain else [np.full_like(y, np.nan) for y in self.got]

    @functools.cached_property
    def formula(self) -> list[np.ndarray]:
        """Outputs and cotangents by the rule in float64, if it runs in float64."""
        return in_float64(self.subject.steps[0], *self.inputs, *self.u) or self.got

    @functools.cached_property
    def unverifiable(self) -> list[np.ndarray]:
        """For each cotangent, which entries values cannot verify."""
        return unverifiable_entries(self.subject, self.inputs, self.u)

    @functools.cached_property
    def is_finite(self) -> bool:
        """Whether the function is finite here."""
        return all(np.isfinite(y).all() for y in self.got[: len(self.u)])

    @functools.cached_property
    def neighbours(self) -> Neighbours:
        """Points close to this one."""
        return Neighbours(self.subject, self.inputs)

    def findings(self) -> list[Finding]:
        """All findings at this point."""
        findings, unknown = [], []
        room = self._rounding()
        for k, name in enumerate(self.subject.names):
            evidence, said = self.evidence(k, room[k])
            automatic = real_parts(self.native[k]).reshape(-1)
            witnesses = lambda i, a=automatic, said=said: {"automatic": number(a[i])} | said.get(i, {})
            at_entry = functools.partial(_entry, self.point, self.got[k])
            check = "value" if k < len(self.u) else "cotangents"
            findings += judged(evidence, check, name, at_entry, lambda i: tuple(self.inputs), witnesses)
            if k >= len(self.u):
                self._count(evidence, k)
            places = np.flatnonzero(verdicts(evidence) == Verdict.NOT_VERIFIABLE)
            unknown += [(name, at_entry(places[0]), len(places))] if k >= len(self.u) and places.size else []
        if not self.is_given:
            return findings + self.along_ones()
        slopes, are_known = self.along_directions()
        return findings + slopes + ([] if are_known else [self._not_verifiable(*what) for what in unknown])

    def _count(self, evidence, k):
        """Counts the entries that are right, with errors in units of the largest entry."""
        right = verdicts(evidence) == Verdict.RIGHT
        as_computed = dataclasses.replace(evidence, got=real_parts(self.got[k]))
        got = with_users_rounding(as_computed, lambda: evidence.got).got
        low, high = (np.where(right, x, np.nan) for x in (evidence.low, evidence.high))
        unit = float(jnp.finfo(self.got[k].dtype).eps) * magnitude(low)
        self.subject.tally.add(1, got, low, high, evidence.dtype, np.maximum(unit, evidence.room / 16))

    def _rounding(self):
        """For each output and cotangent, how far rounding of the inputs, and of the truth, may move it."""
        if not self.truth:
            return [0.0] * len(self.got)
        room = _conditioning(self.subject, self.inputs, self.u, self.truth)
        if self.subject.dtype == np.float64:  # the truth is rounded as well
            room = [r + self.of_truth for r in room]
        return room

    @functools.cached_property
    def of_truth(self) -> float:
        """How far rounding in float64 may move the truth: large inputs may cancel, as in logsumexp(x) - max(x)."""
        smooth = [self.inputs[i] for i in self.subject.smooth]
        return 32 * np.finfo(float).eps * max(magnitude(x) for x in (*(self.truth or ()), *self.u, *smooth))

    def _not_verifiable(self, name, at, times) -> Finding:
        got = "a number that no witness can judge" if self.is_finite else "a function that is not finite here"
        inputs = tuple(self.inputs)
        return Finding(Verdict.NOT_VERIFIABLE, "cotangents", name, at, got, "a witness", inputs=inputs, times=times)

    def evidence(self, k: int, room: Any) -> tuple[Evidence, dict[int, dict[str, str]]]:
        """The evidence on output or cotangent k, and by entry what the witnesses say."""
        is_output, native = k < len(self.u), real_parts(self.native[k])
        eps, dtype = float(jnp.finfo(self.got[k].dtype).eps), _real(self.got[k].dtype)
        if self.truth is None:  # the plain derivative, too, is only as accurate as rounding permits
            room, of_formula = ROUNDED * magnitude(native), ROUNDED * magnitude(native)
            low = native
        else:
            low = real_parts(self.truth[k])
            scale = magnitude(low)
            of_formula = room * 1e-3 + 8 * eps * max(scale, self.usual[k])
            room = room + scale * eps**0.5 + 32 * eps * self.usual[k]
            if is_output:  # cotangents have witnesses with more digits
                room, of_formula = room + self.of_truth, of_formula + self.of_truth
        if is_output:
            low = np.where(np.isfinite(native), low, np.nan)  # overflow is not the rule's fault
        got = real_parts(self.got[k])
        rooms = np.asarray(room), np.asarray(of_formula)
        evidence = Evidence(got, real_parts(self.formula[k]), low, low, *rooms, dtype)
        evidence = with_users_rounding(_excuse_rounding(evidence, native), lambda: real_parts(self.users[k]))
        if is_output:
            return evidence, {}
        if is_sampled_in_a_loop(self.subject):
            unknown = np.full(np.shape(got), np.nan)
            return dataclasses.replace(evidence, low=unknown, high=unknown), {}
        evidence, said = self.with_witnesses(evidence, k - len(self.u))
        evidence = dataclasses.replace(evidence, given=self.is_given and self.is_finite)
        shared = ~np.isfinite(got) & ~np.isfinite(native)
        if self.subject.is_whole:  # there is no rule that could be at fault
            shared &= not self.is_given
        border = shared & (bool(shared.any()) and self.neighbours.has_border)
        return dataclasses.replace(evidence, border=border), said

    def with_witnesses(self, evidence: Evidence, i: int) -> tuple[Evidence, dict[int, dict[str, str]]]:
        """The evidence on cotangent i, in which the witnesses decide entries where rule and plain function disagree."""
        disputed = (verdicts(evidence) != Verdict.RIGHT).reshape(-1) & ~self._unverifiable_parts(i)
        if self.subject.is_whole and not self.is_given:  # only what is not finite becomes a finding
            disputed &= ~np.isfinite(evidence.got.reshape(-1))
        places = np.flatnonzero(disputed)
        if not places.size:
            return evidence, {}
        with np.errstate(all="ignore"):
            apart = np.abs(evidence.formula - evidence.low).reshape(-1)[places]
        places = places[np.argsort(-np.nan_to_num(apart, nan=np.inf), kind="stable")]
        low, high, room = evidence.low.reshape(-1).copy(), evidence.high.reshape(-1).copy(), np.zeros(evidence.got.size)
        is_automatic = self.truth is None and np.isfinite(low)
        low[places], high[places] = np.nan, np.nan
        said = {}
        for place in places[:DISPUTED]:
            along: list = [None] * len(self.subject.smooth)
            along[i] = _basis(self.inputs[self.subject.smooth[i]], place)
            slope, said[place] = self.witnesses.slope(self.inputs, self.u, along)
            low[place], high[place], room[place] = float(slope.low), float(slope.high), slope.room
            if slope.low < slope.high:
                near = self.neighbours.cotangent_entry(self.u, i, place)
                low[place], high[place] = np.nanmin([float(low[place]), *near]), np.nanmax([float(high[place]), *near])
        if self.truth is None:  # without another witness, the automatic derivative is the only one
            alone = is_automatic & np.isnan(low)
            low, high = (np.where(alone, evidence.low.reshape(-1), x) for x in (low, high))
        low, high, room = (x.reshape(evidence.low.shape) for x in (low, high, room))
        rooms = {"room": evidence.room + room, "of_formula": evidence.of_formula + room}
        return dataclasses.replace(evidence, low=low, high=high, **rooms), said

    def _unverifiable_parts(self, i):
        mask = self.unverifiable[i]
        return (np.stack([mask, mask], -1) if np.iscomplexobj(self.got[len(self.u) + i]) else mask).reshape(-1)

    def along_directions(self) -> tuple[list[Finding], bool]:
        """The rule's derivative along random directions against values alone, in float64.

        Neither the plain derivative nor the exact witness is used. The directions are 0 in entries that values cannot
        verify. Also returns whether the values determined the derivative along any direction.
        """
        subject, findings, are_known = self.subject, [], False
        if all(mask.all() for mask in self.unverifiable):
            return [], False
        for seed in range(10, 11 if subject.size > jx.LARGE else 10 + DIRECTIONS):
            random = random_arrays(seed, [subject.types[i] for i in subject.smooth])
            along = [np.where(mask, 0, v).astype(v.dtype) for v, mask in zip(random, self.unverifiable, strict=True)]
            try:
                slope = self.witnesses.numerical(self.inputs, self.u, along)
            except NoDoublePrecision:
                return findings, False
            are_known |= bool(np.isfinite(slope.low))
            findings += self._along_direction(along, slope)
        return [f for f in findings if f.verdict != Verdict.CONVENTION], are_known

    def _along_direction(self, along, slope) -> list[Finding]:
        dtype, formula = self.subject.dtype, self.formula[len(self.u) :]
        terms = [
            np.real(np.where(mask, 0, x) * as_double(v))
            for x, v, mask in zip(formula, along, self.unverifiable, strict=True)
        ]
        got = np.asarray(sum(x.sum() for x in terms))
        if not np.isfinite(got):  # that is a finding on an entry
            return []
        rounding = float(jnp.finfo(dtype).eps) ** 0.5 * sum(np.abs(x).sum() for x in terms) * 0.1
        room = np.asarray(rounding + slope.room)
        evidence = Evidence(got, got, slope.low, slope.high, room, room, _real(dtype))
        witnesses = lambda _: {"numerical": slope_text(slope)}
        at, inputs = (lambda _: "along a random direction"), (lambda _: tuple(self.inputs))
        return judged(evidence, "cotangents", "derivative", at, inputs, witnesses)

    def along_ones(self) -> list[Finding]:
        """The sum of each cotangent at a kink: each entry alone is a convention, but along ones f may be smooth."""
        subject, count = self.subject, len(self.u)
        if self.truth is None or self.point not in ("equal numbers", "zeros", "repeated numbers"):
            return []
        if subject.size > 10**4:
            return []
        findings = []
        for i, place in enumerate(subject.smooth):
            formula, truth = self.formula[count + i], self.truth[count + i]
            got, expected = (float(np.real(x).sum()) for x in (formula, truth))
            size = np.asarray(1e-3 * np.abs(formula).sum() + 1e-12 * self.usual[count + i] * formula.size)
            if self.unverifiable[i].any() or not np.isfinite(got) or abs(got - expected) <= size:
                continue
            along: list = [None] * len(subject.smooth)
            along[i] = np.ones_like(self.inputs[place])
            slope, said = self.witnesses.slope(self.inputs, self.u, along)
            dtype = _real(self.inputs[place].dtype)
            evidence = Evidence(np.asarray(got), np.asarray(got), slope.low, slope.high, size, size, dtype)
            what, at = f"sum of the {subject.cotangents[i]}", lambda _: f"for {self.point}"
            inputs, witnesses = (lambda _: tuple(self.inputs)), (lambda _, said=said: said)
            findings += judged(evidence, "cotangents", what, at, inputs, witnesses)
        return [f for f in findings if f.verdict == Verdict.WRONG]


def _is_defined(subject, truth, inputs, u):
    """Whether the function is finite at generated arrays, in float64 and in its own types."""
    runs = (truth, evaluated(subject.steps[1], *inputs, *u))
    return all(np.isfinite(y).all() for outputs in runs for y in outputs[: len(subject.outputs)])


def _excuse_rounding(e, native):
    """Evidence in which a rule may have four times the plain function's error in the same types.

    Where both agree in these types, and the rule's formula is right, rounding has moved the point, not the rule.
    """
    with np.errstate(all="ignore"):
        own = np.abs(native - e.low)
        near = np.abs(e.got - native) <= e.of_formula + float(jnp.finfo(e.dtype).eps) ** 0.5 * np.abs(native)
    got = np.where(near & np.isfinite(e.low) & np.isfinite(native), e.formula, e.got)
    return dataclasses.replace(e, got=got, room=e.room + 4 * own[np.isfinite(own)].max(initial=0))


def _conditioning(subject, inputs, u, truth):
    """How far each output and cotangent moves, at most, when every input moves by its rounding error."""
    random = np.random.default_rng(0)
    moved = lambda x: (
        as_double(np.asarray(x)) * (1 + 2 * float(jnp.finfo(x.dtype).eps) * random.choice([-1, 1], np.shape(x)))
        if jnp.issubdtype(x.dtype, jnp.inexact) else x
    )  # fmt: skip
    rooms = [0.0] * len(truth)
    for _ in range(2 if subject.size <= jx.LARGE else 1):
        other = in_float64(subject.steps[1], *map(moved, inputs), *map(moved, u))
        if other is None:
            return rooms
        for k, (a, b) in enumerate(zip(other, truth, strict=True)):
            with np.errstate(all="ignore"):
                change = np.abs(a - b)
            rooms[k] = max(rooms[k], 32 * change[np.isfinite(change)].max(initial=0))
    return rooms


def _real(dtype):
    return np.dtype(np.zeros((), dtype).real.dtype) if jnp.issubdtype(dtype, jnp.complexfloating) else np.dtype(dtype)


def _basis(x, place):
    """The direction of an entry of `real_parts`; an imaginary part's is −i, as JAX pairs without conjugation."""
    out = np.zeros(x.size, x.dtype)
    if np.iscomplexobj(x):
        out[place // 2] = 1 if place % 2 == 0 else -1j
    else:
        out[place] = 1
    return out.reshape(x.shape)


def _entry(point, x, i):
    """In words, the point, and the entry of an array to which a part belongs."""
    return f"{entry(i // 2 if np.iscomplexobj(x) else i, np.shape(x))} for {point}".strip()
