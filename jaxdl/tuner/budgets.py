"""The best choice of kept values within a budget of bytes.

Each kept byte has a price, in seconds. For a given price a minimum cut is the best choice. The price is bisected until
the choice is within the budget. The rest of the budget is used for the values that save the most time per byte.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from jaxdl.report import bytes_text
from jaxdl.tuner.costs import machine
from jaxdl.tuner.networks import Network
from jaxdl.tuner.regions import Region
from jaxdl.tuner.schedules import Choice, Schedule, kept_bytes, repeated_seconds, scheduled

CLOSE = 1.002  # the ratio of prices at which the bisection ends
MOST_SECONDS = 1.0  # the price of a byte at which nothing is kept that need not be
MOST_CANDIDATES = 200  # values that are tried for the rest of a budget


@dataclass(frozen=True)
class Kept:
    """A choice with what it costs."""

    choice: Choice
    schedule: Schedule
    bytes: int
    seconds: float


def within(region: Region, max_bytes: int | None) -> Kept:
    """The best choice that keeps at most `max_bytes`, and nothing that is cheaper computed again than kept.

    Raises:
        ValueError: No choice keeps so few bytes.
    """
    network = Network(region)
    at = lambda price: costed(region, network.cheapest(price))
    low = high = 1 / machine().kept
    cheap = at(high)
    if max_bytes is None or cheap.bytes <= max_bytes:
        return cheap
    dear = cheap
    while cheap.bytes > max_bytes:
        if high > MOST_SECONDS:
            raise ValueError(
                f"rematerialized: max_bytes={max_bytes} cannot be kept: the backward pass needs at least {cheap.bytes} "
                f"bytes ({bytes_text(cheap.bytes)}) of the forward pass, of values that are never computed again or "
                f"that each step of a scan starts from"
            )
        low, high, dear = high, high * 100, cheap
        cheap = at(high)
    while high / low > CLOSE:
        price = (low * high) ** 0.5
        tried = at(price)
        if tried.bytes <= max_bytes:
            high, cheap = price, tried
        else:
            low, dear = price, tried
    return _filled(region, cheap, dear.choice, max_bytes)


def costed(region: Region, choice: Choice) -> Kept:
    """A choice with its schedule, bytes and time."""
    schedule = scheduled(region, choice)
    return Kept(choice, schedule, kept_bytes(region, schedule), repeated_seconds(region, schedule))


def _filled(region, kept, more, max_bytes):
    """Adds values that a dearer choice keeps, as far as the budget allows, those first that save most for a byte."""
    candidates = itertools.islice(sorted(more.kept - kept.choice.kept, key=_order(region)), MOST_CANDIDATES)
    with_one = lambda kept, v: costed(region, Choice(kept.choice.kept | {v}, kept.choice.again))
    gain = lambda new: (kept.seconds - new.seconds) / max(new.bytes - kept.bytes, 1)
    for _, _, v in sorted(((-gain(with_one(kept, v)), i, v) for i, v in enumerate(candidates)), key=lambda t: t[:2]):
        tried = with_one(kept, v)
        if tried.bytes <= max_bytes and tried.seconds < kept.seconds:
            kept = tried
    return kept


def _order(region):
    """Values in the order of the program."""
    return {v: i for i, v in enumerate(v for part in region.all() for v in part.values)}.__getitem__
