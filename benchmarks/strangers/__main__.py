"""jaxdl's tools on other people's functions: a table library × tool.

    pip install '.[strangers]'
    python -m benchmarks.strangers                    # all, some hours on two cores
    python -m benchmarks.strangers --resume           # what is not there yet
    python -m benchmarks.strangers --only diffrax --tools audit
    python -m benchmarks.strangers --again crashed    # those cells once more

Results are kept after each function, so that a run may be cut off at any time.
"""

import json
import re
from importlib.metadata import version

import tyro

from benchmarks.results_folder import FOLDER, keep
from benchmarks.strangers.entry import Entry, entries
from benchmarks.strangers.running import cells
from benchmarks.strangers.table import by_library, not_right
from benchmarks.strangers.tools import ITSELF, TOOLS

KEPT = FOLDER / "strangers.json"


def main(
    only: tuple[str, ...] = (), tools: tuple[str, ...] = tuple(TOOLS), seconds: float = 60, resume: bool = False,
    again: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Run the cells, print a line for each, and keep table and rows.

    Args:
        only: Only functions with one of these texts in their name (library: function).
        tools: Only these tools.
        seconds: Of the processor's time, for a cell.
        resume: Leave out the cells that are kept.
        again: Leave out the cells that are kept, but for those of these statuses.
    """
    rows = kept()
    done = {(r["library"], r["function"], r["tool"]) for r in rows.values() if r["status"] not in again}
    for entry in in_turn([e for e in entries() if not only or any(text in e.name for text in only)]):
        leave_out = resume or bool(again)
        left = [t for t in tools if not (leave_out and (entry.library, entry.what, t) in done)]
        for cell in cells("benchmarks.strangers.worker", [entry.name, str(seconds)], left):
            tool = cell.pop("cell")
            row = {"library": entry.library, "version": version(entry.library), "function": entry.what, "tool": tool}
            rows[entry.library, entry.what, tool] = row | cell
            print(f"{cell['status']:8} {entry.name}, {tool}: {cell['why']} ({cell['seconds']:.0f} s)", flush=True)
        if left:
            save(rows)


def in_turn(chosen: list[Entry]) -> list[Entry]:
    """A function of each library, then the second of each, so that a run that is cut off has seen all libraries."""
    seen: dict[str, int] = {}
    turn = [seen.update({e.library: seen.get(e.library, -1) + 1}) or seen[e.library] for e in chosen]
    return [e for _, e in sorted(zip(turn, chosen, strict=True), key=lambda pair: pair[0])]


def kept() -> dict[tuple, dict]:
    rows = json.loads(KEPT.read_text())["rows"] if KEPT.exists() else []
    return {(row["library"], row["function"], row["tool"]): row for row in rows}


def save(rows: dict[tuple, dict]) -> None:
    """The rows of functions that are still there, with the tables."""
    for row in rows.values():
        row["why"] = re.sub(r"/[^\s(]*/(site-packages/|(?=benchmarks/))", "", row["why"])
    order = {(e.library, e.what): i for i, e in enumerate(entries())}
    chosen = sorted((r for r in rows.values() if (r["library"], r["function"]) in order),
                    key=lambda r: (order[r["library"], r["function"]], [ITSELF, *TOOLS].index(r["tool"])))  # fmt: skip
    keep("strangers_cells", {}, not_right(chosen))
    keep("strangers", {"rows": chosen}, by_library(chosen))


if __name__ == "__main__":
    tyro.cli(main)
