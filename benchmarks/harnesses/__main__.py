"""JAX's test cases of its primitives through jaxdl's tools, each result compared with JAX's.

    python -m benchmarks.harnesses                                # float32: about 1,165 cases, 117 primitives
    python -m benchmarks.harnesses --dtypes bfloat16 complex64 int32 bool
    JAX_ENABLE_X64=1 python -m benchmarks.harnesses --dtypes float64
    python -m benchmarks.harnesses --only reshape --tools source --again

Each cell is right, refused by name, refused as by JAX itself, a result where JAX has none ("beyond JAX"), too slow,
wrong, or crashed. Cells are saved one by one in results/harnesses/: a run continues where the last one ended; `--again`
repeats the selected ones.
"""

import itertools
import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import jax
import tyro

from benchmarks.harnesses.cases import cases
from benchmarks.harnesses.tools import AS_JAX, BEYOND, CRASHED, REFUSED, RIGHT, SLOW, SMOOTH_ONLY, TOOLS, WRONG, verdict
from benchmarks.results_folder import FOLDER, keep
from jaxdl.report import Table

CELLS = FOLDER / "harnesses"
LEFT_OUT = "left out"
ORDER = (RIGHT, BEYOND, LEFT_OUT, REFUSED, AS_JAX, SLOW, WRONG, CRASHED)
FAULTS = (WRONG, CRASHED)


def known_cells(path: Path) -> dict:
    """The last verdict of each (case, tool); a case that is left out has no others."""
    lines = path.read_text().splitlines() if path.exists() else []
    rows = {(row["case"], row["tool"]): row for row in map(json.loads, lines)}
    return {key: row for key, row in rows.items() if key[1] == LEFT_OUT or (key[0], LEFT_OUT) not in rows}


def measure(dtype: str, tools: list[str], only: str, again: bool, statuses: list[str], seconds: float, most: int):
    CELLS.mkdir(parents=True, exist_ok=True)
    path = CELLS / f"{dtype}.jsonl"
    known = known_cells(path)
    so_far, same_as, repeated = Counter(), {}, statuses or [None]
    with path.open("a") as out:

        def put(**row):
            known[row["case"], row["tool"]] = row
            out.write(json.dumps(row) + "\n")
            out.flush()
            if row["status"] in FAULTS:
                print(f"{row['status']}: {row['tool']} {row['case']}: {row['note']}", flush=True)

        for name, group, make in cases(dtype):
            so_far[group] += 1
            before = [known.get((name, tool), {"status": None})["status"] for tool in tools]
            to_run = [tool for tool, status in zip(tools, before, strict=True) if again or status in repeated]
            if not to_run or not re.search(only, name) or 0 < most < so_far[group] or (name, LEFT_OUT) in known:
                continue
            case = make()
            if isinstance(case, str):
                put(case=name, group=group, tool=LEFT_OUT, status=LEFT_OUT, note=case)
                continue
            for tool in to_run:
                if (same := same_as.setdefault(case.fingerprint, name)) != name and (same, tool) in known:
                    put(**known[same, tool] | {"case": name, "group": group, "same as": same})
                    continue
                absent = tool in SMOOTH_ONLY and not case.is_smooth
                found = {"status": LEFT_OUT, "note": "no derivative"} if absent else verdict(tool, case, seconds)
                put(case=name, group=group, tool=tool, **found)
            if len(same_as) % 20 == 19:
                jax.clear_caches()  # or compiled programs exceed Linux's limit of memory maps


def report() -> None:
    """Writes the tables of all saved cells: by dtype, by primitive, and the reasons of cells that are not right."""
    by_format = {path.stem: list(known_cells(path).values()) for path in sorted(CELLS.glob("*.jsonl"))}
    rows = [{"format": name, **row} for name, cells in by_format.items() for row in cells]
    number = len({(row["format"], row["case"]) for row in rows})
    counted("harnesses", "format", rows, f"JAX's test cases, {number:,} in all, through jaxdl's tools")
    counted("harnesses_primitives", "group", rows, "JAX's test cases by primitive")
    found = reasons(rows)
    columns = "status", "tool", "cases", "example", "message"
    lines = [[str(v) for v in line] for line in found]
    title = "JAX's test cases: cells that are not right"
    keep("harnesses_reasons", {"rows": found}, Table(title, columns, lines, words=5))


def counted(name: str, what: str, rows: list[dict], title: str) -> None:
    """Saves a table: a row for each dtype or group, with the number of its cases; a column for each tool."""
    counts, cases_of = defaultdict(Counter), defaultdict(set)
    for row in rows:
        for line in (row[what], "all"):
            counts[line, row["tool"]][row["status"]] += 1
            cases_of[line].add((row["format"], row["case"]))
    lines = sorted(cases_of, key=lambda line: (line != "all", line))
    cells = [(line, f"{len(cases_of[line]):,}", *(cell(counts[line, tool]) for tool in TOOLS)) for line in lines]
    columns = ({"group": "primitive"}.get(what, what), "cases", *TOOLS)
    data = {line: {"cases": len(cases_of[line]), **{tool: counts[line, tool] for tool in TOOLS}} for line in lines}
    keep(name, data, Table(title, columns, cells, f"A number alone counts cells that are {RIGHT}."))


def cell(count: Counter) -> str:
    parts = [f"{count[s]:,}{'' if s == RIGHT else f' {s}'}" for s in ORDER if count[s] and s != LEFT_OUT]
    return ", ".join(parts) or "–"


def reasons(rows: list[dict]) -> list[tuple]:
    """The messages of cells that are not right, similar ones merged: (status, tool, count, a case, message)."""
    plain = lambda note: re.sub(r"0x[0-9a-f]+|\d+(\.\d+)?(e-?\d+)?|\b(u?int|b?float|bool|complex)\d*\b", "…", note)
    key = lambda row: (-ORDER.index(row["status"]), row["tool"], re.sub(r"\[[…, ]*\]", "[]", plain(row["note"])))
    found = []
    for _, same in itertools.groupby(sorted((row for row in rows if row["status"] != RIGHT), key=key), key):
        first, *rest = same
        note = re.sub(r"(?<=at )/\S*/", "", first["note"])[:200]
        found.append((first["status"], first["tool"], 1 + len(rest), first["case"][:80], note))
    return found


def main(
    dtypes: tuple[str, ...] = ("float32",),
    tools: tuple[str, ...] = tuple(TOOLS),
    only: str = "",
    again: bool = False,
    statuses: tuple[str, ...] = (),
    seconds: float = 20.0,
    most: int = 0,
) -> None:
    """Run the cells that have no result yet, and write the tables.

    Args:
        dtypes: Dtypes of the cases.
        tools: Only these tools.
        only: A regular expression that a case's name must contain.
        again: Also repeat cells that have a result.
        statuses: Repeat cells with one of these statuses, and run no others.
        seconds: Limit of processor time for a cell.
        most: At most so many cases of each primitive, the first ones; 0 for all.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    for dtype in dtypes:
        measure(dtype, list(tools), only, again, list(statuses), seconds, most)
    report()


if __name__ == "__main__":
    tyro.cli(main)
