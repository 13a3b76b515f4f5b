"""Errors in one line."""

import re

_RAISED = re.compile(r"^(?:[\w]+\.)*\w*(?:Error|Exception|Warning)\b.*", re.MULTILINE)


def error_text(error: BaseException) -> str:
    """The type of an error and the first line of its message, or the last line of a traceback in the message.

    Examples:
        >>> error_text(ValueError("x is negative"))
        'ValueError: x is negative'
    """
    message = str(error).strip()
    if "Traceback (most recent call last)" in message and (raised := _RAISED.findall(message)):
        return raised[-1]
    first = message.split("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
