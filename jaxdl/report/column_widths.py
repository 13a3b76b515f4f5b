"""How wide the columns of a table are on a console, and which of them fit beside each other."""

from collections.abc import Sequence

from rich.cells import cell_len

UNBROKEN = 24  # a number with its unit, or two of them, stays in one line up to this width
READABLE = 22  # columns of a line of text; narrower ones are hard to read
GAP = 2  # after each column
EDGE = 1  # before the first


def column_groups(
    columns: Sequence[str], rows: Sequence[Sequence[str]], words: int, width: int
) -> list[tuple[int, ...]]:
    """The columns that are printed beside each other: one group if all fit, each with the first column.

    Args:
        columns: The names of the columns.
        rows: The cells, row by row.
        words: How many columns, from the first, have text that may be broken into lines.
        width: Of the console.

    Examples:
        >>> column_groups(("op", "time", "bytes"), [("dense", "0.97×", "1.2 kB")], 1, 20)
        [(0, 1), (0, 2)]
    """
    least = [_least(*column, i < words, width) for i, column in enumerate(_cells(columns, rows))]
    first = EDGE + least[0] + GAP if least else 0
    groups, used = [[]], first
    for i, needed in list(enumerate(least))[1:]:
        if used + needed + GAP > width and groups[-1]:
            groups, used = [*groups, []], first
        groups[-1].append(i)
        used += needed + GAP
    return [(0, *group) for group in groups] if least else [()]


def fitted(
    columns: Sequence[str], rows: Sequence[Sequence[str]], words: int, shown: Sequence[int], width: int
) -> list[int]:
    """The widths of the shown columns: as wide as their cells where there is room, else cells are broken into lines.

    Args:
        columns: The names of the columns.
        rows: The cells, row by row.
        words: How many columns, from the first, have text.
        shown: The positions of the columns that are printed beside each other.
        width: Of the console.
    """
    cells = _cells(columns, rows)
    widths = [_least(*cells[i], i < words, width) for i in shown]
    wanted = [max(map(cell_len, (header, *of_rows))) for header, of_rows in (cells[i] for i in shown)]
    spare = width - EDGE - sum(widths) - GAP * len(widths)
    while spare > 0 and (narrow := [i for i, w in enumerate(widths) if w < wanted[i]]):
        widths[min(narrow, key=lambda i: widths[i])] += 1
        spare -= 1
    return [max(w, 1) for w in widths]


def _cells(columns, rows):
    return [(header, [row[i] for row in rows]) for i, header in enumerate(columns)]


def _least(header, cells, is_text, width):
    """The least width of a column in which no word is broken, and no number; at most half of the console."""
    longest, word = max(map(cell_len, cells), default=0), max(map(_longest_word, (header, *cells)))
    if is_text or longest > UNBROKEN:
        return min(max(word, min(longest, READABLE)), max((width - EDGE) // 2 - GAP, 1))
    return max(longest, _longest_word(header))


def _longest_word(text):
    return max(map(cell_len, text.split()), default=0)
