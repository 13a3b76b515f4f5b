"""For test suites: `assert_rules` fails where a derivative rule is not right."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxdl.auditor import AuditReport, audit, load_accepted
from jaxdl.currying import check_unambiguous

__all__ = ["assert_rules"]


def assert_rules(
    f: Callable[..., Any],
    /,
    *args: Any,
    accepted: str | os.PathLike[str] | None = None,
    domains: Mapping[Any, Any] | Sequence[Any] | None = None,
    **kwargs: Any,
) -> AuditReport:
    """Audits f and fails if a derivative is not right, or if the auditor itself failed.

    There is no curried form as of `audit`: a call without arguments, forgotten in a test, must fail.

    Args:
        f: Any JAX function.
        *args: Its arguments, any pytrees.
        accepted: A TOML file of accepted findings, as `jaxdl audit --accepted` takes.
        domains: Where the audit may choose numbers, as `jaxdl.audit` takes them.
        **kwargs: Its keyword arguments.

    Returns:
        The report.

    Raises:
        AssertionError: There is a fault; the message has all findings.
        TypeError: A keyword given is also a parameter of f.

    Examples:
        >>> assert_rules(jnp.exp, jnp.ones(3)).faults
        ()
    """
    given = [name for name, value in {"accepted": accepted, "domains": domains}.items() if value is not None]
    advice = "give a function without that parameter: {tool}(lambda *args: f(*args, {name}=…), …)"
    check_unambiguous("assert_rules", f, given, advice)
    report = audit(f, domains=domains)(*args, **kwargs)
    if accepted is not None:
        report = report.accepting(load_accepted(accepted))
    if report.faults:
        lines = [f"Faults in {report.name}: {len(report.faults)}", *map(str, report.faults), str(report.found())]
        raise AssertionError("\n".join(lines))
    return report
