"""Numbers, tables and pages."""

import json
import re
from collections import Counter

import pytest

from jaxdl.report import (
    Page,
    Report,
    Table,
    bytes_text,
    count_text,
    figure,
    number_text,
    picture,
    plain,
    png,
    ratio_text,
    seconds_text,
    terminal,
    write_whole,
)


def test_numbers_read_well():
    assert [number_text(x) for x in (0, 1.2345, 123456, 1e-9, None, float("inf"))] == [
        "0", "1.23", "1.2e+05", "1.0e-09", "–", "∞",
    ]  # fmt: skip
    assert [bytes_text(n) for n in (0, 999, 1234, 5_600_000, None)] == ["0 B", "999 B", "1.2 kB", "5.6 MB", "–"]
    assert [count_text(n) for n in (12, 3400, 5.6e6, None)] == ["12", "3.4 k", "5.6 M", "–"]
    assert [seconds_text(s) for s in (5e-6, 0.0123, 12.0)] == ["5 µs", "12.3 ms", "12.0 s"]
    assert [ratio_text(r) for r in (0.5, None)] == ["0.50×", "–"]


def test_a_table_everywhere(capsys):
    table = Table("Title", ("name", "x < y"), [("a & b", "1")], "a note")
    table.print()
    out = capsys.readouterr().out
    assert "a & b" in out
    assert "a note" in out
    assert [line.split() for line in str(table).splitlines() if "─" not in line] == [
        ["Title"], ["name", "x", "<", "y"], ["a", "&", "b", "1"], ["a", "note"],
    ]  # fmt: skip
    assert table.markdown() == "| name | x < y |\n| --- | ---: |\n| a & b | 1 |"
    assert Table("", ("|x|",), [("x/|x|",)]).markdown() == "| \\|x\\| |\n| --- |\n| x/\\|x\\| |"
    assert '<td class="words">a &amp; b</td>' in table.html()
    assert "x &lt; y" in table.html()
    assert "data-column" not in table.html()
    text = Table("", ("name", 'a "finding"'), [("f", "x")], words=2).html()  # a list of rows in a narrow window
    assert '<table class="text">' in text
    assert '<td class="words" data-column="a &quot;finding&quot;">x</td>' in text
    words = Table("", ("a", "b", "c"), [], words=2)
    assert words.markdown() == "| a | b | c |\n| --- | --- | ---: |"


WIDE = Table(
    "A title",
    ("model", "parameters", "test result hand / auto", "step (ratio)", "residuals hand / auto", "why it differs"),
    [("autoencoder", "20,816", "error 0.009376 / 0.009375", "221 µs (1.14×)", "135 kB / 217 kB", "a flipped maximum")],
    "a note",
)


def test_columns_without_any_text_are_left_out():
    shown = Table("", ("a", "b", "c", "d"), [("1", "", "", "4"), ("2", "", "3", "")], words=2).without_empty_columns()
    assert (shown.columns, shown.rows, shown.words) == (("a", "c", "d"), [("1", "", "4"), ("2", "3", "")], 1)
    assert Table("", ("a", "b"), [("", "")]).without_empty_columns().columns == ("a",)
    assert Table("", ("a", "b"), []).without_empty_columns().columns == ("a", "b")


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_table_fits_the_terminal_without_broken_words(width, capsys):
    WIDE.print(terminal(width=width))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    printed = Counter(" ".join(lines).split())
    assert {*" ".join((*WIDE.columns, *WIDE.rows[0])).split()} <= {*printed}
    assert "135 kB / 217 kB" in "\n".join(lines)
    assert printed["autoencoder"] == {40: 5, 80: 2, 200: 1}[width]  # beside each group of columns


def test_a_page_stands_alone():
    page = Page("A <title>")
    page.heading("Part")
    page.text("Words")
    with figure(1, 2, sharey=True) as (fig, axes):
        assert len(axes) == 2
        page.picture(png(fig), "What it shows")
        page.picture(fig, "The same, in the colours of the page")
    html = page.html()
    assert "A &lt;title&gt;" in html
    assert 'src="data:image/png;base64,' in html
    assert "stroke: var(--ink)" in html[html.index("<svg") :]
    assert "http" not in html
    for name in re.findall(r"var\((--\w+)\)", html):
        assert html.count(f"{name}:") == 2, name  # light and dark


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_plot_is_the_same_file(suffix):
    """A page or picture that is drawn again from the same data does not differ, also in another process and later."""

    def drawn():
        with figure() as (fig, ax):
            ax.plot([1, 2], [3, 4], "o-")
            return picture(fig, suffix)

    assert drawn() == drawn()
    assert b"Date" not in drawn()


def test_files_are_whole_and_json_is_valid(tmp_path):
    path = tmp_path / "a.json"
    write_whole(path, json.dumps(plain({"x": [1.5, float("nan"), (float("inf"), "text", 2)]})).encode())
    assert json.loads(path.read_text()) == {"x": [1.5, None, [None, "text", 2]]}
    assert list(tmp_path.iterdir()) == [path]


def test_who_reads_a_file_while_it_is_replaced_reads_the_older_one(tmp_path):
    write_whole(tmp_path / "a.json", b"older")
    with open(tmp_path / "a.json", "rb") as opened:
        write_whole(tmp_path / "a.json", b"newer")
        assert opened.read() == b"older"
    assert (tmp_path / "a.json").read_bytes() == b"newer"


@pytest.fixture
def full_disk():
    """No file of this process grows beyond ten bytes: what is longer is written in part, then the writing fails."""
    resource = pytest.importorskip("resource", reason="needs POSIX: a limit on the length of files")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path, full_disk):
    path = tmp_path / "a.json"
    write_whole(path, b"older")
    with pytest.raises(OSError, match="File too large"):
        write_whole(path, b"newer, and longer than the disk has room for")
    assert path.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="File too large"):
        write_whole(tmp_path / "b.json", b"first, and longer than the disk has room for")
    assert list(tmp_path.iterdir()) == [path]


class _Counts(Report):
    def table(self):
        return Table("Counts", ("name", "count"), [("a", "1"), ("b|c", "2")])

    def to_json(self):
        return {"a": 1, "b": float("nan")}


def test_a_report_is_saved_in_the_form_of_the_suffix(tmp_path):
    report = _Counts()
    report.save(tmp_path / "counts.json")
    assert json.loads((tmp_path / "counts.json").read_text()) == {"a": 1, "b": None}
    for suffix in (".md", ".txt", ".html"):
        report.save(tmp_path / f"counts{suffix}")
        assert "Counts" in (tmp_path / f"counts{suffix}").read_text() or suffix == ".md"
    assert str(report).startswith("Counts\n")
    assert "<table>" in report._repr_html_()


def test_a_suffix_without_a_form_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match=r"cannot write .*counts.png.*\.txt, \.md, \.html, \.json"):
        _Counts().save(tmp_path / "counts.png")
    assert not list(tmp_path.iterdir())
