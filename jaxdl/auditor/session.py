"""How long an audit may take, and who watches it."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Session:
    """The limits of an audit.

    Attributes:
        end: The time at which no further check starts, on `time.monotonic`'s clock.
        watch: Called with what is audited next.
    """

    end: float = math.inf
    watch: Callable[[str], Any] = lambda text: None


_UNLIMITED = Session()
_PRESENT: ContextVar[Session] = ContextVar("session", default=_UNLIMITED)


@contextlib.contextmanager
def limits(seconds: float | None = None, watch: Callable[[str], Any] | None = None) -> Iterator[None]:
    """Audits inside of it start no check after so many seconds, and tell `watch` what they do.

    Args:
        seconds: From now on; None for no limit of its own.
        watch: Called with the name of what is audited next; by default that of the limits around these.

    Returns:
        A context manager.
    """
    outer = _PRESENT.get()
    end = outer.end if seconds is None else min(outer.end, time.monotonic() + seconds)
    token = _PRESENT.set(Session(end, watch or outer.watch))
    try:
        yield
    finally:
        _PRESENT.reset(token)


def is_time_up() -> bool:
    """Whether no further check may start.

    Returns:
        Whether the time of the limits around has passed.
    """
    return time.monotonic() > _PRESENT.get().end


def tell(text: str) -> None:
    """Tells who watches what is audited next."""
    _PRESENT.get().watch(text)
