"""The history of a run: in memory, or in a file to which each epoch appends a line."""

import hashlib
import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxdl.report import plain, sync, write_whole

log: logging.Logger = logging.getLogger(__name__)


class History:
    """Rows, dictionaries of numbers with an "epoch" each, in the order of the epochs."""

    def __init__(self):
        self._rows: list[dict[str, Any]] = []
        self._path: Path | None = None

    def keep_in(self, path: Path, epochs: int, writes: bool = True) -> None:
        """Stores the rows in a file from now on, which may hold those of the first `epochs` epochs already.

        Later rows are dropped. Unreadable rows are dropped with a warning: the parameters do not depend on them.

        Args:
            path: The file.
            epochs: How many epochs the run has done.
            writes: Whether this process writes the file. The others keep the same rows in memory.
        """
        found = {}
        for line in _lines(path):
            row = _row(line)
            if row and row["epoch"] <= epochs:
                found[row["epoch"]] = line, row
        in_order = [found[epoch] for epoch in sorted(found)]
        if not writes:
            self._rows = [row for _, row in in_order]
            return
        missing = [epoch for epoch in range(1, epochs + 1) if epoch not in found]
        if missing:
            log.warning("%s: %d rows cannot be read, the first is that of epoch %d", path, len(missing), missing[0])
        write_whole(path, b"".join(line for line, _ in in_order))
        self._path = path

    def append(self, row: dict[str, Any]) -> None:
        """Adds the row of an epoch."""
        if self._path is None:
            self._rows.append(row)
            return
        with open(self._path, "ab") as file:
            file.write(_line(row))

    def sync(self) -> None:
        """Waits until all rows are on disk."""
        if self._path is not None:
            sync(self._path)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if self._path is None:
            yield from self._rows
        else:
            yield from filter(None, map(_row, _lines(self._path)))


def _line(row) -> bytes:
    """A row as JSON, and its checksum."""
    text = json.dumps(plain(row)).encode()
    return text + b"\t" + _checksum(text) + b"\n"


def _row(line) -> dict[str, Any] | None:
    """The row of a line; None if the line is damaged."""
    text, tab, checksum = line.rstrip(b"\n").rpartition(b"\t")
    if not tab or not line.endswith(b"\n") or checksum != _checksum(text):
        return None
    return {name: math.nan if x is None else x for name, x in json.loads(text).items()}


def _checksum(text) -> bytes:
    return hashlib.blake2b(text, digest_size=8).hexdigest().encode()


def _lines(path) -> Iterator[bytes]:
    if path.exists():
        with open(path, "rb") as file:
            yield from file
