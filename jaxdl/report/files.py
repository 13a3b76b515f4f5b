"""What is written: files whole or not at all, and data that is valid JSON."""

import contextlib
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write_whole(path: str | os.PathLike, content: bytes) -> None:
    """Writes a file whole or not at all: an older one stays until the new one is complete, and on disk."""
    with draft_of(path) as draft:
        draft.write_bytes(content)


@contextlib.contextmanager
def draft_of(path: str | os.PathLike) -> Iterator[Path]:
    """A path to write to, of a file that then takes the place of the one at `path`; on an error that one stays.

    The draft lies in a new folder beside `path`, with a name that nobody can guess, which only this user may enter: no
    link that somebody puts there is followed, neither in the place of the draft nor at `path`.
    """
    path = Path(path)
    try:
        with tempfile.TemporaryDirectory(prefix=".jaxdl-", dir=path.parent) as private:
            draft = Path(private) / path.name
            yield draft
            sync(draft)
            os.replace(draft, path)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) if error.errno else error from error
    sync(path.parent)


def sync(path: Path) -> None:
    """Waits until a file's content, or the names in a folder, are on disk."""
    if os.name == "nt" and path.is_dir():  # Windows cannot
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def plain(value: Any) -> Any:
    """The same data with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
