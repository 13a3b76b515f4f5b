"""Runs cells in child processes, which may die or hang."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator

from benchmarks.libraries.judge import Status

HUNG = 900  # seconds of wall time without a line of output


def cells(module: str, before: list[str], names: list[str]) -> Iterator[dict]:
    """A line for each cell (cell, status, why, seconds) of `python -m module *before *names`.

    When a process ends early, another one runs the remaining cells.
    """
    left = list(names)
    while left:
        begun, count = None, len(left)
        for line in _lines([module, *before, *left]):
            begun = line.get("begins")
            if begun is None:
                left = [name for name in left if name != line["cell"]]
                yield line
        if begun:
            yield {"cell": begun, "status": Status.CRASHED, "why": "the process died, or hung", "seconds": 0}
            left = [name for name in left if name != begun]
        if len(left) == count:
            return


def _lines(arguments: list[str]) -> Iterator[dict]:
    command = [sys.executable, "-W", "ignore", "-m", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            while True:
                hung = threading.Timer(HUNG, process.kill)
                hung.start()
                line = process.stdout.readline()
                hung.cancel()
                if not line:
                    return
                yield json.loads(line)
        finally:
            process.kill()
