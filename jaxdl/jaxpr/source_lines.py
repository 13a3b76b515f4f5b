"""The user's source: the line that made an equation, and the function behind a derivative rule."""

import inspect
import os
import sys
import sysconfig
from collections.abc import Callable
from typing import Any

from jax.extend import source_info_util

from jaxdl.jaxpr.families import CUSTOM_RULES
from jaxdl.jaxpr.reading import function_name, inner_jaxprs, opened
from jaxdl.jaxpr.records import rule_jaxpr
from jaxdl.jaxpr.versions import Equation


def where(eqn: Equation) -> str:
    """The line of the user's source that made an equation: `file.py:12 (function)`."""
    line = source_info_util.summarize(eqn.source_info)
    frame = next(_users_frames(eqn), None) if any(file in line for file in _WRAPPING) else None
    return f"{frame.file_name}:{frame.line_num} ({frame.function_name})" if frame else line


def where_asked(eqn: Equation) -> str:
    """The line outside of all installed libraries that led to an equation; empty if there is none."""
    frame = next((f for f in _users_frames(eqn) if not f.file_name.startswith(_INSTALLED)), None)
    return f"{frame.file_name}:{frame.line_num} ({frame.function_name})" if frame else ""


def definition(f: Callable[..., Any]) -> str:
    """Where a function is defined, `file.py:12 (function)`; empty if that is not known."""
    code = getattr(users_function(f), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno} ({code.co_name})" if code else ""


def users_function(f: Callable[..., Any]) -> Callable[..., Any]:
    """The user's function inside wrappers: those with `__wrapped__`, and `jax.custom_gradient`, which lacks it."""
    f = inspect.unwrap(f)
    code = getattr(f, "__code__", None)
    if code is None or code.co_name != "wrapped_fun" or not code.co_filename.endswith(_WRAPPING):
        return f
    return inspect.getclosurevars(f).nonlocals["fun"]


# Functions that libraries wrap around the one that has a rule, and the files that define them.
_WRAPPERS = {"fn_wrapper", "fn_wrapped", "wrapped_fun"}


_INSTALLED = tuple(sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib", "stdlib"))
_WRAPPING = ("equinox/_ad.py", "jax/_src/custom_derivatives.py")


def rule_name(eqn: Equation) -> str:
    """The name of the function that has a hand-written rule, also inside a library's wrapper.

    A function without a name gets its line, `<lambda> (file.py:12)`; so does a wrapper that computes nothing.
    """
    jaxpr = opened(rule_jaxpr(eqn))
    name, file = function_name(jaxpr), getattr(getattr(jaxpr, "debug_info", None), "func_filename", None) or ""
    if name not in _WRAPPERS or not file.endswith(_WRAPPING):
        return name
    wrapped = _wrapped(jaxpr, name)
    if wrapped and not wrapped.function_name.endswith("<lambda>"):
        return wrapped.function_name.rpartition("<locals>.")[2]
    frame = wrapped or next(_users_frames(eqn), None)
    name = "<lambda>" if wrapped else name
    return f"{name} ({os.path.basename(frame.file_name)}:{frame.line_num})" if frame else name


def _wrapped(jaxpr, wrapper=None):
    """The frame of the function that a wrapper calls, found from an equation in it, also through jit."""
    for eqn in opened(jaxpr).eqns:
        found = None
        for frame in _frames(eqn):
            if frame.file_name.endswith(_WRAPPING) and frame.function_name.rpartition(".")[2] == wrapper:
                break
            found = found if _is_machinery(frame) else frame
        else:
            found = None if wrapper else found
        if eqn.primitive.name not in CUSTOM_RULES:
            found = found or next(filter(None, map(_wrapped, inner_jaxprs(eqn))), None)
        if found:
            return found
    return None


def _users_frames(eqn):
    return filter(_is_users, _frames(eqn))


def _is_users(frame):
    return not _is_in(frame, "jax", "jaxdl", "equinox")


def _is_machinery(frame):
    """Whether a frame belongs to the machinery of JAX or equinox that calls functions."""
    parts = "equinox/_ad", "equinox/_jit", "equinox/_module"
    return _is_in(frame, "jax") or any(part in frame.file_name for part in parts)


def _is_in(frame, *names):
    libraries = filter(None, map(sys.modules.get, names))
    return frame.file_name.startswith(tuple(os.path.dirname(str(library.__file__)) + os.sep for library in libraries))


def _frames(eqn):
    """The frames of the traceback that made an equation, innermost first."""
    return getattr(eqn.source_info.traceback, "frames", ())


def hide_from_source_lines(path: str) -> None:
    """Excludes a file, or all files below a path, when JAX looks for the user's line that made an equation."""
    source_info_util.register_exclusion(path)


hide_from_source_lines(os.path.dirname(__file__) + os.sep)
