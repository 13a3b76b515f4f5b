"""Findings that are accepted, each for a reason, in a TOML file."""

import dataclasses
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path

from jaxdl.auditor.findings import Finding, Verdict


@dataclass(frozen=True)
class Accepted:
    """Findings that are accepted.

    Attributes:
        rule: The name of the rule.
        verdict: The verdict.
        reason: Why they are accepted.
        check: The name of the check; empty for all checks.
    """

    rule: str
    verdict: str
    reason: str
    check: str = ""

    def covers(self, rule: str, finding: Finding) -> bool:
        """Whether a finding on a rule is one of these."""
        return (self.rule, self.verdict) == (rule, finding.verdict) and self.check in ("", finding.check)


# Rules in JAX's own functions that are not derivatives, by design.
OF_JAX = (
    Accepted(
        "_sinc_maclaurin",
        Verdict.WRONG_SECOND,
        "jnp.sinc: a coefficient of the series at 0, whose rule gives the next one; sinc as a whole is right there",
    ),
)


def load_accepted(path: str | os.PathLike[str]) -> list[Accepted]:
    """Reads accepted findings from a TOML file.

    Args:
        path: A file of tables `[[accepted]]` with rule, verdict, reason and perhaps check, all strings.

    Returns:
        The accepted findings, for `AuditReport.accepting`.

    Raises:
        ValueError: The file is not TOML, or an entry is not correct; the message says which.
        OSError: The file cannot be read.

    Examples:
        >>> report = report.accepting(load_accepted("accepted.toml"))  # doctest: +SKIP
    """
    try:
        found = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}") from None
    if unknown := [*(found.keys() - {"accepted"})]:
        raise ValueError(f"{path} has {min(unknown)!r}; accepted findings are tables [[accepted]]")
    entries = found.get("accepted", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path}: 'accepted' is no list of tables: each finding is a table [[accepted]]")
    return [_entry(path, number, entry) for number, entry in enumerate(entries, 1)]


def _entry(path, number, entry):
    known = {field.name for field in dataclasses.fields(Accepted)}
    wrong = ({"rule", "verdict", "reason"} - entry.keys()) | (entry.keys() - known)
    if wrong or not all(isinstance(v, str) and v for v in entry.values()):
        raise ValueError(
            f"{path}: accepted finding {number} has {sorted(entry)}; it needs rule, verdict and reason, and may have "
            f"check, all non-empty strings"
        )
    if entry["verdict"] not in list(Verdict):
        raise ValueError(
            f"{path}: accepted finding {number}: no verdict {entry['verdict']!r}; the verdicts are {', '.join(Verdict)}"
        )
    return Accepted(**entry)
