"""What reports write: files whole or not at all, and data that is valid JSON."""

import math
import os
from pathlib import Path
from typing import Any


def write_whole(path: str | os.PathLike, content: bytes) -> None:
    """Writes a file whole or not at all: an older one stays until the new one is complete."""
    path = Path(path)
    draft = path.with_name(path.name + ".part")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """The same data with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
