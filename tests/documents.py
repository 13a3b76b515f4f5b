"""The code of a page in Markdown. A block ```python is run; ```py, ```shell and others are only shown.

The blocks of a page share one namespace, and functions test_… are called. A block ```text title="Output…" states what
was printed since the last one. A block ```console has commands after "$ ", of which those of jaxdl are run, each with
what it prints. In a statement "…" stands for anything, numbers may differ by a fiftieth, and where the title says
"measured" neither lines with numbers are compared nor indented ones, the rows of tables.
A page that begins with <!-- needs: torch --> is for machines with this package.
"""

import contextlib
import io
import math
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from jaxdl.cli import main

FENCE = re.compile(r"^```(python|console.*?|text title=\"Output.*?\")\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Statement:
    """What a page says that its code prints, and what the code printed."""

    place: str
    start: int  # of what is stated, in the text of the page
    stated: str
    printed: str
    measured: bool

    def missing(self) -> list[str]:
        """The stated lines that were not printed."""
        printed = [" ".join(line.split()) for line in self.printed.splitlines()]
        lines = [line for line in self.stated.splitlines() if line.strip(" …─")]
        if self.measured:
            lines = [line for line in lines if not NUMBER.search(line) and not line.startswith(" ")]
        return [line for line in lines if not any(agree(" ".join(line.split()), other) for other in printed)]


def agree(stated: str, printed: str) -> bool:
    """Whether two lines have the same words and nearly the same numbers."""
    parts = [f"({NUMBER.pattern})".join(map(re.escape, NUMBER.split(part))) for part in stated.split("…")]
    found = re.fullmatch(".*?".join(parts), printed)
    return bool(found) and all(map(close, NUMBER.findall(stated), found.groups()))


def close(stated: str, printed: str) -> bool:
    a, b = (float(number.replace(",", "")) for number in (stated, printed))
    return math.isclose(a, b, rel_tol=0.02)


def as_printed(page: Path) -> str:
    """The text of a page with what its code prints now; where that is shortened or measured, with what is stated.

    Raises:
        ValueError: something that the page states was not printed.
    """
    text, parts, end = page.read_text(), [], 0
    for statement in run(page):
        if missing := statement.missing():
            raise ValueError(f"{statement.place}: this was not printed: {missing}, but\n{statement.printed}")
        if "…" not in statement.stated and not statement.measured:
            parts += [text[end : statement.start], statement.printed]
            end = statement.start + len(statement.stated)
    return "".join(parts) + text[end:]


def run(page: Path, names: dict[str, Any] | None = None) -> Iterator[Statement]:
    """Runs the code of a page, and returns each statement with what was printed."""
    text = page.read_text()
    names = {} if names is None else names
    printed = io.StringIO()
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for fence in FENCE.finditer(text):
            kind, body = fence.groups()
            line = text.count("\n", 0, fence.start(2))
            place = f"{page.name}:{line}"
            if kind == "python":
                with contextlib.redirect_stdout(printed):
                    execute(compile("\n" * line + body, page.name, "exec"), names)
            elif kind.startswith("console"):
                for found in re.finditer(r"^\$ (jaxdl .*)\n((?:(?!\$ ).*\n)*)", body, re.MULTILINE):
                    start = fence.start(2) + found.start(2)
                    yield Statement(place, start, found[2], printed_by(found[1]), "measured" in kind)
            else:
                yield Statement(place, fence.start(2), body, printed.getvalue(), "measured" in kind)
                printed = io.StringIO()


def execute(code: Any, names: dict[str, Any]) -> None:
    before = set(names)
    exec(code, names)
    for name in names.keys() - before:
        if name.startswith("test_"):
            names[name]()


def printed_by(command: str) -> str:
    """What a command of jaxdl prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), contextlib.suppress(SystemExit):
        main(shlex.split(command, comments=True)[1:])
    return printed.getvalue()


def needs(page: Path) -> list[str]:
    """The packages that a page's code needs, besides those of the tests."""
    found = re.match(r"<!-- needs: (.*?) -->", page.read_text())
    return found[1].split() if found else []
