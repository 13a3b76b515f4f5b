"""What a function of another library is here: its library, its name, and how it is made with arguments."""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A function of a library. `build()` imports the library and gives the function and its arguments.

    Derivatives are asked for in all of the arguments' floating-point numbers, Jacobians in those of the first.
    """

    library: str  # as PyPI calls it
    what: str
    build: Callable
    wide: bool  # runs with 64-bit numbers

    @property
    def name(self) -> str:
        return f"{self.library}: {self.what}"


ENTRIES: list[Entry] = []


def stranger(library: str, *, wide: bool = False) -> Callable:
    """Registers a builder; its name says what the function is."""

    def register(build):
        ENTRIES.append(Entry(library, build.__name__.strip("_").replace("_", " "), build, wide))
        return build

    return register


def entries() -> list[Entry]:
    """Those of all files in `functions`; no library is imported for it."""
    if not ENTRIES:
        from benchmarks.strangers import functions

        for module in sorted(m.name for m in pkgutil.iter_modules(functions.__path__)):
            importlib.import_module(f"{functions.__name__}.{module}")
    return sorted(ENTRIES, key=lambda e: e.library.lower())
