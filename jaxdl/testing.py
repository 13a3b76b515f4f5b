"""For test suites: `assert_rules` fails where a derivative rule is not right."""

import os
from collections.abc import Callable
from typing import Any

from jaxdl.auditor import AuditReport, audit, load_accepted

__all__ = ["assert_rules"]


def assert_rules(f: Callable, *args: Any, accepted: str | os.PathLike | None = None, **kwargs: Any) -> AuditReport:
    """Audits f as `jaxdl.audit(f, *args, **kwargs)` and raises AssertionError, with all findings, if there is a fault.

    accepted: a TOML file of findings that are let pass, as `jaxdl audit --accepted` takes. Returns the report.
    """
    report = audit(f, *args, **kwargs)
    if accepted is not None:
        report = report.accepting(load_accepted(accepted))
    if report.faults:
        told = [f"{len(report.faults)} faults in {report.name}:", *map(str, report.faults), str(report.found())]
        raise AssertionError("\n".join(told))
    return report
