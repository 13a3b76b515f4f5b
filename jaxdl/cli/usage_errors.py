"""Errors that the command line shows as a message, without a stack trace."""

from collections.abc import Callable
from typing import Any


class BadUsage(Exception):
    """Something that the user can correct; exit status 2."""


class Ended(Exception):
    """A run ended early, with a message and an exit status."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


def usage(f: Callable[..., Any], *args: Any) -> Any:
    """Calls f, which checks or loads something for the user, and turns its errors into BadUsage."""
    try:
        return f(*args)
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        raise BadUsage(str(error)) from error
