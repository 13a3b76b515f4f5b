"""The tables of `contrast`."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from jaxdl.measure.contrast_sentences import differing, gains, losses, whole_losses
from jaxdl.report import Table, bytes_text, number_text, ratio_text, seconds_text


def labels(comparisons: Sequence[Any]) -> list[str]:
    """The name of each comparison and the shape of its first input; of equal ones also that of the output, or a number.

    Args:
        comparisons: Comparisons, in the order of the program.
    """
    found = [c.name if c.name == "whole" else f"{c.name.replace('_', ' ')} {_shape(c.shape)}" for c in comparisons]
    count = Counter(found)
    found = [f"{x} → {_shape(c.output_shape)}" if count[x] > 1 else x for x, c in zip(found, comparisons, strict=True)]
    count, numbers = Counter(found), defaultdict(lambda: itertools.count(1))
    return [f"{x} ({next(numbers[x])})" if count[x] > 1 else x for x in found]


def _shape(shape):
    return "×".join(map(str, shape)) or "number"


def _ratio(hand, automatic):
    return ratio_text(hand / automatic if hand and automatic else None)


def _of_sides(c, names, text, figure):
    """A cell with a figure of each side."""
    return " / ".join(text(figure(c.sides[name]) if name in c.sides else None) for name in names)


def _columns(sides, brief):
    """Header, whether the brief table has it, and the cell of a comparison."""
    compared = sides[:2] if brief else sides
    heading = " / ".join(compared).replace("automatic", "auto")
    of_all = lambda text, figure: lambda c: _of_sides(c, compared, text, figure)
    time = lambda name: lambda c: _of_sides(c, [name], ratio_text, lambda side: side.step and side.step.ratio)
    step = of_all(seconds_text, lambda side: side.step and side.step.medians[0])
    return (
        ("×", True, lambda c: str(c.count)),
        ("difference", True, lambda c: number_text(c.largest and c.largest.relative)),
        (f"ULP {heading}", True, of_all(number_text, lambda side: side.ulp)),
        ("forward", False, lambda c: ratio_text(c.forward and c.forward.ratio)),
        ("backward", False, lambda c: ratio_text(c.backward and c.backward.ratio)),
        (f"step {heading}", True, step),
        ("time", True, time("hand")),
        *((f"time {name}", True, time(name)) for name in sides[2:]),
        ("compile", False, lambda c: _ratio(c.hand.compile_seconds, c.automatic.compile_seconds)),
        ("FLOPs", False, lambda c: _ratio(c.hand.flops, c.automatic.flops)),
        ("bytes", False, lambda c: _ratio(c.hand.bytes_accessed, c.automatic.bytes_accessed)),
        (f"residuals {heading}", True, of_all(bytes_text, lambda side: side.cost.residual_bytes)),
        (f"unneeded {heading}", False, of_all(bytes_text, lambda side: side.cost.unneeded_bytes)),
        (f"inputs kept {heading}", False, of_all(bytes_text, lambda side: side.cost.argument_bytes)),
        (f"temporary {heading}", False, of_all(bytes_text, lambda side: side.cost.temporary_bytes)),
        (f"whole step {heading}", False, of_all(bytes_text, lambda side: side.cost.step_bytes)),
    )


_NOTE = (
    "Automatic is the same function without its hand-written rules. Step: forward and backward pass in one program, "
    "the median; temporary memory is that program's. Times, FLOPs and bytes are ratios hand : automatic: below 1 the "
    "hand-written rule is cheaper. ULP is the largest distance from a float64 run, in units of the largest entry's "
    "last place (if f is in float64 itself, the automatic derivative is that run); the difference is over the largest "
    "entry. Residuals are computed in the forward pass and kept for the backward pass; apart from them are inputs that "
    "are kept, and what a compiler removes (unneeded): constants such as zeros, and what the backward pass does not "
    "read."
)
_STOCK = (
    " Stock is jax.nn, jax.numpy and lax, or what Flax and optax compute, in place of jaxdl's operations; an operation "
    "without a figure there has its definition."
)


def comparison_table(title: str, comparisons: Sequence[Any], brief: bool, left_out: Sequence[Any] = ()) -> Table:
    """One row a comparison; the note says why cells are empty, and which rules have no row."""
    sides = sides_of(comparisons)
    columns = [(header, cell) for header, in_brief, cell in _columns(sides, brief) if in_brief or not brief]
    named = list(zip(labels(comparisons), comparisons, strict=True))
    rows = [(name, *(cell(c) for _, cell in columns)) for name, c in named]
    note = _NOTE
    if sides[2:]:
        note += f" Times of {' and '.join(sides[2:])} are ratios to automatic too."
    if "stock" in sides:
        note += _STOCK
    kinks = [text for name, c in named if (text := _kinks(name, c))]
    empty = [f"{name} has no {what}: {reason}" for name, c in named for what, reason in c.missing]
    empty += [f"{site.name} ({site.where}) has no row: {reason}" for site, reason in left_out]
    return Table(title, ("function", *(header for header, _ in columns)), rows, "\n".join([note, *kinks, *empty]))


def _kinks(name, c):
    """Which differences are those of a kink."""
    found = [d for d in c.differences if d.is_at_kink]
    if not found:
        return ""
    most = max(found, key=lambda d: d.relative)
    others = f" and {len(found) - 1} more" if len(found) > 1 else ""
    known = ([u for d in found if (u := getattr(d, ulp)) is not None] for ulp in ("hand_ulp", "automatic_ulp"))
    ulps = " / ".join(number_text(max(of_side, default=None)) for of_side in known)
    return (
        f"{name}: the {most.name}{others} is at a kink: rounding decides a maximum, a sign or a comparison. There "
        f"the two differ by {number_text(most.relative)}; hand / auto are {ulps} ULP from what lies between the "
        f"derivatives on its sides. This difference is not in the table."
    )


def sides_of(comparisons: Sequence[Any]) -> list[str]:
    """The names of all sides: hand, automatic, and those that any comparison has beside them."""
    return list(dict.fromkeys(name for c in comparisons for name in c.sides))


_LEFT_OUT = "Bytes below 1 % of the whole function's are left out."


def gains_table(whole: Any, comparisons: Sequence[Any]) -> Table:
    """One row for each rule that measures better: the figures, and the rule's stated reason, where any has one.

    A rule whose results differ beyond rounding gains nothing: the note names it.
    """
    named = list(zip(labels(comparisons), comparisons, strict=True))
    rows = [(name, "; ".join(found), c.gain) for name, c in named if not differing(c) and (found := gains(c, whole))]
    columns = "function", "gain", "cause"
    wrong = [f"{name} is left out: its results differ." for name, c in named if differing(c)]
    note = _LEFT_OUT if rows else "No rule measures better than the automatic derivative here."
    title = "Where hand-written rules gain, and why"
    return Table(title, columns, rows, " ".join([*wrong, note]), words=3).without_empty_columns()


def losses_table(whole: Any, comparisons: Sequence[Any]) -> Table:
    """One row for each rule that measures worse than the automatic derivative or the stock function.

    Rules whose results differ come first, and before them the whole function, where it differs or is slower.
    """
    named = list(zip(labels(comparisons), comparisons, strict=True))
    rows = [(name, "; ".join(found)) for name, c in named if (found := losses(c, whole))]
    wrong = {name for name, c in named if differing(c)}
    rows.sort(key=lambda row: row[0] not in wrong)
    note = _LEFT_OUT if rows else "No rule measures worse than the automatic derivative or the stock function here."
    if of_whole := whole_losses(whole):
        if not rows:
            note = "No rule by itself measures worse: what the compiler fuses differs between the two programs."
        rows.insert(0, ("whole", "; ".join(of_whole)))
    return Table("Where hand-written rules lose", ("function", "loss"), rows, note, words=2)
