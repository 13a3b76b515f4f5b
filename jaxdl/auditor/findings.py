"""What an audit finds: a verdict on one check of one site, with the input and the witnesses that show it."""

import enum
import traceback
from dataclasses import dataclass, field

import numpy as np

from jaxdl.report import error_text


class Verdict(enum.StrEnum):
    """How a derivative was found to be, causes before what follows from them. Those up to FAILED are faults.

    STRUCTURE: cotangents of another shape or type, or none; FAILED: an exception of the auditor's own, so that nothing
    is known; BORDER: not finite at a border of the function's domain, as the automatic derivative; CONVENTION: between
    the one-sided derivatives at a kink; COSTLY: more memory or operations than the automatic derivative takes;
    NOT_VERIFIABLE: nobody could judge; NOT_REACHED: a rule that the function does not call at these arguments.
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
    RIGHT = "right"

    @property
    def is_fault(self) -> bool:
        return self.rank <= Verdict.FAILED.rank

    @property
    def rank(self) -> int:
        return list(Verdict).index(self)


@dataclass(frozen=True, eq=False)
class Finding:
    """One thing found at one site.

    check: what was looked at; what: the array; at: the point and the entry; got, expected: numbers or words; witnesses:
    what each source of the derivative says; inputs: the arrays at which it shows (of a pointwise function numbers);
    ulp: how many units in the last place got is off; times: at how many points or entries the same was found.
    """

    verdict: Verdict
    check: str
    what: str
    at: str
    got: str
    expected: str
    witnesses: dict[str, str] = field(default_factory=dict)
    inputs: tuple = ()
    ulp: float | None = None
    times: int = 1

    def __str__(self):
        return f"{self.verdict}: {self.told}"

    @property
    def told(self) -> str:
        """All but the verdict, in a sentence."""
        off = f", {self.ulp:.2g} ULP off" if self.ulp is not None else ""
        times = f" (and {self.times - 1} more)" if self.times > 1 else ""
        said = "".join(f"; {name}: {number}" for name, number in self.witnesses.items())
        return f"{self.check}, {self.where}: got {self.got}, expected {self.expected}{off}{times}{said}"

    @property
    def where(self) -> str:
        """The array, the point and the entry, in words."""
        return f"{self.what} {self.at}".strip()

    def to_json(self) -> dict:
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


def number(x) -> str:
    """A number as it can be read back: nine digits."""
    if isinstance(x, complex | np.complexfloating):
        return f"{complex(x):.9g}"
    return f"{float(x):.9g}"


def entry(i, shape) -> str:
    """The index of a flat entry, in words; nothing for a number."""
    return f"[{', '.join(map(str, np.unravel_index(i, shape)))}]" if shape else ""


def said(error) -> str:
    """An exception in one line; where it has no words, the place that raised it."""
    told = error_text(error)[:240]
    return told if ":" in told else f"{told}: raised at {raised_at(error)}"


def raised_at(error) -> str:
    """The place that raised an exception, `file.py:12 (function)`."""
    *_, frame = traceback.extract_tb(error.__traceback__) or [traceback.FrameSummary("unknown", 0, "unknown")]
    return f"{frame.filename}:{frame.lineno} ({frame.name})"


def interval(low, high) -> str:
    return number(low) if low == high or np.isnan(high) else f"between {number(low)} and {number(high)}"


def _array_json(x):
    x = np.asarray(x)
    known = {"dtype": str(x.dtype), "shape": list(x.shape)}
    return known | ({"values": [number(v) for v in x.reshape(-1)]} if x.size <= 64 else {})
