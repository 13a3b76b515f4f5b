"""The search for the fastest choices: greedy by share of time, each step measured on the whole gradient."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from jaxdl.measure import Pairs, rounds
from jaxdl.tuner.choices import AUTOMATIC, HAND, STOCK, Choices, Group, groups, with_choices
from jaxdl.tuner.trials import Options, Trials, Variant, is_better

NEAR = 1.1  # a change that took at most so much longer is tried again after other changes
SMALL = 0.002  # of the estimated time: smaller groups are not tried


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

    def __post_init__(self):
        self.groups: list[Group] = groups(self.jaxpr)
        self.free: list[Group] = [group for group in self.groups if not self.keep(group.site)]

    def uniform(self, option: str) -> Choices:
        """The choices with one option for all groups that may be changed."""
        if option == HAND:
            return Choices()
        held = tuple((group.key, HAND) for group in self.groups if self.keep(group.site))
        return Choices(option, held)

    def variant(self, choices: Choices) -> Variant:
        """The compiled gradient with these choices."""
        return self.trials.variant(with_choices(self.jaxpr, choices), self.options)

    def starts(self) -> dict[str, tuple[Choices, Variant]]:
        """The function as written, all of it automatic, and all of it stock."""
        names = [HAND]
        if self.free:
            names.append(AUTOMATIC)
        if any(STOCK in group.options for group in self.free):
            names.append(STOCK)
        found = {}
        for name in names:
            self.report(f"all {name}")
            choices = self.uniform(name)
            found[name] = choices, self.variant(choices)
        return found

    def best(self, starts: dict[str, tuple[Choices, Variant]]) -> tuple[Choices, Variant]:
        """The best choices that are found in the time."""
        choices, best = fastest([*starts.values()])
        self.start = choices
        near = []
        for changed, option in self._changes():
            if self.trials.is_over:
                self.left_out += 1
                continue
            choices, best, tried = self._try(choices, best, changed, option)
            if tried and not tried.adopted and tried.ratio is not None and tried.ratio <= NEAR:
                near.append((changed, option))
        for changed, option in near:  # what did not pay alone may pay beside the others
            if not self.trials.is_over:
                choices, best, _ = self._try(choices, best, changed, option)
        return choices, best

    def _changes(self) -> Iterator[tuple[list[Group], str]]:
        """First all groups of a name at once, then each group of those; the most expensive first."""
        total = sum(group.cost for group in self.free)
        large = [group for group in self.free if group.cost > SMALL * total]
        by_name: dict[str, list[Group]] = {}
        for group in large:
            by_name.setdefault(group.site.name, []).append(group)
        for alike in by_name.values():
            for option in dict.fromkeys(o for group in alike for o in group.options):
                yield [group for group in alike if option in group.options], option
        for group in large:
            if len(by_name[group.site.name]) > 1:
                yield from (([group], option) for option in group.options)

    def _try(self, choices, best, changed, option):
        new = choices.changed(changed, option)
        if new == choices:
            return choices, best, None
        self.report(f"{changed[0].site.name}: {option}")
        variant = self.variant(new)
        keys = tuple(group.key for group in changed)
        if variant.refused:
            tried = Tried(keys, option, None, 0, False, variant.refused)
        elif variant is best:
            tried = Tried(keys, option, 1.0, 0, False)
        else:
            times = self.trials.race(variant, best)
            adopted = is_better(variant, best, times)
            tried = Tried(keys, option, times.ratio, variant.residual_bytes - best.residual_bytes, adopted)
        self.tried.append(tried)
        return (new, variant, tried) if tried.adopted else (choices, best, tried)

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


def fastest(found: Sequence[tuple[Any, Variant]], seconds: float = 0.5) -> tuple[Any, Variant]:
    """The fastest of several variants, with what is beside it; the first of those that are equally fast."""
    usable = [(what, variant) for what, variant in found if not variant.refused]
    distinct = list({id(variant): (what, variant) for what, variant in reversed(usable)}.values())[::-1]
    if len(distinct) == 1:
        return distinct[0]
    times = rounds(*[variant.run for _, variant in distinct], seconds=seconds, least=5)
    best = 0
    for i in range(1, len(distinct)):
        if is_better(distinct[i][1], distinct[best][1], Pairs(times[i], times[best])):
            best = i
    return distinct[best]
