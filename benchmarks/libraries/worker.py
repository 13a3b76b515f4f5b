"""Runs cells in a child process: a line of JSON to the parent when each begins and ends."""

import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping

import jax

from benchmarks.libraries.entry import entries
from benchmarks.libraries.judge import Status, of_exception
from benchmarks.libraries.tools import ITSELF, TOOLS, Case

SECONDS_OF_JAX = 300  # for the function, its gradient and its Jacobian by JAX


def run_cells(cells: Mapping[str, Callable[[], str]], seconds: float, of_first: float = 0) -> bool:
    """Runs each cell and reports its status; the process ends when a cell exceeds its limit of processor time.

    Returns whether all cells were right.
    """
    all_right = True
    for name, cell in cells.items():
        report(begins=name)
        start, stop = time.process_time(), _ended_after(of_first or seconds, name)
        try:
            status, why = Status.RIGHT, cell()
        except Exception as error:
            status, why = of_exception(error)
        stop.set()
        all_right &= status == Status.RIGHT
        report(cell=name, status=status, why=why, seconds=round(time.process_time() - start, 2))
    return all_right


def _ended_after(seconds: float, name: str) -> threading.Event:
    """Ends the process after so much processor time; a thread, since signals are not handled while XLA compiles."""
    until, stop = time.process_time() + seconds, threading.Event()

    def look():
        while not stop.wait(0.5):
            if time.process_time() > until:
                report(cell=name, status=Status.SLOW, why=f"more than {seconds:.0f} s", seconds=seconds)
                os._exit(1)

    threading.Thread(target=look, daemon=True).start()
    return stop


def report(**line) -> None:
    print(json.dumps(line), file=TO_PARENT, flush=True)


def main(name: str, seconds: str, *tools: str) -> None:
    """Runs the function and JAX's derivatives of it, then the tools."""
    entry = next(e for e in entries() if e.name == name)
    jax.config.update("jax_enable_x64", entry.wide)
    cases = []

    def itself():
        cases.append(Case(*entry.build(), entry.name))
        _ = cases[0].gradient, cases[0].jacobian
        return ""

    if run_cells({ITSELF: itself}, SECONDS_OF_JAX):
        run_cells({tool: lambda tool=tool: TOOLS[tool](cases[0]) for tool in tools}, float(seconds))


TO_PARENT = sys.stdout
if __name__ == "__main__":
    sys.stdout = sys.stderr  # libraries print
    warnings.simplefilter("ignore")
    main(*sys.argv[1:])
