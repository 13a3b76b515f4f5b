"""What the verdict on a subject rests on: how much was compared, and what was left out."""

from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxdl.report import plural_text

UNDERFLOW = 1e3  # times the smallest normal number: errors that are no errors


@dataclass(eq=False)
class Tally:
    """A count that grows while a subject is audited.

    Attributes:
        points: The number of points: of numbers for a pointwise function, else of arrays.
        orders: The orders of the derivatives that witnesses confirmed.
        formats: The floating-point formats.
        ulp: The largest error of a first derivative that is right, in units in the last place of the derivative; for
            arrays, of the largest entry. What the rounding of the arguments explains does not count.
        left_out: What was not checked.
    """

    points: int = 0
    orders: set[int] = field(default_factory=set)
    formats: list[str] = field(default_factory=list)
    ulp: float = 0.0
    left_out: list[str] = field(default_factory=list)

    def add(self, order: int, got: Any, low: Any, high: Any, dtype: Any, unit: Any = 0.0) -> None:
        """Counts a derivative that was compared with the truth; errors count in units of at least `unit`."""
        got, low, high = (np.asarray(x, np.float64) for x in (got, low, high))
        with np.errstate(all="ignore"):
            known = np.isfinite(low) & np.isfinite(high) & np.isfinite(got)
            tiny = float(jnp.finfo(dtype).tiny)
            off = np.maximum(np.maximum(low - got, got - high) - UNDERFLOW * tiny, 0)
            size = np.maximum(np.maximum(np.abs(low), np.abs(high)), tiny)
            ulp = off / np.maximum(2.0 ** np.floor(np.log2(size)) * float(jnp.finfo(dtype).eps), unit)
        if known.any():
            self.orders.add(order)
            self.ulp = max(self.ulp, float(ulp[known].max())) if order == 1 else self.ulp

    def leave_out(self, what: str) -> None:
        """Forgets what was counted: all of it was left out."""
        self.points, self.orders, self.formats, self.ulp, self.left_out = 0, set(), [], 0.0, [what]

    def merged(self, other: "Tally") -> "Tally":
        """Both together."""
        listed = lambda a, b: [*dict.fromkeys([*a, *b])]
        return Tally(
            self.points + other.points,
            self.orders | other.orders,
            listed(self.formats, other.formats),
            max(self.ulp, other.ulp),
            listed(self.left_out, other.left_out),
        )

    def __str__(self) -> str:
        return self.text()

    def text(self, with_error: bool = True) -> str:
        """The count in words.

        Args:
            with_error: Whether with the largest error, which says something only where all is right.
        """
        if not self.orders:
            return self._omissions()
        numbers = {(1,): "first order", (1, 2): "orders 1 and 2", (2,): "second order"}[tuple(sorted(self.orders))]
        worst = f", worst {self.ulp:.2g} ULP" if with_error and 1 in self.orders else ""
        points = plural_text(self.points, "point")
        return f"{points}, {', '.join(self.formats)}, {numbers}{worst}{self._omissions('; ')}"

    def _omissions(self, before=""):
        return f"{before}left out: {', '.join(self.left_out)}" if self.left_out else ""

    def to_json(self) -> dict[str, Any]:
        """The count as plain data."""
        return {
            "points": self.points,
            "orders": sorted(self.orders),
            "formats": self.formats,
            "ulp": self.ulp,
            "left_out": self.left_out,
        }
