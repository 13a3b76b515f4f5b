"""What `contrast` concludes, in words: the conclusion, where hand-written rules gain, and where they lose."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxdl.measure.distances import Difference, beyond_rounding, worst_ulp
from jaxdl.measure.timing import Pairs
from jaxdl.report import bytes_text, number_text, ratio_text, seconds_text

CLEAR = 0.95  # of the other's figure: a clear difference
SHARE = 0.01  # of the whole function's bytes: less is not listed
LARGE = 1e-3  # of the largest entry: more than the rounding of a few operations
FARTHER = 4  # times as far apart as elsewhere: the two fall to different sides of a kink


NO_RULE = (
    "no hand-written rule is called here: both are the automatic derivative. Write a rule (jax.custom_vjp, jaxdl.op), "
    "call operations of jaxdl.ops, or give another function in beside="
)
ALL_KEPT = "all hand-written rules that are called here are kept: both have them"


def conclusion(whole: Any, order: int, same: str = "") -> str:
    """Whether the derivatives agree, and what they cost, in one sentence.

    Args:
        whole: The comparison of the whole function.
        order: 1 for gradients, 2 for their derivatives.
        same: Why both sides are the same program, if they are: `NO_RULE` or `ALL_KEPT`.
    """
    derivative = "derivative" if order == 1 else "second derivative"
    if same:
        return f"Hand-written against automatic {derivative}: {same}."
    costs = [*([f"by hand {speed(whole.step)}"] if whole.step else []), _kept(whole.hand, whole.automatic)]
    if _gains_in_memory_alone(whole):
        costs.reverse()
    return f"Hand-written against automatic {derivative}: {'; '.join([_agreement(whole), *costs])}."


def _gains_in_memory_alone(whole):
    same_time = whole.step and not _is_less(whole.step) and not _is_more(whole.step)
    return same_time and whole.hand.residual_bytes < CLEAR * whole.automatic.residual_bytes


def _agreement(whole):
    most = whole.largest
    if most is None:
        return "the results could not be compared"
    if worst := differing(whole):
        return f"the results DIFFER by {_apart(worst)}"
    apart = f"{number_text(most.relative)} of the largest entry"
    if most.is_at_kink:
        return f"the results differ by {apart} at a kink, where rounding decides a maximum or a comparison"
    agree = "are equal" if most.relative == 0 else f"agree to {apart}"
    if most.relative > LARGE:
        nearer = FARTHER * (most.hand_ulp or 0) < (most.automatic_ulp or 0)
        agree = f"differ by {apart}, {'by hand nearer to' if nearer else 'both about as far from'} a float64 run"
    return f"the results {agree}{_except_at_kinks(whole.differences, most.relative)}"


def _apart(difference):
    return f"{number_text(difference.relative)} of the largest entry, in the {difference.name}"


def _except_at_kinks(differences, relative):
    kinks = sum(d.is_at_kink and d.relative > FARTHER * relative for d in differences)
    of_all = f"{kinks} of {len(differences)} arrays"
    return f", except {of_all} at a kink, where rounding decides a maximum or a comparison" if kinks else ""


def differing(c: Any) -> Difference | None:
    """The largest difference of a comparison that rounding does not explain.

    There a result by hand is far from the automatic one, and farther than that from the float64 run.
    """
    found = [d for d in c.telling if not d.is_at_kink and _is_wrong(d)]
    return max(found, key=lambda d: np.nan_to_num(d.relative, nan=np.inf), default=None)


def _is_wrong(difference):
    if difference.hand_ulp is None:
        return not difference.relative < LARGE
    return beyond_rounding(difference.hand_ulp, difference.automatic_ulp or 0)


def speed(step: Pairs) -> str:
    """Two times and their ratio in words, with its quartiles."""
    low, high = step.spread
    hand, automatic = map(seconds_text, step.medians)
    ratio = f"{ratio_text(step.ratio)}, quartiles {low:.2f}–{high:.2f}"
    if _is_less(step):
        return f"{1 / step.ratio:.1f} times as fast ({hand}, not {automatic}; {ratio})"
    if _is_more(step):
        return f"{step.ratio:.2f} times the time ({hand}, not {automatic}; {ratio})"
    what = "the same time" if CLEAR < step.ratio < 1 / CLEAR else "no clear difference in time"
    return f"{what} ({hand} and {automatic}; {ratio})"


def _is_less(step):
    return step.spread[1] < 1 and step.ratio < CLEAR


def _is_more(step):
    """Whether the confidence interval of the median is above 1. A gain needs more: both quartiles below 1."""
    return step.interval[0] > 1 and step.ratio > 1 / CLEAR


def _kept(hand, automatic):
    kept = [side.residual_bytes for side in (hand, automatic)]
    if kept[0] == kept[1]:
        return f"both keep {bytes_text(kept[0])} for the backward pass, inputs apart"
    ratio = f" ({ratio_text(kept[0] / kept[1])})" if kept[1] else ""
    return (
        f"by hand {bytes_text(kept[0])} are kept for the backward pass, inputs apart, not {bytes_text(kept[1])}{ratio}"
    )


def gains(c: Any, whole: Any) -> list[str]:
    """In which figures a hand-written rule is clearly better than the automatic derivative.

    Args:
        c: The comparison of the rule.
        whole: That of the whole function: bytes that are next to nothing of its own are left out.
    """
    found = list(_clearly_less(c, whole, "hand", "automatic"))
    if c.step and _is_less(c.step):
        found.insert(0, f"{1 / c.step.ratio:.1f} times as fast")
    return found


def losses(c: Any, whole: Any) -> list[str]:
    """In which figures a hand-written rule is clearly worse than the automatic derivative or the stock function.

    Results that differ beyond rounding come first.

    Args:
        c: The comparison of the rule.
        whole: That of the whole function: bytes that are next to nothing of its own are left out.
    """
    return [*whole_losses(c), *_clearly_less(c, whole, "automatic", "hand")]


def whole_losses(c: Any) -> list[str]:
    """The losses that are listed for the whole function too: results that differ, and time."""
    wrong = [f"results DIFFER by {_apart(worst)}"] if (worst := differing(c)) else []
    stock = c.beside.get("stock")
    against = {"": c.step, " of stock": c.step and stock and stock.step and Pairs(c.step.first, stock.step.first)}
    return [*wrong, *(f"{p.ratio:.2f} times the time{of}" for of, p in against.items() if p and _is_more(p))]


def _clearly_less(c, whole, less_name, more_name) -> Iterator[str]:
    """Bytes and distances from float64 that are clearly less on one side, as sentences about the hand-written rule."""
    less, more = getattr(c, less_name), getattr(c, more_name)
    of_hand = less_name == "hand"
    compared = lambda text, a, b: f"{text(a)}, not {text(b)}" if of_hand else f"{text(b)}, not {text(a)}"
    if _matters(kept_bytes, c, whole, less, more):
        with_inputs = less.argument_bytes != more.argument_bytes
        text = _with_inputs if with_inputs else lambda cost: bytes_text(cost.residual_bytes)
        yield f"keeps {compared(text, less, more)}"
    if _matters(lambda cost: cost.temporary_bytes, c, whole, less, more):
        yield f"takes {compared(bytes_text, less.temporary_bytes, more.temporary_bytes)} of temporary memory"
    near, far = worst_ulp(c.differences, less_name), worst_ulp(c.differences, more_name)
    if near is not None and far is not None and near < 0.8 * far and far > 1:
        text = lambda ulp: f"{number_text(ulp)} ULP" if ulp is (near if of_hand else far) else number_text(ulp)
        yield f"within {compared(text, near, far)}"


def _matters(count, c, whole, less, more) -> bool:
    """Whether a count of bytes is clearly less, over all calls by more than a share of what the whole function has."""
    few, many = count(less), count(more)
    if few is None or many is None or few >= CLEAR * many:
        return False
    of_whole = max(count(side) or 0 for side in (whole.hand, whole.automatic))
    return c.count * (many - few) > SHARE * of_whole


def kept_bytes(cost: Any) -> int:
    """Bytes of residuals, and of those inputs that the backward pass needs, which are kept for it too."""
    return cost.residual_bytes + cost.argument_bytes


def _with_inputs(cost):
    parts = [bytes_text(cost.residual_bytes)] if cost.residual_bytes or not cost.argument_bytes else []
    return " and ".join([*parts, *([f"{bytes_text(cost.argument_bytes)} of inputs"] if cost.argument_bytes else [])])
