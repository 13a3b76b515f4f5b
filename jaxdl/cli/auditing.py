"""`jaxdl audit`: the derivative rules of a function, or of all public functions of a module."""

from pathlib import Path

from jaxdl.auditor import AuditReport, audit, generated, load_accepted, public_callables
from jaxdl.cli.usage_errors import BadUsage, usage
from jaxdl.cli.user_functions import arguments_in, function_of, imported
from jaxdl.report import Table, error_text, terminal


def audit_target(target: str, args: Path | None, accepted: Path | None, out: Path | None) -> int:
    """Audits a function or all public functions of a module, prints and writes reports, returns the exit status."""
    console = terminal()
    is_module = ":" not in target
    functions = public_callables(imported(target)) if is_module else dict([function_of(target)])
    given = arguments_in(args)
    known = usage(load_accepted, accepted) if accepted else []
    if out and not is_module and out.suffix not in (".json", ".html"):
        raise BadUsage(f"--out ends in .json or .html for one function, got {out}")
    reports, left_out = {}, {}
    for name, f in functions.items():
        arguments, reason = (given[name], "") if name in given else generated(f)
        if arguments is None:
            left_out[name] = f"no arguments could be generated ({reason})"
            continue
        try:
            reports[name] = audit(f)(*arguments).accepting(known)
        except (Exception, SystemExit) as error:  # whatever the user's function raises
            left_out[name] = error_text(error)
    if is_module:
        _summary(target, reports, left_out).print(console)
    for name, report in reports.items():
        if not is_module or report.faults:
            report.print(console)
        if out:
            usage(_save, report, out / f"{name}.html" if is_module else out)
    if left_out and not is_module:
        raise BadUsage(f"{target} could not be audited: {left_out.popitem()[1]}; give its arguments with --args")
    if left_out.keys() & given.keys():
        return 2
    return int(any(report.faults for report in reports.values()))


def _summary(target, reports: dict[str, AuditReport], left_out) -> Table:
    rows = [
        (name, str(r.verdict), str(len(r.audited)), str(len(r.faults)), str(r.findings[0]) if r.findings else "")
        for name, r in sorted(reports.items(), key=lambda item: item[1].verdict.rank)
    ]
    rows += [(name, "left out", "", "", why) for name, why in left_out.items()]
    return Table(f"Audit of {target}", ("function", "verdict", "derivatives", "faults", "worst finding"), rows, words=5)


def _save(report, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    report.save(path)
