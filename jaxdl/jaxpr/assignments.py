"""The variables of the user's source: which instruction led to an equation, and what it assigns."""

import dis
import functools
import inspect
from collections.abc import Callable
from types import CodeType
from typing import Any, NamedTuple

from jaxdl.jaxpr.source_lines import users_function
from jaxdl.jaxpr.versions import Equation

_STORES = {"STORE_FAST", "STORE_DEREF", "STORE_NAME", "STORE_GLOBAL", "STORE_FAST_LOAD_FAST"}


def captured(f: Callable[..., Any]) -> dict[str, Any]:
    """The variables outside of the user's function that it reads, by name; its globals and those it closes over."""
    while isinstance(f, functools.partial):
        f = f.func
    f = users_function(f)
    if not inspect.isfunction(f):
        return {}
    found = inspect.getclosurevars(f)
    return {**found.globals, **found.nonlocals}


class Instruction(NamedTuple):
    """An instruction of a function's code, at an offset."""

    code: CodeType
    offset: int


def code_of(f: Callable[..., Any]) -> CodeType | None:
    """The code of the user's function, without wrappers and partial arguments; None where there is none."""
    while isinstance(f, functools.partial):
        f = f.func
    return getattr(users_function(f), "__code__", None)


def instructions(eqn: Equation, code: CodeType) -> tuple[Instruction, ...]:
    """The instructions that led to an equation: one of this code, and those in functions of its file that it calls."""
    traceback = eqn.source_info.traceback
    if traceback is None:
        return ()
    codes, offsets = traceback.raw_frames()  # the innermost first
    start = next((k for k in reversed(range(len(codes))) if codes[k] is code), -1)
    file = code.co_filename
    return tuple(Instruction(codes[k], offsets[k]) for k in range(start, -1, -1) if codes[k].co_filename == file)


def assigned_name(at: Instruction) -> str:
    """The variable to which the result of an instruction is assigned; empty if it is used in another way."""
    after = next((i for i in dis.get_instructions(at.code) if i.offset > at.offset), None)
    if after is None or after.opname not in _STORES:
        return ""
    return after.argval[0] if isinstance(after.argval, tuple) else after.argval
