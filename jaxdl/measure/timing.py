"""Timing by interleaved pairs: what slows the machine down slows both sides, and the ratio holds."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np


@dataclass(frozen=True)
class Pairs:
    """Run times in seconds of two functions called in turn, and their ratio first : second."""

    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median of the ratios, pair by pair."""
        return float(np.median(self._ratios))

    @property
    def spread(self) -> tuple[float, float]:
        """The quartiles of the ratios."""
        low, high = np.quantile(self._ratios, (0.25, 0.75))
        return float(low), float(high)

    @property
    def medians(self) -> tuple[float, float]:
        """The median time of each, in seconds."""
        return float(np.median(self.first)), float(np.median(self.second))

    @property
    def _ratios(self):
        return np.asarray(self.first) / np.asarray(self.second)

    def to_json(self, first: str = "first", second: str = "second") -> dict:
        low, high = self.spread
        return {
            f"{first}_seconds": self.medians[0],
            f"{second}_seconds": self.medians[1],
            "ratio": self.ratio,
            "ratio_quartiles": [low, high],
            "pairs": len(self.first),
        }


def pairs(first: Callable, second: Callable, *, seconds: float = 0.3, least: int = 9, most: int = 400) -> Pairs:
    """Calls two functions without arguments in turn, A B B A A B …, for about `seconds`.

    Both are called once beforehand, uncounted; JAX results are waited for.
    """
    both = (first, second)
    for f in both:
        jax.block_until_ready(f())
    times = ([], [])
    end = time.perf_counter() + seconds
    while len(times[0]) < least or (time.perf_counter() < end and len(times[0]) < most):
        for which in (0, 1) if len(times[0]) % 2 else (1, 0):
            start = time.perf_counter()
            jax.block_until_ready(both[which]())
            times[which].append(time.perf_counter() - start)
    return Pairs(tuple(times[0]), tuple(times[1]))
