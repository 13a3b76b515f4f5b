"""One style for all reports: numbers, tables, plots, pages."""

from jaxdl.report.console import terminal
from jaxdl.report.errors import error_text
from jaxdl.report.files import draft_of, plain, sync, write_whole
from jaxdl.report.numbers import (
    bytes_text,
    count_text,
    device_text,
    number_text,
    plural_text,
    ratio_text,
    seconds_text,
)
from jaxdl.report.page import Page, figure_html
from jaxdl.report.plot import (
    AUTOMATIC,
    AUTOMATIC_TEXT,
    FURTHER,
    HAND,
    INK,
    LINE,
    PAPER,
    figure,
    inline_svg,
    picture,
    png,
)
from jaxdl.report.progress import ProgressBar
from jaxdl.report.report import Report
from jaxdl.report.style import THEME, fragment, framed
from jaxdl.report.table import Table
from jaxdl.report.texts import capitalized

__all__ = [
    "AUTOMATIC",
    "AUTOMATIC_TEXT",
    "FURTHER",
    "HAND",
    "INK",
    "LINE",
    "PAPER",
    "THEME",
    "Page",
    "ProgressBar",
    "Report",
    "Table",
    "bytes_text",
    "capitalized",
    "count_text",
    "device_text",
    "draft_of",
    "error_text",
    "figure",
    "figure_html",
    "fragment",
    "framed",
    "inline_svg",
    "number_text",
    "picture",
    "plain",
    "plural_text",
    "png",
    "ratio_text",
    "seconds_text",
    "sync",
    "terminal",
    "write_whole",
]
