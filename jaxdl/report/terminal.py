"""Where text is printed: names, paths and labels of others come out as they are."""

from rich.console import Console

WIDTH = 80


class _Terminal(Console):
    def on_broken_pipe(self) -> None:
        raise  # the error that is at hand: rich would end the process with the status of something found


def terminal(**settings) -> Console:
    """A rich console that takes no text for markup, such as a function that is named [/x]."""
    console = _Terminal(markup=False, emoji=False, highlight=False, **settings)
    if console.width < 1:  # COLUMNS=0, by which rich would print nothing
        console.width = WIDTH
    return console
