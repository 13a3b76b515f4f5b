"""jaxdl's tools on functions of other libraries: a table library × tool.

    pip install '.[libraries]'
    python -m benchmarks.libraries                    # all cells, some hours on two cores
    python -m benchmarks.libraries --resume           # only cells without a result
    python -m benchmarks.libraries --only diffrax --tools audit
    python -m benchmarks.libraries --again crashed    # crashed cells and cells without a result

Results are saved after each function, so that a run can be interrupted at any time.
"""

import json
import re
from importlib.metadata import version

import tyro

from benchmarks.libraries.entry import Entry, entries
from benchmarks.libraries.running import cells
from benchmarks.libraries.table import by_library, not_right
from benchmarks.libraries.tools import ITSELF, TOOLS
from benchmarks.results_folder import FOLDER, keep

KEPT = FOLDER / "libraries.json"


def main(
    only: tuple[str, ...] = (), tools: tuple[str, ...] = tuple(TOOLS), seconds: float = 60, resume: bool = False,
    again: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Run the cells, print a line for each, and save tables and rows.

    Args:
        only: Only functions whose name (`library: function`) contains one of these texts.
        tools: Only these tools.
        seconds: Limit of processor time for a cell.
        resume: Skip cells that have a result.
        again: Skip cells that have a result, except results with these statuses.
    """
    rows = kept()
    done = {(r["library"], r["function"], r["tool"]) for r in rows.values() if r["status"] not in again}
    for entry in round_robin([e for e in entries() if not only or any(text in e.name for text in only)]):
        leave_out = resume or bool(again)
        left = [t for t in tools if not (leave_out and (entry.library, entry.what, t) in done)]
        for cell in cells("benchmarks.libraries.worker", [entry.name, str(seconds)], left):
            tool = cell.pop("cell")
            row = {"library": entry.library, "version": version(entry.library), "function": entry.what, "tool": tool}
            rows[entry.library, entry.what, tool] = row | cell
            print(f"{cell['status']:8} {entry.name}, {tool}: {cell['why']} ({cell['seconds']:.0f} s)", flush=True)
        if left:
            save(rows)


def round_robin(chosen: list[Entry]) -> list[Entry]:
    """The first function of each library, then the second of each: an interrupted run has covered all libraries."""
    seen: dict[str, int] = {}
    turn = [seen.update({e.library: seen.get(e.library, -1) + 1}) or seen[e.library] for e in chosen]
    return [e for _, e in sorted(zip(turn, chosen, strict=True), key=lambda pair: pair[0])]


def kept() -> dict[tuple, dict]:
    rows = json.loads(KEPT.read_text())["rows"] if KEPT.exists() else []
    return {(row["library"], row["function"], row["tool"]): row for row in rows}


def save(rows: dict[tuple, dict]) -> None:
    """Saves the rows of functions that still exist, and the tables."""
    for row in rows.values():
        row["why"] = re.sub(r"/[^\s(]*/(site-packages/|(?=benchmarks/))", "", row["why"])
    order = {(e.library, e.what): i for i, e in enumerate(entries())}
    chosen = sorted((r for r in rows.values() if (r["library"], r["function"]) in order),
                    key=lambda r: (order[r["library"], r["function"]], [ITSELF, *TOOLS].index(r["tool"])))  # fmt: skip
    keep("libraries_cells", {}, not_right(chosen))
    keep("libraries", {"rows": chosen}, by_library(chosen))


if __name__ == "__main__":
    tyro.cli(main)
