"""The user's functions, by name, and their arguments, from a file."""

import importlib
import inspect
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxdl.auditor import generated, public_callables
from jaxdl.cli.usage_errors import BadUsage, no_such
from jaxdl.report import error_text


def imported(module: str) -> ModuleType:
    """Imports a module, which runs its code; raises BadUsage for whatever that raises."""
    if module.endswith(".py") and Path(module).exists():
        raise BadUsage(f"{module} is a file; give the module, {'.'.join(Path(module).with_suffix('').parts)}")
    sys.path.insert(0, "")  # as `python -m` finds modules in the current folder
    try:
        return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise BadUsage(f"cannot import {module}: {error_text(error)}; give package.module:function") from error


def function_of(target: str) -> tuple[str, Callable[..., Any]]:
    """The name and the function of `package.module:function`."""
    module, _, function = target.partition(":")
    found = imported(module)
    try:
        for part in function.split("."):
            found = getattr(found, part)
    except AttributeError:
        names = public_callables(importlib.import_module(module))
        raise BadUsage(f"{module}: {no_such('public function', function, names)}") from None
    if not callable(found):
        raise BadUsage(f"{target} is not a function but of type {type(found).__name__}")
    return function.split(".")[-1], found


def argument_names(f: Callable[..., Any]) -> list[str]:
    """The names of a function's arguments; none where it has no signature."""
    try:
        return list(inspect.signature(f).parameters)
    except (TypeError, ValueError):
        return []


def arguments_in(path: Path | None) -> dict[str, tuple[Any, ...]]:
    """The tuples that a Python file defines, by name; none without a file."""
    if path is None:
        return {}
    try:
        found = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:  # whatever the file does
        raise BadUsage(f"--args {path}: {error_text(error)}") from error
    return {name: value for name, value in found.items() if isinstance(value, tuple) and not name.startswith("_")}


def function_and_arguments(target: str, path: Path | None) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """The function of `package.module:function`, and its arguments: those in a Python file, or else generated."""
    name, f = function_of(target)
    given = arguments_in(path)
    if path and name not in given:
        raise BadUsage(f"--args {path} has no tuple named {name}; it has {', '.join(given) or 'none'}")
    found, reason = (given[name], "") if path else generated(f)
    if found is None:
        raise BadUsage(f"no arguments for {target} could be generated ({reason}); give them with --args")
    return f, found
