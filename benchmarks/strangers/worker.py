"""Cells in a process of their own: a line of JSON to the parent when each begins and ends."""

import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping

import jax

from benchmarks.strangers.entry import entries
from benchmarks.strangers.judge import Status, of_exception
from benchmarks.strangers.tools import ITSELF, TOOLS, Case

SECONDS_OF_JAX = 300  # for the function, its gradient and its Jacobian by JAX


def go_through(cells: Mapping[str, Callable[[], str]], seconds: float, of_first: float = 0) -> bool:
    """Runs each cell, tells what became of it; the process ends when one takes more of the processor's seconds.

    Whether all went right.
    """
    all_right = True
    for name, cell in cells.items():
        tell(begins=name)
        start, stop = time.process_time(), _ended_after(of_first or seconds, name)
        try:
            status, why = Status.RIGHT, cell()
        except Exception as error:
            status, why = of_exception(error)
        stop.set()
        all_right &= status == Status.RIGHT
        tell(cell=name, status=status, why=why, seconds=round(time.process_time() - start, 2))
    return all_right


def _ended_after(seconds: float, name: str) -> threading.Event:
    """A watch by a thread, as no signal is heard while a program is compiled."""
    until, stop = time.process_time() + seconds, threading.Event()

    def look():
        while not stop.wait(0.5):
            if time.process_time() > until:
                tell(cell=name, status=Status.SLOW, why=f"more than {seconds:.0f} s", seconds=seconds)
                os._exit(1)

    threading.Thread(target=look, daemon=True).start()
    return stop


def tell(**line) -> None:
    print(json.dumps(line), file=TO_PARENT, flush=True)


def main(name: str, seconds: str, *tools: str) -> None:
    """The function and JAX's own derivatives of it, then the tools."""
    entry = next(e for e in entries() if e.name == name)
    jax.config.update("jax_enable_x64", entry.wide)
    made = []

    def itself():
        made.append(Case(*entry.build(), entry.name))
        _ = made[0].gradient, made[0].jacobian
        return ""

    if go_through({ITSELF: itself}, SECONDS_OF_JAX):
        go_through({tool: lambda tool=tool: TOOLS[tool](made[0]) for tool in tools}, float(seconds))


TO_PARENT = sys.stdout
if __name__ == "__main__":
    sys.stdout = sys.stderr  # libraries print
    warnings.simplefilter("ignore")
    main(*sys.argv[1:])
