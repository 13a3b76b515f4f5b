"""What `contrast` concludes, in words: the conclusion, where hand-written rules gain, and where they lose."""

from collections.abc import Iterator
from typing import Any

from jaxdl.measure.distances import beyond_rounding, worst_ulp
from jaxdl.measure.timing import Pairs
from jaxdl.report import bytes_text, number_text, ratio_text

CLEAR = 0.95  # of the other's figure: a clear difference
FARTHER = 4  # times as far apart as elsewhere: the two fall to different sides of a kink


def conclusion(whole: Any, order: int) -> str:
    """Whether the derivatives agree, and what they cost, in one sentence."""
    derivative = "derivative" if order == 1 else "second derivative"
    parts = [_agreement(whole), *([_speed(whole.step)] if whole.step else []), _kept(whole.hand, whole.automatic)]
    return f"Hand-written against automatic {derivative}: {'; '.join(parts)}."


def _agreement(whole):
    most = whole.largest
    if most is None:
        return "the results could not be compared"
    apart = f"{number_text(most.relative)} of the largest entry"
    if most.is_at_kink:
        return f"the results differ by {apart} at a kink, where rounding decides a maximum or a comparison"
    if differs(whole):
        return f"the results DIFFER by {apart}, in the {most.name}"
    agree = "are equal" if most.relative == 0 else f"agree to {apart}"
    return f"the results {agree}{_except_at_kinks(whole.differences, most.relative)}"


def _except_at_kinks(differences, relative):
    kinks = sum(d.is_at_kink and d.relative > FARTHER * relative for d in differences)
    of_all = f"{kinks} of {len(differences)} arrays"
    return f", except {of_all} at a kink, where rounding decides a maximum or a comparison" if kinks else ""


def differs(whole: Any) -> bool:
    """Whether a result by hand is farther from the automatic one and from the float64 run than rounding explains."""
    most = whole.largest
    if most is None or most.is_at_kink:
        return False
    if most.hand_ulp is None:
        return not most.relative < 1e-3
    return beyond_rounding(most.hand_ulp, most.automatic_ulp or 0)


def speed(step: Pairs) -> str:
    """The ratio of two times in words, with its quartiles."""
    low, high = step.spread
    ratio = f"{ratio_text(step.ratio)}, quartiles {low:.2f}–{high:.2f}"
    if high < 1 and step.ratio < CLEAR:
        return f"{1 / step.ratio:.1f} times as fast ({ratio})"
    if low > 1 and step.ratio > 1 / CLEAR:
        return f"{step.ratio:.2f} times the time ({ratio})"
    return f"the same time ({ratio})"


def _speed(step):
    return f"by hand {speed(step)}"


def _kept(hand, automatic):
    kept = [side.residual_bytes for side in (hand, automatic)]
    if kept[0] == kept[1]:
        return f"both keep {bytes_text(kept[0])} for the backward pass"
    ratio = f" ({ratio_text(kept[0] / kept[1])})" if kept[1] else ""
    return f"by hand {bytes_text(kept[0])} are kept for the backward pass, not {bytes_text(kept[1])}{ratio}"


def gains(c: Any) -> list[str]:
    """In which figures a hand-written rule is clearly better than the automatic derivative."""
    found = list(_clearly_less(c, c.hand, c.automatic, "hand", "automatic"))
    if c.step and c.step.ratio < CLEAR and c.step.spread[1] < 1:
        found.insert(0, f"{1 / c.step.ratio:.1f} times as fast")
    return found


def losses(c: Any) -> list[str]:
    """In which figures a hand-written rule is clearly worse than the automatic derivative or the stock function."""
    found = list(_clearly_less(c, c.automatic, c.hand, "automatic", "hand"))
    stock = c.beside.get("stock")
    against = {"": c.step, " of stock": c.step and stock and stock.step and Pairs(c.step.first, stock.step.first)}
    slower = {of: p for of, p in against.items() if p and p.ratio > 1 / CLEAR and p.spread[0] > 1}
    return [*(f"{pairs.ratio:.2f} times the time{of}" for of, pairs in slower.items()), *found]


def _clearly_less(c, less, more, less_name, more_name) -> Iterator[str]:
    """Bytes and distances from float64 that are clearly less on one side, told as those of the hand-written rule."""
    of_hand = less is c.hand
    told = lambda text, a, b: f"{text(a)}, not {text(b)}" if of_hand else f"{text(b)}, not {text(a)}"
    if kept_bytes(less) < CLEAR * kept_bytes(more):
        with_inputs = less.argument_bytes != more.argument_bytes
        text = _with_inputs if with_inputs else lambda cost: bytes_text(cost.residual_bytes)
        yield f"keeps {told(text, less, more)}"
    few, many = less.temporary_bytes, more.temporary_bytes
    if few is not None and many is not None and few < CLEAR * many:
        yield f"takes {told(bytes_text, few, many)} of temporary memory"
    near, far = worst_ulp(c.differences, less_name), worst_ulp(c.differences, more_name)
    if near is not None and far is not None and near < 0.8 * far and far > 1:
        text = lambda ulp: f"{number_text(ulp)} ULP" if ulp is (near if of_hand else far) else number_text(ulp)
        yield f"within {told(text, near, far)}"


def kept_bytes(cost: Any) -> int:
    """Bytes of residuals, and of those inputs that the backward pass needs, which are kept for it too."""
    return cost.residual_bytes + cost.argument_bytes


def _with_inputs(cost):
    parts = [bytes_text(cost.residual_bytes)] if cost.residual_bytes or not cost.argument_bytes else []
    return " and ".join([*parts, *([f"{bytes_text(cost.argument_bytes)} of inputs"] if cost.argument_bytes else [])])
