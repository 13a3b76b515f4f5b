"""A limit of processor time for a block of code."""

import contextlib
import signal
from collections.abc import Iterator


class TookTooLong(BaseException):
    """Not an Exception, so that code that handles errors and continues does not catch it."""


@contextlib.contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises TookTooLong after so many seconds of processor time, independent of the machine's load."""

    def late(*_):
        raise TookTooLong(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
