"""What a function depends on besides its arguments: read from its code, or found by tracing it."""

import builtins
import dataclasses
import enum
import functools
import sys
from collections.abc import Callable, Sequence
from types import CodeType, FunctionType, ModuleType
from typing import Any

import jax
import numpy as np
from jax.core import Tracer

from jaxdl import jaxpr as jx

NUMBERS = bool, int, float, complex, np.generic
CONSTANTS = (*NUMBERS, str, bytes, enum.Enum, type(None), type(...), np.dtype)


def is_importable(f: Any) -> bool:
    """Whether a function is found in its module by its name, and so lives as long as the module."""
    found = sys.modules.get(getattr(f, "__module__", None) or "")
    for name in getattr(f, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found is f and f is not None


class Surroundings:
    """What functions read from their closures and modules.

    Numbers, strings, and functions of the same module are read, to any depth. Modules, classes and functions of other
    modules count as constant. Arrays and other objects may change.

    Attributes:
        values: What was read, hashable; None where it may change without notice.
    """

    def __init__(self, *functions: Any):
        self.homes: set[str | None] = {getattr(f, "__module__", None) for f in functions}
        self.found: list[Any] = []
        self.seen: set[int] = set()
        self.reads: list[tuple[Callable[[], Any], Any]] = []
        self.values: tuple[Any, ...] | None = tuple(self.found) if all(map(self._read, functions)) else None

    def are_the_same(self) -> bool:
        """Whether every name that was read still has the same value."""
        return all(read() is value for read, value in self.reads)

    def _read(self, value):
        """Records what a value is or depends on. Returns False where that may change without notice."""
        if isinstance(value, CONSTANTS):
            self.found.append(jx.exactly(value))
            return True
        if id(value) in self.seen or isinstance(value, ModuleType | type):
            return True
        self.seen.add(id(value))
        if isinstance(value, tuple | frozenset):
            return all(map(self._read, value))
        if is_importable(value) and value.__module__ not in self.homes:
            return True
        if isinstance(value, FunctionType):
            self.reads += [(read, read()) for read in _readers(value).values()]
        parts = _parts(value)
        return parts is not None and all(map(self._read, parts))


def _parts(f):
    """The values that a callable consists of; None where they are not known."""
    if isinstance(f, FunctionType):
        defaults = f.__defaults__ or (), *(f.__kwdefaults__ or {}).values()
        return *defaults, *named(f).values()
    if isinstance(f, functools.partial):
        return f.func, *f.args, *f.keywords.values()
    if hasattr(f, "derivative") and hasattr(f, "primal"):  # an op
        return f.primal, f.derivative
    return (f.__wrapped__,) if is_importable(f) and hasattr(f, "__wrapped__") else None


def named(f: FunctionType) -> dict[str, Any]:
    """The values that a Python function reads from its closure and its module, by name."""
    return {name: read() for name, read in _readers(f).items()}


def _readers(f):
    """For each name that a Python function reads from its closure and its module, a function that gives its value."""
    modules = {n: functools.partial(f.__globals__.get, n) for n in _names(f.__code__) if n in f.__globals__}
    cells = zip(f.__code__.co_freevars, f.__closure__ or (), strict=True)
    return modules | {name: functools.partial(_content, cell) for name, cell in cells}


def _content(cell):
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


@functools.lru_cache(1000)
def _names(code: CodeType) -> frozenset[str]:
    """The names that code and the functions defined in it may read from their module."""
    inner = (_names(c) for c in code.co_consts if isinstance(c, CodeType))
    return frozenset(name for name in code.co_names if not hasattr(builtins, name)).union(*inner)


def name_of(value: Any, *functions: Callable[..., Any]) -> str:
    """The name by which functions read a value; its type where no name is found."""
    seen, waiting = set(), list(functions)
    while waiting:
        f = waiting.pop()
        if id(f) in seen:
            continue
        seen.add(id(f))
        reads = named(f) if isinstance(f, FunctionType) else dict.fromkeys(_parts(f) or (), None)
        for name, read in reads.items():
            if any(leaf is value for leaf in jax.tree.leaves(read)):
                return str(name)
        waiting += filter(callable, reads.values() if isinstance(f, FunctionType) else reads)
    return f"a value of type {jx.typed(value)}"


@dataclasses.dataclass(frozen=True, eq=False)
class Traced:
    """A traced function `f(captured, *arrays) -> result`, whose first argument are the traced values it closes over.

    Attributes:
        jaxpr: The traced function, opened.
        consts: The constants of the jaxpr; None for captured values.
        places: For each constant, its index among the captured values; None for those that are arrays.
        result: The pytree structure of the result.
    """

    jaxpr: Any
    consts: tuple[Any, ...]
    places: tuple[int | None, ...]
    result: Any

    @property
    def types(self) -> Any:
        """The types of the result, in its structure."""
        return jax.tree.unflatten(self.result, [v.aval for v in self.jaxpr.outvars])

    def __call__(self, captured: Sequence[Any], *arrays: Any) -> Any:
        consts = [c if i is None else captured[i] for c, i in zip(self.consts, self.places, strict=True)]
        return jax.tree.unflatten(self.result, jx.evaluate_opened(self.jaxpr, consts, arrays))


def traced(
    *functions: tuple[Any, ...], known: Sequence[Any] = (), axis: tuple[Any, int] | None = None
) -> tuple[list[Traced], list[Any]]:
    """Traces functions.

    Args:
        *functions: Tuples of a function and the types of its arguments.
        known: Captured values that are known already.
        axis: The name and size of a mapped axis, if the functions run under one.

    Returns:
        The traced functions, and the traced values that any of them closes over, the known ones first.
    """
    captured, results = list(known), []
    for f, *types in functions:
        structures = []
        jaxpr, _ = jx.trace(functools.partial(_leaves, f, structures), *types, axis=axis)
        places = [_place(captured, c) if isinstance(c, Tracer) else None for c in jaxpr.consts]
        consts = [c if i is None else None for c, i in zip(jaxpr.consts, places, strict=True)]
        results.append(Traced(jx.opened(jaxpr), tuple(consts), tuple(places), *structures))
    return results, captured


def _leaves(f, structures, *args):
    """The leaves of the result of f. Their structure, which JAX would keep forever, is appended to a list."""
    leaves, structure = jax.tree.flatten(f(*args))
    structures.append(structure)
    return leaves


def _place(found, value):
    """The index of a value in a list, to which it is appended if it is new."""
    places = [i for i, v in enumerate(found) if v is value]
    if not places:
        found.append(value)
    return places[0] if places else len(found) - 1


def hoisted(f: Callable[..., Any], *args: Any) -> tuple[Callable[..., Any], list[Any]]:
    """Makes the traced values that f closes over its first argument.

    Args:
        f: A function that may close over traced values.
        *args: Its arguments; only their types matter.

    Returns:
        The function `g(captured, *args)`, and the captured values.
    """
    types = jax.tree.map(jax.typeof, args)
    (closed,), captured = traced((f, *types))
    return lambda captured, *args: closed(captured, *jax.tree.leaves(args)), captured
