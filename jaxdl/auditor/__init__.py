"""`audit(f, *args)`: finds every derivative rule in a function and judges each where it is used."""

from jaxdl.auditor.accepted import Accepted, load_accepted
from jaxdl.auditor.arguments import generated, parts_of_rules, public_callables
from jaxdl.auditor.auditing import Interrupted, audit
from jaxdl.auditor.findings import Finding, Verdict
from jaxdl.auditor.report import Audited, AuditReport, legend
from jaxdl.auditor.session import is_time_up, limits

__all__ = [
    "Accepted",
    "AuditReport",
    "Audited",
    "Finding",
    "Interrupted",
    "Verdict",
    "audit",
    "generated",
    "is_time_up",
    "legend",
    "limits",
    "load_accepted",
    "parts_of_rules",
    "public_callables",
]
