"""The search for the fastest choices: greedy by share of time, each step measured on the whole gradient."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jaxdl.measure import Pairs, rounds
from jaxdl.tuner.choices import AUTOMATIC, HAND, STOCK, Choices, Group, groups, with_choices
from jaxdl.tuner.trials import Options, Trials, Variant, is_better

NEAR = 1.1  # a change that took at most so much longer is tried again after other changes
SLOW = 2.0  # times the fastest; what takes longer is not measured further


@dataclass(frozen=True)
class Tried:
    """One measured change of the choices.

    Attributes:
        keys: The groups that were changed.
        option: What was tried for them.
        ratio: The time of the whole gradient with the change, over that without; None if it was refused.
        bytes: Residual bytes with the change, less those without.
        adopted: Whether the change was kept.
        refused: Why the option cannot be used, else empty.
    """

    keys: tuple[str, ...]
    option: str
    ratio: float | None
    bytes: int
    adopted: bool
    refused: str = ""


@dataclass(frozen=True)
class Candidate:
    """A program that may be the result.

    Attributes:
        name: "hand" (the function as written), "automatic", "stock", or "tuned".
        choices: Its choices.
        options: The compiler options.
        variant: The program, compiled.
        residuals: Which values its backward pass keeps, as `cut` says it; None for what the derivatives keep.
    """

    name: str
    choices: Choices
    options: Options
    variant: Variant
    residuals: dict[str, Any] | None = None


@dataclass
class Search:
    """Finds the best choices for a jaxpr under one set of compiler options.

    Attributes:
        jaxpr: The program.
        trials: Compiles and times variants of it.
        options: The compiler options.
        keep: Whether a group keeps its hand-written rule.
        report: Called with what is being tried, for a progress bar.
    """

    jaxpr: Any
    trials: Trials
    options: Options
    keep: Callable[[Any], bool]
    report: Callable[[str], None]
    tried: list[Tried] = field(default_factory=list)
    left_out: int = 0
    start: Choices = field(default_factory=Choices)
    end: Choices = field(default_factory=Choices)

    def __post_init__(self):
        self.groups: list[Group] = groups(self.jaxpr)
        self.free: list[Group] = [group for group in self.groups if not self.keep(group.site)]

    def uniform(self, option: str) -> Choices:
        """The choices with one option for all groups that may be changed."""
        if option == HAND:
            return Choices()
        held = tuple((group.key, HAND) for group in self.groups if self.keep(group.site))
        return Choices(option, held)

    def starts(self) -> list[Candidate]:
        """The function as written, all of it automatic, and all of it stock."""
        has_stock = any(STOCK in group.options for group in self.free)
        names = [HAND, *[AUTOMATIC] * bool(self.free), *[STOCK] * has_stock]
        return [self._candidate(name, self.uniform(name), f"all {name}") for name in names]

    def best(self, start: Candidate) -> Candidate:
        """The best choices that are found in the time."""
        self.start, best, near = start.choices, start, []
        for changed, option in self._changes():
            if self.trials.is_over:
                self.left_out += 1
                continue
            best, tried = self._try(best, changed, option)
            if tried and not tried.adopted and tried.ratio is not None and tried.ratio <= NEAR:
                near.append((changed, option))
        for changed, option in near:  # what did not pay alone may pay beside the others
            if not self.trials.is_over:
                best, _ = self._try(best, changed, option)
        self.end = best.choices
        return best

    def _candidate(self, name, choices, what):
        self.report(what)
        variant = self.trials.variant(with_choices(self.jaxpr, choices), self.options)
        return Candidate(name, choices, self.options, variant)

    def _changes(self) -> Iterator[tuple[list[Group], str]]:
        """First all groups of a name at once, then each group of those; the most expensive first."""
        by_name: dict[str, list[Group]] = {}
        for group in self.free:
            by_name.setdefault(group.site.name, []).append(group)
        for alike in by_name.values():
            for option in dict.fromkeys(o for group in alike for o in group.options):
                yield [group for group in alike if option in group.options], option
        for group in self.free:
            if len(by_name[group.site.name]) > 1:
                yield from (([group], option) for option in group.options)

    def _try(self, best, changed, option):
        choices = best.choices.changed(changed, option)
        if choices == best.choices:
            return best, None
        new = self._candidate("tuned", choices, f"{changed[0].site.name}: {option}")
        keys = tuple(group.key for group in changed)
        if new.variant.refused:
            tried = Tried(keys, option, None, 0, False, new.variant.refused)
        elif new.variant is best.variant:
            tried = Tried(keys, option, 1.0, 0, False)
        else:
            times = self.trials.race(new.variant, best.variant)
            adopted = is_better(new.variant, best.variant, times)
            less = new.variant.stored_bytes - best.variant.stored_bytes
            tried = Tried(keys, option, times.ratio, less, adopted)
        self.tried.append(tried)
        return new if tried.adopted else best, tried

    def alternatives(self, group: Group) -> dict[str, Tried]:
        """What was measured for a group, by the option, as if tried last: with ratio and bytes over the final choice.

        A change that was adopted makes the option before it an alternative.
        """
        current, found = self.start.at(group.key), {}
        for tried in self.tried:
            if group.key not in tried.keys or tried.option == current:
                continue
            found[tried.option] = tried
            if tried.adopted:
                ratio, less = tried.ratio or 1.0, tried.bytes
                found[current] = replace(tried, option=current, ratio=1.0, bytes=0)
                found = {o: t if t.ratio is None else replace(t, ratio=t.ratio / ratio, bytes=t.bytes - less)
                         for o, t in found.items() if o != tried.option}  # fmt: skip
                current = tried.option
        return found


def fastest(candidates: Sequence[Candidate], seconds: float = 0.5) -> Candidate:
    """The fastest of several candidates, of those that are equally fast one with fewer bytes, or the first."""
    times = in_turn(candidates, seconds)
    best = next(c for c in candidates if id(c.variant) in times)
    for candidate in candidates:
        if candidate.variant is not best.variant and id(candidate.variant) in times:
            faster = is_better(candidate.variant, best.variant, paired(times, candidate, best))
            best = candidate if faster else best
    return best


def in_turn(candidates: Sequence[Candidate], seconds: float) -> dict[int, tuple[float, ...]]:
    """The times of the candidates' variants, by their identity, run in turn; without those that were refused.

    Those that take more than twice the time of the fastest run in the first rounds only.
    """
    variants = list({id(c.variant): c.variant for c in candidates if not c.variant.refused}.values())
    first = dict(zip(variants, rounds(*[v.run for v in variants], seconds=0, least=2), strict=True))
    shortest = min(map(min, first.values()))
    close = [v for v in variants if min(first[v]) <= SLOW * shortest]
    more = dict(zip(close, rounds(*[v.run for v in close], seconds=seconds, least=3), strict=True))
    return {id(v): first[v] + more.get(v, ()) for v in variants}


def paired(times: dict[int, tuple[float, ...]], first: Candidate, second: Candidate) -> Pairs:
    """The times of two candidates in the rounds in which both ran."""
    a, b = (times[id(candidate.variant)] for candidate in (first, second))
    both = min(len(a), len(b))
    return Pairs(a[:both], b[:both])
