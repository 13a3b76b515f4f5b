"""The Python and the commands of all pages in docs/ run as they stand, and print what the pages say."""

from pathlib import Path

import pytest

from tests import documents

DOCS = Path(__file__).parents[1] / "docs"
ELSEWHERE = {"upstream.md"}  # test_upstream.py runs each of its reports alone
RUN = [page for page in sorted(DOCS.rglob("*.md")) if documents.FENCE.search(page.read_text())]
PAGES = [page for page in RUN if page.name not in ELSEWHERE]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(DOCS)) for page in PAGES])
def test_a_page_runs(page, tmp_path, monkeypatch):
    for package in documents.needs(page):
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for statement in documents.run(page):
        assert statement.missing() == [], f"{statement.place} states this, but printed was:\n{statement.printed}"


PRINTED = "the results agree to 1.10e-07\n by hand  3 of 4 kB\nat f.py:12 (f): float32[3]\nat last\n"


@pytest.mark.parametrize(
    ("stated", "measured", "is_so"),
    [
        ("by hand 3 of 4 kB\n", False, True),
        ("…\nby … of 4 kB\n\nthe results agree to 1.11e-07\n…\n", False, True),
        ("at … (f): float32[3]\n", False, True),
        ("by hand 3 of 5 kB\n", False, False),
        ("by hand 3 of 4 MB\n", False, False),
        ("at … (g): float32[3]\n", False, False),
        ("results differ\n", False, False),
        ("by hand 7 of 8 kB\n another row\nat last\n", True, True),
        ("by hand 3 of 4 kB\nresults differ\n", True, False),
    ],
)
def test_a_statement_is_compared_with_what_was_printed(stated, measured, is_so):
    assert (documents.Statement("", 0, stated, PRINTED, measured).missing() == []) == is_so


PAGE = """```python
print(1.0001, "and more")
```

```text title="Output"
{}
```
"""


def test_a_tutorial_shows_what_it_prints_now(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE.format("1 and more"))
    assert documents.as_printed(page) == PAGE.format("1.0001 and more")
    page.write_text(PAGE.format("1 and …"))
    assert documents.as_printed(page) == PAGE.format("1 and …")
    page.write_text(PAGE.format("2 and more"))
    with pytest.raises(ValueError, match=r"page\.md:5: this was not printed"):
        documents.as_printed(page)
