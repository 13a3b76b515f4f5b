"""Timing by calls in turn: a slow moment of the machine slows all sides, and leaves their ratios."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np


@dataclass(frozen=True)
class Pairs:
    """Run times of two functions called in turn.

    Attributes:
        first: Seconds of each run of the first function.
        second: Seconds of each run of the second function.
    """

    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median of the ratios first : second, pair by pair."""
        return float(np.median(self._ratios))

    @property
    def spread(self) -> tuple[float, float]:
        """The lower and the upper quartile of the ratios."""
        low, high = np.quantile(self._ratios, (0.25, 0.75))
        return float(low), float(high)

    @property
    def interval(self) -> tuple[float, float]:
        """Where the median of the ratios lies with 95 % confidence, by order statistics."""
        aside = 0.98 / len(self.first) ** 0.5
        low, high = np.quantile(self._ratios, (max(0, 0.5 - aside), min(1, 0.5 + aside)))
        return float(low), float(high)

    @property
    def medians(self) -> tuple[float, float]:
        """The median time of each function, in seconds."""
        return float(np.median(self.first)), float(np.median(self.second))

    @property
    def _ratios(self):
        return np.asarray(self.first) / np.asarray(self.second)

    def to_json(self, first: str = "first", second: str = "second") -> dict[str, Any]:
        """Medians, ratio and its quartiles, and the number of pairs.

        Args:
            first: The name of the first function in the keys.
            second: The name of the second.
        """
        low, high = self.spread
        return {
            f"{first}_seconds": self.medians[0],
            f"{second}_seconds": self.medians[1],
            "ratio": self.ratio,
            "ratio_quartiles": [low, high],
            "pairs": len(self.first),
        }


def rounds(
    *functions: Callable[..., Any], seconds: float = 0.3, least: int = 9, most: int = 400
) -> tuple[tuple[float, ...], ...]:
    """Calls functions in turn, and times each call until its JAX results are ready.

    A program is slower right after one that takes much memory, so the order changes from round to round: each function
    comes directly after every other one equally often.

    Args:
        *functions: Functions without arguments.
        seconds: About how long to go on. Each function is called once before, uncounted.
        least: The smallest number of rounds.
        most: The largest number of rounds.

    Returns:
        For each function the seconds of each of its runs; those of any two functions make `Pairs`.

    Examples:
        >>> calls = [lambda f=f: f(1.0) for f in (jnp.sin, jnp.cos, jnp.tan)]
        >>> sine, cosine, tangent = rounds(*calls, seconds=0.01)
        >>> Pairs(sine, tangent).ratio > 0
        True
    """
    for f in functions:
        jax.block_until_ready(f())
    times = [[] for _ in functions]
    orders = itertools.cycle(balanced_orders(len(functions)))
    end, done = time.perf_counter() + seconds, 0
    while done < least or (time.perf_counter() < end and done < most):
        for which in next(orders):
            start = time.perf_counter()
            jax.block_until_ready(functions[which]())
            times[which].append(time.perf_counter() - start)
        done += 1
    return tuple(map(tuple, times))


def balanced_orders(count: int) -> list[list[int]]:
    """Orders of functions in which each comes directly after every other one equally often (E. J. Williams, 1949).

    Args:
        count: How many functions.

    Returns:
        As many orders as functions, or twice as many if their number is odd.

    Examples:
        >>> balanced_orders(4)
        [[0, 1, 3, 2], [1, 2, 0, 3], [2, 3, 1, 0], [3, 0, 2, 1]]
    """
    to_and_fro = [(i + 1) // 2 if i % 2 else -(i // 2) for i in range(count)]
    rows = [[(place + shift) % count for place in to_and_fro] for shift in range(count)]
    return rows if count % 2 == 0 else [*rows, *(row[::-1] for row in rows)]


def pairs(
    first: Callable[..., Any], second: Callable[..., Any], *, seconds: float = 0.3, least: int = 9, most: int = 400
) -> Pairs:
    """`rounds` of two functions.

    Args:
        first: A function without arguments.
        second: Another.
        seconds: About how long to go on. Each function is called once before, uncounted.
        least: The smallest number of pairs.
        most: The largest number of pairs.

    Returns:
        The times.

    Examples:
        >>> times = pairs(lambda: jnp.sin(1.0), lambda: jnp.cos(1.0), seconds=0.01)
        >>> times.ratio > 0
        True
    """
    return Pairs(*rounds(first, second, seconds=seconds, least=least, most=most))
