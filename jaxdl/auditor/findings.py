"""Findings of an audit: a verdict on one check of one site, with the inputs and the witnesses that show it."""

import enum
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxdl.report import error_text


class Verdict(enum.StrEnum):
    """The verdict on a derivative, causes before their consequences. Those up to FAILED are faults.

    Attributes:
        STRUCTURE: Cotangents have another shape or type than the inputs, or there are none.
        NOT_LINEAR: The pullback is not linear.
        WRONG: The formula is wrong.
        WRONG_SECOND: The second derivative is wrong.
        NON_FINITE: NaN or infinity where the derivative is finite.
        INACCURATE: Fewer than half of the digits are right.
        FAILED: The auditor itself raised, so that nothing is known.
        BORDER: Not finite at a border of the function's domain, like the automatic derivative.
        CONVENTION: Between the one-sided derivatives at a kink.
        COSTLY: More memory or operations than the automatic derivative needs.
        NOT_VERIFIABLE: No witness could judge it.
        NOT_REACHED: The function does not call the rule at these arguments.
        LEFT_OUT: No time was left for it.
        RIGHT: None of these.
    """

    STRUCTURE = "structure"
    NOT_LINEAR = "not linear"
    WRONG = "wrong"
    WRONG_SECOND = "wrong at second order"
    NON_FINITE = "non-finite"
    INACCURATE = "inaccurate"
    FAILED = "the auditor failed"
    BORDER = "at a border of the domain"
    CONVENTION = "convention"
    COSTLY = "costly"
    NOT_VERIFIABLE = "not verifiable"
    NOT_REACHED = "not reached"
    LEFT_OUT = "left out"
    RIGHT = "right"

    @property
    def meaning(self) -> str:
        """What the verdict says, in a sentence."""
        return MEANINGS[self]

    @property
    def is_fault(self) -> bool:
        """Whether the verdict says that the derivative is not right, or that the auditor failed."""
        return self.rank <= Verdict.FAILED.rank

    @property
    def rank(self) -> int:
        """The place in the order of verdicts, 0 for the worst."""
        return list(Verdict).index(self)


# The legend of reports and of docs/reference/verdicts.md.
MEANINGS: dict[Verdict, str] = {
    Verdict.STRUCTURE: "cotangents have another shape or type than the inputs, or there are none",
    Verdict.NOT_LINEAR: "the pullback is not linear",
    Verdict.WRONG: "the formula is wrong",
    Verdict.WRONG_SECOND: "the second derivative is wrong",
    Verdict.NON_FINITE: "NaN or infinity where the derivative is finite",
    Verdict.INACCURATE: "the formula is right, but rounding leaves fewer than half of the digits",
    Verdict.FAILED: "jaxdl itself raised an error, so that nothing is known",
    Verdict.BORDER: "not finite at a border of the function's domain, like the automatic derivative",
    Verdict.CONVENTION: "between the one-sided derivatives at a kink: a choice, no fault",
    Verdict.COSTLY: "right, but it needs more memory or operations than the automatic derivative",
    Verdict.NOT_VERIFIABLE: "no witness could judge it",
    Verdict.NOT_REACHED: "the function does not call the rule at these arguments",
    Verdict.LEFT_OUT: "no time was left for it",
    Verdict.RIGHT: "it agrees with the witnesses at all points, and no check that was made found anything",
}


@dataclass(frozen=True, eq=False)
class Finding:
    """A verdict on one check of one site.

    Attributes:
        verdict: The verdict.
        check: The name of the check.
        what: The array that was checked.
        at: The point and the entry, in words.
        got: The rule's result, a number or words.
        expected: The correct result.
        witnesses: What each witness says, by its name.
        inputs: The arrays at which it shows; for a pointwise function, numbers.
        ulp: The error in units in the last place, for inaccurate results.
        times: At how many points or entries the same was found.
    """

    verdict: Verdict
    check: str
    what: str
    at: str
    got: str
    expected: str
    witnesses: dict[str, str] = field(default_factory=dict)
    inputs: tuple[Any, ...] = ()
    ulp: float | None = None
    times: int = 1

    def __str__(self) -> str:
        return f"{self.verdict}: {self.description}"

    @property
    def description(self) -> str:
        """The finding in a sentence, without the verdict."""
        off = f", {self.ulp:.2g} ULP off" if self.ulp is not None else ""
        times = f" (and {self.times - 1} more)" if self.times > 1 else ""
        said = "".join(f"; {name}: {number}" for name, number in self.witnesses.items())
        return f"{self.check}, {self.where}: got {self.got}, expected {self.expected}{off}{times}{said}"

    @property
    def where(self) -> str:
        """The array, the point and the entry."""
        return f"{self.what} {self.at}".strip()

    def to_json(self) -> dict[str, Any]:
        """The finding as plain data."""
        return {
            "verdict": str(self.verdict),
            "check": self.check,
            "what": self.what,
            "at": self.at,
            "got": self.got,
            "expected": self.expected,
            "witnesses": self.witnesses,
            "inputs": [_array_json(x) for x in self.inputs],
            "ulp": self.ulp,
            "times": self.times,
        }


def number(x: Any) -> str:
    """A number with nine digits."""
    if isinstance(x, complex | np.complexfloating):
        return f"{complex(x):.9g}"
    return f"{float(x):.9g}"


def entry(i: int, shape: Sequence[int]) -> str:
    """The index of a flat entry as text; empty for a number."""
    return f"[{', '.join(map(str, np.unravel_index(i, shape)))}]" if shape else ""


def error_line(error: BaseException) -> str:
    """An exception in one line; without a message, the place that raised it."""
    line = error_text(error)[:240]
    return line if ":" in line else f"{line}: raised at {raised_at(error)}"


def raised_at(error: BaseException) -> str:
    """The place that raised an exception, `file.py:12 (function)`."""
    *_, frame = traceback.extract_tb(error.__traceback__) or [traceback.FrameSummary("unknown", 0, "unknown")]
    return f"{frame.filename}:{frame.lineno} ({frame.name})"


def interval(low: Any, high: Any) -> str:
    """A number, or an interval, in words."""
    return number(low) if low == high or np.isnan(high) else f"between {number(low)} and {number(high)}"


def _array_json(x):
    x = np.asarray(x)
    known = {"dtype": str(x.dtype), "shape": list(x.shape)}
    return known | ({"values": [number(v) for v in x.reshape(-1)]} if x.size <= 64 else {})
