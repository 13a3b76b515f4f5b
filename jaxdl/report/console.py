"""Consoles on which names, paths and labels of others are printed unchanged."""

from typing import Any

from rich.console import Console

WIDTH = 80


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        raise  # the present error: rich would exit with status 1


def terminal(**settings: Any) -> Console:
    """A console of rich without markup, so that a name like [/x] is printed unchanged.

    Args:
        settings: Of `rich.console.Console`, such as `stderr=True`.
    """
    console = _Terminal(markup=False, emoji=False, highlight=False, **settings)
    if console.width < 1:  # COLUMNS=0, with which rich prints nothing
        console.width = WIDTH
    return console
