"""Findings that are known and accepted, each with a reason, kept in a TOML file."""

import dataclasses
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from jaxdl.auditor.findings import Finding, Verdict


@dataclass(frozen=True)
class Accepted:
    """Findings of one verdict on one rule, of one check or of all, that are accepted for a reason."""

    rule: str
    verdict: str
    reason: str
    check: str = ""

    def covers(self, rule: str, finding: Finding) -> bool:
        return (self.rule, self.verdict) == (rule, finding.verdict) and self.check in ("", finding.check)


# What JAX's own functions call, and is no derivative by design.
OF_JAX = (
    Accepted(
        "_sinc_maclaurin",
        Verdict.WRONG_SECOND,
        "jnp.sinc: a coefficient of the series at 0, whose rule gives the next one; sinc as a whole is right there",
    ),
)


def load_accepted(path: str | os.PathLike) -> list[Accepted]:
    """Reads a TOML file of tables `[[accepted]]` with rule, verdict, reason and perhaps check.

    Raises ValueError that says which entry is wrong and how; OSError where the file cannot be read.
    """
    try:
        entries = tomllib.loads(Path(path).read_text(encoding="utf-8")).get("accepted", [])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML file: {error}") from None
    return [_entry(path, number, entry) for number, entry in enumerate(entries, 1)]


def _entry(path, number, entry):
    known = {field.name for field in dataclasses.fields(Accepted)}
    wrong = ({"rule", "verdict", "reason"} - entry.keys()) | (entry.keys() - known)
    if wrong or not all(isinstance(v, str) and v for v in entry.values()):
        raise ValueError(
            f"{path}: accepted finding {number} has {sorted(entry)}; it needs rule, verdict and reason, and may have "
            f"check, all texts that are not empty"
        )
    if entry["verdict"] not in list(Verdict):
        raise ValueError(
            f"{path}: accepted finding {number}: no verdict {entry['verdict']!r}; there are {', '.join(Verdict)}"
        )
    return Accepted(**entry)
