"""Errors of any kind in a line."""

import re

_RAISED = re.compile(r"^(?:[\w]+\.)*\w*(?:Error|Exception|Warning)\b.*", re.MULTILINE)


def error_text(error: BaseException) -> str:
    """What an error says first, after its kind; of one that holds another's traceback, what that one says."""
    told = str(error).strip()
    if "Traceback (most recent call last)" in told and (raised := _RAISED.findall(told)):
        return raised[-1]
    first = told.split("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
