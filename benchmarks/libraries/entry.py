"""The registry of functions of other libraries: library, name, and a builder of the function and its arguments."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A function of a library. `build()` imports the library and returns the function and its arguments.

    Gradients are taken with respect to all floating-point arguments, Jacobians with respect to the first.
    """

    library: str  # its name on PyPI
    what: str
    build: Callable
    wide: bool  # runs with 64-bit numbers

    @property
    def name(self) -> str:
        return f"{self.library}: {self.what}"


ENTRIES: list[Entry] = []


def function_of(library: str, *, wide: bool = False) -> Callable:
    """Registers a builder; the builder's name is the function's name."""

    def register(build):
        ENTRIES.append(Entry(library, build.__name__.strip("_").replace("_", " "), build, wide))
        return build

    return register


def entries() -> list[Entry]:
    """The entries of all files in `functions`; imports none of the libraries."""
    if not ENTRIES:
        from benchmarks.libraries import functions

        for module in sorted(m.name for m in pkgutil.iter_modules(functions.__path__)):
            importlib.import_module(f"{functions.__name__}.{module}")
    return sorted(ENTRIES, key=lambda e: e.library.lower())
