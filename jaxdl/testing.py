"""For test suites: `assert_rules` fails where a derivative rule is not right."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxdl.auditor import AuditReport, audit, load_accepted

__all__ = ["assert_rules"]


def assert_rules(
    f: Callable,
    *args: Any,
    accepted: str | os.PathLike | None = None,
    domains: Mapping | Sequence | None = None,
    **kwargs: Any,
) -> AuditReport:
    """Audits f and fails if there is a fault, or if the auditor itself failed.

    Args:
        f: Any JAX function.
        args: Its arguments, any pytrees.
        accepted: A TOML file of findings that are let pass, as `jaxdl audit --accepted` takes.
        domains: Where numbers may be made up, as `jaxdl.audit` takes them.
        kwargs: Its arguments by name.

    Returns:
        The report.

    Raises:
        AssertionError: There is a fault; the message has all findings.

    Example:
        >>> assert_rules(jnp.tanh, jnp.ones(3))
    """
    report = audit(f, *args, domains=domains, **kwargs)
    if accepted is not None:
        report = report.accepting(load_accepted(accepted))
    if report.faults:
        told = [f"{len(report.faults)} faults in {report.name}:", *map(str, report.faults), str(report.found())]
        raise AssertionError("\n".join(told))
    return report
