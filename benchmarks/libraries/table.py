"""The table library × tool, and the table of cells that are not right."""

from collections import Counter

from benchmarks.libraries.judge import Status
from benchmarks.libraries.tools import TOOLS
from jaxdl.report import Table, seconds_text

SHORT = {Status.RIGHT: "", Status.REFUSED: "refused", Status.SLOW: "slow", Status.FALSE_ALARM: "false alarm",
         Status.WRONG: "WRONG", Status.CRASHED: "CRASHED"}  # fmt: skip


def by_library(rows: list[dict]) -> Table:
    """For each library and tool: how many functions are right, and the statuses of the others."""
    lines = []
    for library in dict.fromkeys(row["library"] for row in rows):
        its = [row for row in rows if row["library"] == library]
        functions = {row["function"] for row in its if row["tool"] in TOOLS}
        cells = [_cell([row["status"] for row in its if row["tool"] == tool]) for tool in TOOLS]
        lines.append((f"{library} {its[0]['version']}", str(len(functions)), *cells))
    return Table("Functions of other libraries", ("library", "functions", *TOOLS), lines, summary(rows), words=1)


def _cell(statuses: list[str]) -> str:
    counts = Counter(statuses)
    others = ", ".join(f"{counts[s]} {SHORT[s]}" for s in Status if s != Status.RIGHT and counts[s])
    return f"{counts[Status.RIGHT]}" + (f" ({others})" if others else "")


def summary(rows: list[dict]) -> str:
    judged = [row for row in rows if row["tool"] in TOOLS]
    counts = Counter(row["status"] for row in judged)
    functions = {(row["library"], row["function"]) for row in judged}
    return (
        f"{len(functions)} functions of {len({row['library'] for row in judged})} libraries, {len(judged)} cells: "
        f"{', '.join(f'{counts[s]} {s}' for s in Status if counts[s])}; "
        f"{seconds_text(sum(row['seconds'] for row in judged))} of processor time."
    )


def not_right(rows: list[dict]) -> Table:
    """A line for each cell that is not right, worst first."""
    order = list(Status)
    bad = sorted((r for r in rows if r["status"] != Status.RIGHT), key=lambda r: -order.index(r["status"]))
    lines = [(r["status"], r["library"], r["function"], r["tool"], r["why"]) for r in bad]
    return Table(
        "Functions of other libraries: cells that are not right",
        ("status", "library", "function", "tool", "why"),
        lines,
        words=5,
    )
