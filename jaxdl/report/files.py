"""Files that are written whole or not at all, and data for JSON."""

import contextlib
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file whole or not at all: an existing file stays until the new one is complete, and on disk.

    Args:
        path: The file.
        content: Its content.

    Raises:
        OSError: It cannot be written; the existing file stays.
    """
    with draft_of(path) as draft:
        draft.write_bytes(content)


@contextlib.contextmanager
def draft_of(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A context in which a draft is written, which then replaces the file at `path`; on an error the file stays.

    The draft is in a new folder beside `path` with a random name, which only this user may enter. So no symbolic link
    is followed, neither in place of the draft nor at `path`.

    Args:
        path: The file to replace.

    Yields:
        The path of the draft.

    Raises:
        OSError: The file cannot be written; it names `path`.
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
    """Waits until the content of a file, or the entries of a folder, are on disk."""
    if os.name == "nt" and path.is_dir():  # Windows cannot
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def plain(value: Any) -> Any:
    """The same data with None for NaN and infinity, which JSON does not have, and lists for tuples."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
