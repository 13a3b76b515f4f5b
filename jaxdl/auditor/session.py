"""How long an audit may take, and who watches it."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


@dataclass
class Session:
    """The limits of an audit, and how far it is.

    Attributes:
        end: The time at which no further check starts, on `time.monotonic`'s clock.
        watch: Called with what is audited next, the number of checks that are done, and that of all.
        done: The number of checks that are done.
        stop: The number that will be done after the present section.
        total: The number of all.
    """

    end: float = math.inf
    watch: Callable[[str, int, int], Any] = lambda text, done, total: None
    done: int = 0
    stop: int = 0
    total: int = 0


_UNLIMITED = Session()
_PRESENT: ContextVar[Session] = ContextVar("session", default=_UNLIMITED)


@contextlib.contextmanager
def limits(seconds: float | None = None, watch: Callable[[str, int, int], Any] | None = None) -> Iterator[None]:
    """Audits inside of it start no check after so many seconds, and tell `watch` what they do.

    Args:
        seconds: From now on; None for no limit of its own.
        watch: Called with the name of what is audited next, the number of checks that are done, and that of all; by
            default that of the limits around these.

    Returns:
        A context manager.

    Examples:
        >>> with limits(seconds=20):
        ...     report = jaxdl.audit(jnp.exp, jnp.ones(2), quick=True)
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

    Examples:
        >>> with limits(seconds=60):
        ...     is_time_up()
        False
    """
    return time.monotonic() > _PRESENT.get().end


def section(start: int, count: int, total: int) -> None:
    """Begins a section of an audit.

    Args:
        start: The number of checks before it.
        count: The number of its checks.
        total: The number of all.
    """
    present = _PRESENT.get()
    present.done, present.stop, present.total = start, start + count, total


def tell(text: str) -> None:
    """Tells who watches what is audited next.

    Args:
        text: Its name.
    """
    present = _PRESENT.get()
    present.watch(text, present.done, present.total)
    present.done = min(present.done + 1, present.stop)
