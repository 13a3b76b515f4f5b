"""`jaxdl audit`: the derivative rules of a function, or of all that a module offers."""

from pathlib import Path
from typing import Annotated

import tyro

from jaxdl.auditor import AuditReport, generated, load_accepted, public_callables
from jaxdl.auditor import audit as audit_rules
from jaxdl.cli.strangers import arguments_in, function_of, imported
from jaxdl.cli.usage import BadUsage, usage
from jaxdl.report import Table, error_text, terminal


def audit(
    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODULE[:FUNCTION]")],
    args: Annotated[Path | None, tyro.conf.arg(metavar="FILE.py")] = None,
    accepted: Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")] = None,
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
) -> int:
    """Audit the derivative rules of a function, or of every public function of a module that takes arrays.

    The module is imported and its functions are called, as Python would: give it none that you would not run.
    Exit status: 0 no fault, 1 a derivative is wrong, inaccurate or not finite, 2 something could not be run.

    Args:
        target: package.module:function, or package.module.
        args: A Python file that gives each function's arguments, as a tuple under the function's name. Without it,
            arguments are made up.
        accepted: A TOML file of findings that are known: tables [[accepted]] with rule, verdict, reason, check.
        out: Where the report goes, as .json, or as a page, .html; of a module a folder, with a page for each function.
    """
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
            left_out[name] = f"no arguments for it were found ({reason})"
            continue
        try:
            reports[name] = audit_rules(f, *arguments).accepting(known)
        except (Exception, SystemExit) as error:  # whatever a stranger's function raises
            left_out[name] = error_text(error)
    if is_module:
        _table(target, reports, left_out).print(console)
    for name, report in reports.items():
        if not is_module or report.faults:
            report.print(console)
        if out:
            usage(_save, report, out / f"{name}.html" if is_module else out)
    if left_out and not is_module:
        raise BadUsage(f"{target} could not be audited: {left_out.popitem()[1]}; its arguments are given with --args")
    if left_out.keys() & given.keys():
        return 2
    return int(any(report.faults for report in reports.values()))


def _table(target, reports: dict[str, AuditReport], left_out) -> Table:
    rows = [
        (name, str(r.verdict), str(len(r.audited)), str(len(r.faults)), str(r.findings[0]) if r.findings else "")
        for name, r in sorted(reports.items(), key=lambda item: item[1].verdict.rank)
    ]
    rows += [(name, "left out", "", "", why) for name, why in left_out.items()]
    return Table(f"Audit of {target}", ("function", "verdict", "derivatives", "faults", "the worst"), rows, words=5)


def _save(report, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    report.save(path)
