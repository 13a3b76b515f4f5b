"""`jaxdl audit`: the derivative rules of a function, or of all public functions of a module."""

from pathlib import Path

from jaxdl.auditor import (
    AuditReport,
    Interrupted,
    audit,
    generated,
    is_time_up,
    legend,
    limits,
    load_accepted,
    parts_of_rules,
    public_callables,
)
from jaxdl.cli.usage_errors import BadUsage, usage
from jaxdl.cli.user_functions import argument_names, arguments_in, function_of, imported
from jaxdl.report import ProgressBar, Table, error_text, terminal

NO_TIME = "no time was left"
STOPPED = "stopped by Ctrl-C"
INTERRUPTED = 130  # the exit status of a program that Ctrl-C ended


def audit_target(
    target: str,
    args: Path | None,
    accepted: Path | None,
    out: Path | None,
    domains: tuple[str, ...] = (),
    seconds: float | None = None,
    quick: bool = False,
) -> int:
    """Audits a function or all public functions of a module, prints and writes reports, returns the exit status."""
    console = terminal()
    is_module = ":" not in target
    module = imported(target) if is_module else None
    functions = public_callables(module) if module else dict([function_of(target)])
    given = arguments_in(args)
    known = usage(load_accepted, accepted) if accepted else []
    if out and not is_module and out.suffix not in (".json", ".html"):
        raise BadUsage(f"--out ends in .json or .html for one function, got {out}")
    if seconds is not None and not seconds > 0:
        raise BadUsage(f"--seconds must be positive, got {seconds:g}")
    stated = _domains(domains)
    named = {argument for f in functions.values() for argument in argument_names(f)}
    if is_module and (unknown := stated.keys() - named):
        raise BadUsage(f"--domains names {', '.join(sorted(unknown))}, which is an argument of no function in {target}")
    reports, left_out, stopped = {}, {}, False
    bar = ProgressBar(f"auditing {target}", len(functions))
    with bar, limits(seconds, lambda text, done, total: None if is_module else bar(done, text, total)):
        for number, (name, f) in enumerate(functions.items()):
            bar(number, name)
            if stopped or is_time_up():
                left_out[name] = STOPPED if stopped else NO_TIME
                continue
            try:
                arguments, reason = (given[name], "") if name in given else generated(f)
                if arguments is None:
                    left_out[name] = f"no arguments could be generated ({reason})"
                    continue
                own = {key: value for key, value in stated.items() if not is_module or key in argument_names(f)}
                reports[name] = audit(f, domains=own or None, quick=quick)(*arguments).accepting(known)
            except Interrupted as error:
                reports[name], stopped = error.report.accepting(known), True
            except KeyboardInterrupt:
                left_out[name], stopped = STOPPED, True
            except (Exception, SystemExit) as error:  # whatever the user's function raises
                left_out[name] = error_text(error)
            finally:
                if is_module:
                    console.print(_line(name, reports.get(name), left_out.get(name, "")), soft_wrap=True)
    if module:
        _summary(target, reports, left_out).print(console)
        if parts := parts_of_rules(module):
            console.print(f"Parts of rules, judged with these: {', '.join(parts)}.", soft_wrap=True)
    for name, report in reports.items():
        if not is_module or report.faults:
            report.print(console)
        if out:
            path = out / f"{name}.html" if is_module else out
            usage(_save, report, path)
            console.print(f"Written: {path}", soft_wrap=True)
    made_up = [report for name, report in reports.items() if name not in given]
    if made_up:
        console.print(_made_up(made_up[0] if not is_module else None), soft_wrap=True)
    if stopped:
        console.print(f"Stopped by Ctrl-C: {len(reports)} of {len(functions)} functions are in this report.")
        return INTERRUPTED
    if left_out and not is_module:
        raise BadUsage(f"{target} could not be audited: {left_out.popitem()[1]}; give its arguments with --args")
    if left_out.keys() & given.keys():
        return 2
    return int(any(report.faults for report in reports.values()))


def _domains(stated: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """The domains in flags NAME=LOW:HIGH."""
    found = {}
    for text in stated:
        name, _, ends = text.partition("=")
        low, _, high = ends.partition(":")
        try:
            found[name] = float(low), float(high)
        except ValueError:
            raise BadUsage(f"--domains takes NAME=LOW:HIGH, such as eps=1e-12:1, got {text}") from None
        if not found[name][0] < found[name][1]:
            raise BadUsage(f"--domains: LOW must be less than HIGH, got {text}")
    return found


def _made_up(report: AuditReport | None) -> str:
    """A hint where arguments were generated."""
    if report is None:
        return "Arguments were made up. For those of your own: --args FILE.py, with a tuple for each function."
    names = argument_names(report.f) or ["argument"] * len(report.args)
    listed = ", ".join(f"{name} = {kind}" for name, kind in zip(names, report.argument_types, strict=False))
    return f"Arguments were made up: {listed}. If they do not fit: --args FILE.py, with a tuple {report.name} = (…)."


def _line(name, report, why):
    if report is None:
        return f"{name}: left out, {why}"
    *_, last = report.audited
    return f"{name}: {report.verdict} ({next((a for a in report.audited if a.subject.is_whole), last).evidence})"


def _summary(target, reports: dict[str, AuditReport], left_out) -> Table:
    rows = [
        (name, str(r.verdict), str(len(r.audited)), str(len(r.faults)), str(r.findings[0]) if r.findings else "")
        for name, r in sorted(reports.items(), key=lambda item: item[1].verdict.rank)
    ]
    rows += [(name, "left out", "", "", why) for name, why in left_out.items()]
    columns = ("function", "verdict", "derivatives", "faults", "worst finding")
    note = legend(a for report in reports.values() for a in report.audited)
    return Table(f"Audit of {target}", columns, rows, note, words=5).without_empty_columns()


def _save(report, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    report.save(path)
