"""The rows of a run's epochs: in memory, or, of a run that is kept, in a file to which each epoch adds a line."""

import hashlib
import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path

from jaxdl.report import plain, sync, write_whole

log = logging.getLogger(__name__)


class History:
    """Rows, dictionaries of numbers with an "epoch" each, in the order of the epochs."""

    def __init__(self):
        self._rows: list[dict] = []
        self._path: Path | None = None

    def keep_in(self, path: Path, epochs: int, writes: bool = True) -> None:
        """From now on rows are in the file, where those of the first `epochs` may be: others are left out.

        What cannot be read of it is left out too, with a warning: the parameters do not depend on it. writes: whether
        this process does; another one writes the same, and this one keeps its rows in memory.
        """
        found = {row["epoch"]: line for line in _lines(path) if (row := _row(line)) and row["epoch"] <= epochs}
        if not writes:
            self._rows = [_row(found[epoch]) for epoch in sorted(found)]
            return
        missing = [epoch for epoch in range(1, epochs + 1) if epoch not in found]
        if missing:
            log.warning(
                "%s: the rows of %d epochs cannot be read, the first is epoch %d", path, len(missing), missing[0]
            )
        write_whole(path, b"".join(found[epoch] for epoch in sorted(found)))
        self._path = path

    def append(self, row: dict) -> None:
        if self._path is None:
            self._rows.append(row)
            return
        with open(self._path, "ab") as file:
            file.write(_line(row))

    def sync(self) -> None:
        """Waits until all rows are on disk."""
        if self._path is not None:
            sync(self._path)

    def __iter__(self) -> Iterator[dict]:
        if self._path is None:
            yield from self._rows
        else:
            yield from filter(None, map(_row, _lines(self._path)))


def _line(row) -> bytes:
    """A row, and a checksum of it."""
    text = json.dumps(plain(row)).encode()
    return text + b"\t" + _checksum(text) + b"\n"


def _row(line) -> dict | None:
    """None for a line that is not whole."""
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
