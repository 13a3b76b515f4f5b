"""Any rule, at the arrays given and at some made of them: its cotangents against those of the plain function."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.auditor.findings import Finding, Verdict, entry, number
from jaxdl.auditor.judge import Evidence, found, half_of_the_digits, verdicts
from jaxdl.auditor.slopes import UNKNOWN, Numerical, exact_slope
from jaxdl.auditor.subject import LARGE, Raised, Subject, drawn, evaluated, in_float64, top
from jaxdl.auditor.untold import BESIDE, is_drawn_in_a_loop, search, untold
from jaxdl.double_precision import as_double, real_parts

DIRECTIONS = 2
NEARBY = 8
DISPUTED = 6  # entries for which witnesses are called
SHORTER = 1e-3  # of a step beside the point
ROUNDED = 0.02  # of the largest entry: what rounding explains where nothing is computed in float64
GIVEN = "the arrays given"


def points(subject: Subject) -> dict[str, tuple]:
    """Arrays to look at, by what is special about them."""
    if subject.size > LARGE or not subject.edges or (searches(subject) and not subject.is_whole):
        return {GIVEN: subject.inputs}
    return {GIVEN: subject.inputs} | made_up(subject)


def searches(subject: Subject) -> bool:
    """Whether a loop in it runs until it has found something: at numbers that are made up, or in other formats than
    those it was meant for, it need not find it."""
    return "while" in jx.primitives(subject.value)


def made_up(subject: Subject) -> dict[str, tuple]:
    """Arrays made of those given, in their domains."""
    domains = subject.domains or (None,) * len(subject.inputs)

    def made(change, x, domain):
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return x
        x = np.asarray(x)
        return domain.admitted(change(x), x) if domain else change(x)

    pairs = [*zip(subject.inputs, domains, strict=True)]
    return {name: tuple(made(change, *pair) for pair in pairs) for name, change in _CHANGES.items()}


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
    """What is found at all points: values, and cotangents for one cotangent."""
    numerical = functools.cache(lambda longer: Numerical(subject, longer))
    findings, usual = [], None
    for name, inputs in points(subject).items():
        u = subject.seeds()
        truth = in_float64(subject.steps[1], *inputs, *u)
        if usual is None:
            usual = [top(y) for y in truth or evaluated(subject.steps[0], *inputs, *u)]
        elif not (truth and _is_defined(subject, truth, inputs, u)):
            continue
        new = At(subject, name, inputs, u, truth, usual, numerical).findings()
        if subject.is_whole and inputs is not subject.inputs:
            # Where several kinks meet, JAX's sum of conventions need not be one itself.
            new = [f for f in new if f.verdict in (Verdict.NON_FINITE, Verdict.BORDER)]
        findings += new
    return findings


@dataclass(eq=False)
class At:
    """A subject at one point, by the name of `point`, for the cotangents u of its outputs.

    usual: the size of each output and cotangent for the arrays given, whose rounding may be met anywhere.
    """

    subject: Subject
    point: str
    inputs: tuple
    u: list
    truth: list | None
    usual: list
    numerical: Callable

    @property
    def is_given(self):
        return self.point == GIVEN

    @functools.cached_property
    def got(self):
        return evaluated(self.subject.steps[0], *self.inputs, *self.u)

    @functools.cached_property
    def native(self):
        """What JAX derives, in the types given; NaN where it derives nothing."""
        plain = self.subject.steps[1]
        return evaluated(plain, *self.inputs, *self.u) if plain else [np.full_like(y, np.nan) for y in self.got]

    @functools.cached_property
    def formula(self):
        return in_float64(self.subject.steps[0], *self.inputs, *self.u) or self.got

    @functools.cached_property
    def untold(self):
        return untold(self.subject, self.inputs, self.u)

    @functools.cached_property
    def is_finite(self):
        """Whether the function is, here."""
        return all(np.isfinite(y).all() for y in self.got[: len(self.u)])

    @functools.cached_property
    def beside(self):
        """Values of the function beside the point, in some directions, after a step and after a shorter one."""
        random, smooth = np.random.default_rng(0), self.subject.smooth
        steps = lambda x: BESIDE * np.maximum(1, np.abs(as_double(np.asarray(x))))
        ways = [{i: sign} for i in smooth for sign in (-1, 1)] + [dict.fromkeys(smooth, sign) for sign in (-1, 1)]
        ways += [{i: random.standard_normal(np.shape(self.inputs[i])) for i in smooth} for _ in range(NEARBY)]
        moved = lambda way, part: [
            as_double(np.asarray(x)) + way[i] * steps(x) * part if i in way else x for i, x in enumerate(self.inputs)
        ]
        values = ([in_float64(self.subject.value, *moved(way, part)) for part in (1, SHORTER)] for way in ways)
        return [pair for pair in values if None not in pair]

    @functools.cached_property
    def jumps(self):
        """Whether the function is not continuous at the point."""
        here = in_float64(self.subject.value, *self.inputs)
        off = lambda values: max(float(np.abs(a - b).max(initial=0)) for a, b in zip(values, here, strict=True))
        return any(off(short) > 0.5 * off(long) > 1e-9 for long, short in self.beside)

    @functools.cached_property
    def is_border(self):
        """Whether the function is not defined, not finite or has jumped somewhere beside the point."""
        return self.jumps or not all(np.isfinite(y).all() for pair in self.beside for values in pair for y in values)

    def findings(self) -> list[Finding]:
        findings, unknown = [], []
        room = _conditioning(self.subject, self.inputs, self.u, self.truth) if self.truth else [0.0] * len(self.got)
        if self.subject.dtype == np.float64 and self.truth:  # the truth is rounded as well
            smooth = [self.inputs[i] for i in self.subject.smooth]
            most = max(top(x) for x in (*self.truth, *self.u, *smooth))
            room = [r + 32 * np.finfo(float).eps * most for r in room]
        for k, name in enumerate(self.subject.names):
            evidence, said = self.evidence(k, room[k])
            automatic = real_parts(self.native[k]).reshape(-1)
            witnesses = lambda i, a=automatic, said=said: {"automatic": number(a[i])} | said.get(i, {})
            at_entry = functools.partial(_entry, self.point, self.got[k])
            told = "value" if k < len(self.u) else "cotangents", name, at_entry, lambda i: tuple(self.inputs), witnesses
            findings += found(evidence, *told)
            places = np.flatnonzero(verdicts(evidence) == Verdict.NOT_VERIFIABLE)
            unknown += [(name, at_entry(places[0]), len(places))] if k >= len(self.u) and places.size else []
        if not self.is_given:
            return findings + self.along_ones()
        slopes, are_known = self.along_directions()
        return findings + slopes + ([] if are_known else [self.nobody_knows(*told) for told in unknown])

    def nobody_knows(self, name, at, times) -> Finding:
        got = "a number that no witness can judge" if self.is_finite else "a function that is not finite here"
        told = "cotangents", name, at, got, "a witness"
        return Finding(Verdict.NOT_VERIFIABLE, *told, inputs=tuple(self.inputs), times=times)

    def evidence(self, k, room):
        """What is known of output or cotangent k; and what the witnesses say of its entries."""
        is_output, native = k < len(self.u), real_parts(self.native[k])
        eps, dtype = float(jnp.finfo(self.got[k].dtype).eps), _real(self.got[k].dtype)
        if self.truth is None:  # what JAX derives is held to no more digits than rounding leaves of it
            room, of_formula = ROUNDED * top(native), ROUNDED * top(native)
            low = native
        else:
            low = real_parts(self.truth[k])
            scale = top(low)
            of_formula = room * 1e-3 + 8 * eps * max(scale, self.usual[k])
            room = room + scale * eps**0.5 + 32 * eps * self.usual[k]
        if is_output:
            low = np.where(np.isfinite(native), low, np.nan)  # that it overflows is not the rule's fault
        got = real_parts(self.got[k])
        evidence = Evidence(got, real_parts(self.formula[k]), low, low, room, of_formula, dtype)
        evidence = _alike_in_its_precision(evidence, native)
        if is_output:
            return evidence, {}
        if is_drawn_in_a_loop(self.subject):
            unknown = np.full(np.shape(got), np.nan)
            return dataclasses.replace(evidence, low=unknown, high=unknown), {}
        evidence, said = self.disputed(evidence, k - len(self.u))
        evidence = dataclasses.replace(evidence, given=self.is_given and self.is_finite)
        shared = ~np.isfinite(got) & ~np.isfinite(native)
        if self.subject.is_whole:  # where there is no rule that could be at fault
            shared &= not self.is_given
        border = shared & (bool(shared.any()) and self.is_border)
        return dataclasses.replace(evidence, border=border), said

    def disputed(self, evidence, i):
        """Where rule and plain function disagree, or the latter has no number, the witnesses are asked."""
        places = np.flatnonzero((verdicts(evidence) != Verdict.RIGHT).reshape(-1) & ~self.untold_parts(i))
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
            along = [None] * len(self.subject.smooth)
            along[i] = _basis(self.inputs[self.subject.smooth[i]], place)
            slope, names = self.asked(along)
            low[place], high[place], room[place] = float(slope.low), float(slope.high), slope.room
            if slope.low < slope.high:
                near = self.nearby(i, place)
                low[place], high[place] = np.nanmin([low[place], *near]), np.nanmax([high[place], *near])
            said[place] = names
        if self.truth is None:  # where no other witness speaks, JAX's is the only one
            alone = is_automatic & np.isnan(low)
            low, high = (np.where(alone, evidence.low.reshape(-1), x) for x in (low, high))
        low, high, room = (x.reshape(evidence.low.shape) for x in (low, high, room))
        rooms = {"room": evidence.room + room, "of_formula": evidence.of_formula + room}
        return dataclasses.replace(evidence, low=low, high=high, **rooms), said

    def untold_parts(self, i):
        mask = self.untold[i]
        return (np.stack([mask, mask], -1) if np.iscomplexobj(self.got[len(self.u) + i]) else mask).reshape(-1)

    def nearby(self, i, place):
        """An entry of a plain cotangent at points around a kink: all its limits there are conventions (Clarke 1975)."""
        random = np.random.default_rng(0)
        values = []
        for _ in range(NEARBY):
            moved = [
                as_double(np.asarray(x)) + BESIDE * random.standard_normal(np.shape(x))
                if k in self.subject.smooth
                else x
                for k, x in enumerate(self.inputs)
            ]
            found = in_float64(self.subject.steps[1], *moved, *self.u)
            values += [] if found is None else [float(real_parts(found[len(self.u) + i]).reshape(-1)[place])]
        return [v for v in values if np.isfinite(v)] or [np.nan]

    def by_values(self, along):
        """The numerical witness. What a search stops at tells the slope only as far as the search has settled: there
        the one of a run twice as long is asked; how far both are apart, and half of the digits that moved, is the room.
        """
        slope = self.numerical(None).slope(self.inputs, self.u, along)
        found = search(self.subject)
        if found is None or np.isnan(slope.low):
            return slope
        if found.longer is None:
            return UNKNOWN
        settled = self.numerical(found.longer).slope(self.inputs, self.u, along)
        if np.isnan(settled.low):  # what has settled need not stand more steps
            settled = slope
        if self.is_stairs(slope) or self.is_stairs(settled):
            return UNKNOWN
        apart = max(abs(float(slope.low - settled.low)), abs(float(slope.high - settled.high)))
        steep = max(abs(float(settled.low)), abs(float(settled.high)))  # a rule sees the point that is not settled
        return dataclasses.replace(settled, room=2 * apart + found.part**0.5 * steep)

    def is_stairs(self, slope):
        """What a bisection gives: between its steps nothing moves."""
        steep = max(abs(float(slope.low)), abs(float(slope.high)))
        return not slope.high - slope.low <= half_of_the_digits(self.subject.dtype) * steep

    def asked(self, along):
        """The exact witness where it can be had, else the numerical; and what each says."""
        smooth = self.subject.smooth
        full = [np.zeros_like(self.inputs[i]) if a is None else a for i, a in zip(smooth, along, strict=True)]
        said = {}
        slope = exact_slope(self.subject, self.inputs, self.u, along)
        if slope is not None:
            said["exact"] = _said(slope)
        if slope is None or np.isnan(slope.low):
            try:
                slope = self.by_values(full)
                said["numerical"] = _said(slope)
            except Raised as raised:  # of what the function holds something does not work in float64
                slope = UNKNOWN
                said["numerical"] = type(raised.error).__name__
        return slope, said

    def along_directions(self) -> tuple[list[Finding], bool]:
        """The derivative along drawn directions against the values alone, in float64: neither rule nor JAX's is asked.

        Also whether the values told the derivative along any of them. Directions have no part in entries of which
        values tell nothing.
        """
        subject, findings, are_known = self.subject, [], False
        if all(mask.all() for mask in self.untold):
            return [], False
        for seed in range(10, 11 if subject.size > LARGE else 10 + DIRECTIONS):
            drawn_along = drawn(seed, [subject.types[i] for i in subject.smooth])
            along = [np.where(mask, 0, v).astype(v.dtype) for v, mask in zip(drawn_along, self.untold, strict=True)]
            try:
                slope = self.by_values(along)
            except Raised:  # of what the function holds something does not work in float64
                return findings, False
            formula = self.formula[len(self.u) :]
            terms = [
                np.real(np.where(mask, 0, x) * as_double(v))
                for x, v, mask in zip(formula, along, self.untold, strict=True)
            ]
            got = np.asarray(sum(x.sum() for x in terms))
            are_known |= bool(np.isfinite(slope.low))
            if not np.isfinite(got):  # which was said of its entries
                continue
            rounding = float(jnp.finfo(subject.dtype).eps) ** 0.5 * sum(np.abs(x).sum() for x in terms) * 0.1
            room = np.asarray(rounding + slope.room)
            evidence = Evidence(
                got, got, np.asarray(slope.low), np.asarray(slope.high), room, room, _real(subject.dtype)
            )
            witnesses = lambda _, slope=slope: {"numerical": _said(slope)}
            at_point = lambda _: "along a drawn direction"
            findings += found(evidence, "cotangents", "derivative", at_point, lambda _: tuple(self.inputs), witnesses)
        return [f for f in findings if f.verdict != Verdict.CONVENTION], are_known

    def along_ones(self) -> list[Finding]:
        """At a kink each entry may take what it likes, but not all together: along ones the function may be smooth."""
        subject, count = self.subject, len(self.u)
        if self.point not in ("equal numbers", "zeros", "repeated numbers") or subject.size > 10**4:
            return []
        findings = []
        for i, place in enumerate(subject.smooth):
            formula, truth = self.formula[count + i], self.truth[count + i]
            sums = [float(np.real(x).sum()) for x in (formula, truth)]
            size = np.asarray(1e-3 * np.abs(formula).sum() + 1e-12 * self.usual[count + i] * formula.size)
            if self.untold[i].any() or not np.isfinite(sums[0]) or abs(sums[0] - sums[1]) <= size:
                continue
            along = [None] * len(subject.smooth)
            along[i] = np.ones_like(self.inputs[place])
            slope, said = self.asked(along)
            numbers = sums[0], sums[0], slope.low, slope.high, size, size
            evidence = Evidence(*map(np.asarray, numbers), _real(self.inputs[place].dtype))
            what, at_point = f"sum of the {subject.cotangents[i]}", lambda _: f"for {self.point}"
            inputs = lambda _: tuple(self.inputs)
            findings += found(evidence, "cotangents", what, at_point, inputs, lambda _, said=said: said)
        return [f for f in findings if f.verdict == Verdict.WRONG]


def _is_defined(subject, truth, inputs, u):
    """Whether arrays that were made up are a point of the function: it is finite there, also as it runs."""
    runs = (truth, evaluated(subject.steps[1], *inputs, *u))
    return all(np.isfinite(y).all() for outputs in runs for y in outputs[: len(subject.outputs)])


def _said(slope):
    low, high = (f"{float(x):.9g}" for x in (slope.low, slope.high))
    return low if low == high else f"{low} to {high}"


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
        as_double(np.asarray(x)) * (1 + 2 * float(jnp.finfo(x.dtype).eps) * random.choice([-1, 1], np.shape(x)))
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


def _real(dtype):
    return np.dtype(np.zeros((), dtype).real.dtype) if jnp.issubdtype(dtype, jnp.complexfloating) else np.dtype(dtype)


def _basis(x, place):
    """The direction of an entry of `parts`; of a cotangent's imaginary part it is −i, as JAX pairs without conj."""
    out = np.zeros(x.size, x.dtype)
    if np.iscomplexobj(x):
        out[place // 2] = 1 if place % 2 == 0 else -1j
    else:
        out[place] = 1
    return out.reshape(x.shape)


def _entry(point, x, i):
    """The entry of an array that has a part, and the point, in words."""
    return f"{entry(i // 2 if np.iscomplexobj(x) else i, np.shape(x))} for {point}"
