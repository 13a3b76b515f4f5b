"""Reduces a program with a fault: removes statements as long as it still has the fault."""

import re
from collections.abc import Callable, Iterator

import jax

from tests.programs.program import Program


def smallest(program: Program, shows: Callable[[Program], bool]) -> Program:
    """The smallest program that a greedy search finds; `shows` returns whether a program still has the fault."""
    found = True
    while found:
        found = next((p for p in smaller(program) if runs(p) and shows(p)), None)
        program = found or program
    return program


def smaller(program: Program) -> Iterator[Program]:
    """The program with an earlier value as its result, or without one statement; the shortest first."""
    head, rest = program.text.split("def f(", 1)
    body, tail = rest.split("\n\n\nargs = ")
    signature, *lines = body.splitlines()
    of = lambda lines: Program("\n".join([f"{head}def f({signature}", *lines]) + "\n\n\nargs = " + tail)
    names = re.findall(r"^    \[?(u\d+)", body, re.MULTILINE)
    if lines[-1][11:] not in names:
        yield from (of([*lines[:-1], f"    return {name}"]) for name in reversed(names))
    else:
        yield from (of([*lines[:-1], f"    return {n}"]) for n in reversed(names[: names.index(lines[-1][11:])]))
    for start in range(len(lines) - 2, -1, -1):
        depth = _depth(lines[start])
        end = next((i for i in range(start + 1, len(lines)) if _depth(lines[i]) <= depth), len(lines))
        yield of(lines[:start] + lines[end:])


def _depth(line):
    return len(line) - len(line.lstrip())


def runs(program: Program) -> bool:
    """Whether f can still be traced."""
    try:
        with jax.enable_x64(program.is_double), jax.numpy_dtype_promotion("standard"):
            own = program.own
            jax.eval_shape(lambda: own.f(*own.args))
        return True
    except Exception:
        return False
