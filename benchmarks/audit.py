"""The audit tested: on planted faults and their right versions, and on published functions.

    python -m benchmarks.audit                        # the planted faults, also by check_grads
    python -m benchmarks.audit --quick                # those that the quick level misses; nothing is written
    python -m benchmarks.audit --published            # functions of jax, optax, flax, equinox, diffrax and numpyro
    python -m benchmarks.audit --published --prefix jax.nn
    python -m benchmarks.audit --model                # all rules of a vision transformer of twelve blocks

With `--only` or `--prefix`, earlier results of the other functions stay in the table.
"""

import json
import multiprocessing
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import jax
import tyro

from benchmarks.audit_functions.fault import check_grads_sees
from benchmarks.audit_functions.faults import FAULTS
from benchmarks.audit_functions.published import published
from benchmarks.results_folder import FOLDER, keep
from benchmarks.time_limit import TookTooLong, at_most
from jaxdl import audit, nn
from jaxdl.auditor import AuditReport, Verdict, load_accepted
from jaxdl.auditor.auditing import audit_subject, subjects
from jaxdl.auditor.findings import error_line
from jaxdl.jaxpr import in_arrays
from jaxdl.ops import softmax_cross_entropy_with_integer_labels
from jaxdl.report import Table, seconds_text

MOST_SECONDS = 240  # of processor time, for one function
OF_A_PROCESS = 20  # functions per process: the memory of compiled programs is not freed
NOT_AUDITED = "could not be audited"
ACCEPTED = load_accepted(Path(__file__).parent / "audit_functions" / "accepted.toml")
BEYOND_CONVENTION = [str(v) for v in Verdict if v.is_fault]


def audited(f: Callable, args: tuple, domains: tuple = ()) -> tuple[AuditReport | str, float]:
    """The report, or the error instead of one, and the seconds it took."""
    start = time.perf_counter()
    try:
        with warnings.catch_warnings(), at_most(MOST_SECONDS):
            warnings.simplefilter("ignore")
            report = audit(f, domains=domains)(*args).accepting(ACCEPTED)
    except (Exception, TookTooLong) as error:  # a function of a library may raise anything
        report = error_line(error)
    jax.clear_caches()
    return report, time.perf_counter() - start


def findings_of(report: AuditReport | str) -> list[dict]:
    """The findings of all rules, worst first, each with its rule's name."""
    if isinstance(report, str):
        return []
    rules = {id(f): a.name for a in report.audited for f in a.findings}
    return [{"rule": rules[id(f)], **f.to_json()} for f in report.findings]


def verdict_of(report: AuditReport | str) -> str:
    return NOT_AUDITED if isinstance(report, str) else str(report.verdict)


# --- planted faults ------------------------------------------------------------------------------------------


def fault_row(number: int) -> dict:
    """The results for the wrong and the right version of a fault."""
    fault = FAULTS[number]
    wrong, seconds = audited(fault.wrong, fault.args)
    right, more = audited(fault.right, fault.args)
    found = [] if isinstance(wrong, str) else wrong.findings
    return {
        "fault": fault.name,
        "kind": fault.kind,
        "expected": sorted(map(str, fault.verdicts)),
        "verdict": verdict_of(wrong),
        "check": wrong if isinstance(wrong, str) else found[0].check if found else "",
        "control": verdict_of(right),
        "of_control": [right] if isinstance(right, str) else [str(f) for f in right.faults],
        "check_grads": check_grads_sees(fault),
        "seconds": seconds + more,
    }


def caught(row: dict) -> bool:
    return row["verdict"] in row["expected"]


def clean(row: dict) -> bool:
    return row["control"] not in (*BEYOND_CONVENTION, NOT_AUDITED)


def fault_table(rows: list[dict]) -> Table:
    cells = [
        (row["fault"], row["kind"], " or ".join(row["expected"]),
         row["verdict"] if caught(row) else f"NOT CAUGHT: {row['verdict']}", row["check"],
         row["control"] if clean(row) else f"NOT CLEAN: {row['control']}", "seen" if row["check_grads"] else "–",
         seconds_text(row["seconds"]))
        for row in rows
    ]  # fmt: skip
    columns = ("fault", "kind", "expected", "audit", "check that caught it", "the right version", "check_grads",
               "both audits")  # fmt: skip
    note = (
        f"{len(rows)} planted faults: {sum(map(caught, rows))} caught with the right verdict, "
        f"{sum(row['check_grads'] for row in rows)} by jax.test_util.check_grads; no fault reported on "
        f"{sum(map(clean, rows))} of their right versions; {seconds_of(rows)} for all {2 * len(rows)} audits."
    )
    return Table("Planted faults, and the checks that find them", columns, cells, note, words=7)


def faults(only: str, processes: int) -> None:
    chosen = [i for i, fault in enumerate(FAULTS) if only in fault.name or only in fault.kind]
    rows = []
    try:
        for row in in_processes(fault_row, chosen, processes):
            rows.append(row)
            print(line(row), flush=True)
    finally:
        rows = with_kept("audit", "fault", rows, [fault.name for fault in FAULTS])
        keep("audit", {"rows": rows}, fault_table(rows))


def missed_quickly(only: str) -> None:
    """Prints the planted faults whose verdict at the quick level is not an expected one."""
    chosen = [fault for fault in FAULTS if only in fault.name or only in fault.kind]
    missed = 0
    for fault in chosen:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            verdict = audit(fault.wrong, quick=True)(*fault.args).verdict
        jax.clear_caches()
        if verdict not in fault.verdicts:
            missed += 1
            print(f"{fault.name} ({fault.kind}): {verdict}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} planted faults are caught at the quick level")


def line(row: dict) -> str:
    """A fault's row as a line of text."""
    alarm = ("" if caught(row) else "NOT CAUGHT ") + ("" if clean(row) else "NOT CLEAN ")
    control = f"control {row['control']} {row['of_control'] or ''}"
    says = f"{'seen' if row['check_grads'] else 'not seen'} by check_grads"
    return f"{alarm}{row['fault']}: {row['verdict']} by {row['check']}; {control}; {says}; {row['seconds']:.0f} s"


# --- published functions -------------------------------------------------------------------------------------


def published_row(name: str) -> dict:
    """The result for a function of a library."""
    entry = next(entry for entry in published(name) if entry.name == name)
    report, seconds = audited(entry.function, entry.args, entry.domains)
    return {
        "library": entry.library,
        "version": version(entry.library),
        "function": entry.name,
        "verdict": verdict_of(report),
        "why": report if isinstance(report, str) else "",
        "seconds": seconds,
        "findings": findings_of(report),
        "accepted": [] if isinstance(report, str) else [f"{f}: {reason}" for f, reason in report.accepted],
    }


def worst_found(finding: dict) -> str:
    """The check, the array, the point and the entry, in words."""
    return f"{finding['check']}: {finding['what']} {finding.get('at', '')}".strip()


def published_table(rows: list[dict]) -> Table:
    """A line for each function with a finding, worst first."""
    order = [*map(str, Verdict), NOT_AUDITED]
    rows = sorted(rows, key=lambda row: order.index(row["verdict"]))
    cells = []
    for row in [row for row in rows if row["verdict"] != Verdict.RIGHT]:
        worst = next(iter(row["findings"]), None)
        found = (
            (worst["rule"], worst_found(worst), worst["got"], worst["expected"],
             "; ".join(f"{name} {said}" for name, said in worst["witnesses"].items()))
            if worst
            else ("", row["why"], "", "", "")
        )  # fmt: skip
        cells.append((f"{row['library']} {row['version']}", row["function"], row["verdict"], *found))
    columns = "library", "function", "verdict", "rule", "worst finding", "got", "expected", "witnesses"
    counts = Counter(row["verdict"] for row in rows)
    note = (
        f"{len(rows)} functions: {', '.join(f'{counts[v]} {v}' for v in order if counts[v])}; {seconds_of(rows)}. "
        f"{sum(len(row['accepted']) for row in rows)} findings are accepted in audit_functions/accepted.toml."
    )
    return Table("Published functions: findings of the audit in the installed versions", columns, cells, note, words=8)


def published_functions(prefix: str, processes: int) -> None:
    rows = []
    try:
        for row in in_processes(published_row, [entry.name for entry in published(prefix)], processes):
            rows.append(row)
            print(f"{row['function']}: {row['verdict']} {row['why']} ({row['seconds']:.0f} s)", flush=True)
            for f in row["findings"]:
                print(f"    {f['rule']}: {f['verdict']}: {f['check']}, {f['what']} {f['at']}: got {f['got']}, expected "
                      f"{f['expected']}, × {f['times']} {f['witnesses']}", flush=True)  # fmt: skip
    finally:
        rows = with_kept("audit_published", "function", rows)
        keep("audit_published", {"rows": rows}, published_table(rows))


# --- a whole model -------------------------------------------------------------------------------------------


def whole_model() -> None:
    """Audits ViT-B/16 on two images: seconds for each of its rules, and for the model as a whole."""
    vit = nn.vit_b16(10)
    params = vit.init(jax.random.key(0), (224, 224, 3))
    images = jax.random.normal(jax.random.key(1), (2, 224, 224, 3))

    def loss(params, x):
        return softmax_cross_entropy_with_integer_labels(vit.apply(params, x), jax.numpy.array([1, 2])).mean()

    start = time.perf_counter()
    rows = []
    for subject in subjects(in_arrays(loss, (params, images), {}), jax.tree.leaves((params, images)), loss).audited:
        report = audit_subject(subject)
        end = time.perf_counter()
        rows.append({"name": subject.name, "is_whole": subject.is_whole, "calls": subject.count,
                     "verdict": str(report.verdict), "seconds": end - start})  # fmt: skip
        start = end
    cells = [(r["name"], str(r["calls"]), r["verdict"], seconds_text(r["seconds"])) for r in rows]
    sites = seconds_of([r for r in rows if not r["is_whole"]])
    note = f"All sites together: {sites}; the model as a whole, with its tracing, is a separate row."
    table = Table("ViT-B/16, batch 2, audited", ("rule", "calls", "verdict", "time"), cells, note, words=3)
    keep("audit_model", {"rows": rows}, table)


# --- all of them ----------------------------------------------------------------------------------------------------


def in_processes(row: Callable, of: list, processes: int) -> Iterator[dict]:
    """The row of each, in order, computed by child processes."""
    # A ProcessPoolExecutor that replaces its processes hangs (CPython 3.11).
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=OF_A_PROCESS) as pool:
        yield from pool.imap(row, of)


def with_kept(name: str, key: str, rows: list[dict], known: list[str] | None = None) -> list[dict]:
    """The rows, and earlier rows of others that are still known."""
    path = FOLDER / f"{name}.json"
    kept = json.loads(path.read_text())["rows"] if path.exists() else []
    together = {row[key]: row for row in (*kept, *rows)}
    return [together[k] for k in (known or together) if k in together]


def seconds_of(rows: list[dict]) -> str:
    return seconds_text(sum(row["seconds"] for row in rows))


def main(
    only: str = "",
    quick: bool = False,
    published: bool = False,
    prefix: str = "",
    processes: int = 2,
    model: bool = False,
) -> None:
    """Audit, print a line for each function, and save table and figures.

    Args:
        only: Only faults with this text in their name or kind.
        quick: Print the planted faults that `audit(…, quick=True)` misses.
        published: Audit functions of libraries instead of the planted faults.
        prefix: Only functions of libraries whose full name begins with this.
        processes: The number of processes.
        model: Audit a vision transformer instead of the planted faults.
    """
    if model:
        whole_model()
    elif published:
        published_functions(prefix, processes)
    elif quick:
        missed_quickly(only)
    else:
        faults(only, processes)


if __name__ == "__main__":
    tyro.cli(main)
