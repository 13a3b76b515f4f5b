"""Errors that the command line shows as a message, without a stack trace."""

import difflib
from collections.abc import Callable, Iterable
from typing import Any

MOST_NAMES = 40  # that a message lists where one of them is probably meant


class BadUsage(Exception):
    """Something that the user can correct; exit status 2."""


class Ended(Exception):
    """A run ended early, with a message and an exit status."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


def no_such(kind: str, given: str, known: Iterable[str], more: str = "") -> str:
    """The message for an unknown name: what there is, and what was probably meant.

    Args:
        kind: What the name is of, such as "model".
        given: The unknown name.
        known: The names that there are.
        more: What else could have been given.

    Returns:
        The message.

    Examples:
        >>> no_such("model", "lennet5", ["mlp", "lenet5"])
        "there is no model 'lennet5'; did you mean lenet5? There are mlp, lenet5"
    """
    names = [*known]
    lower = {name.lower(): name for name in names}
    close = [lower[name] for name in difflib.get_close_matches(given.lower(), lower, n=1)]
    unknown = f"there is no {kind} {given!r}"
    if close and len(names) > MOST_NAMES:
        return f"{unknown}; did you mean {close[0]}?"
    there = f"there are {', '.join(names) or 'none'}{more}"
    return f"{unknown}; did you mean {close[0]}? T{there[1:]}" if close else f"{unknown}; {there}"


def usage(f: Callable[..., Any], *args: Any) -> Any:
    """Calls f, which checks or loads something for the user, and turns its errors into BadUsage."""
    try:
        return f(*args)
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        raise BadUsage(str(error)) from error
