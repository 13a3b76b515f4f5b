"""Links in all pages lead to files, pages of the site and parts of this repository that exist."""

import posixpath
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SITE = "https://jaxdl-ad.github.io/jaxdl/"
HERE = re.compile(r"https://(?:github\.com/[\w-]+/jaxdl/(?:blob|tree)|raw\.githubusercontent\.com/[\w-]+/jaxdl)/main/")
LINK = re.compile(r"\]\(<?([^)\s>]+)>?\)")
BUILT = {"", "changelog", "contributing"}  # of the top files; `results` and `pictures` are those of the two folders
PAGES = [*ROOT.glob("*.md"), *(ROOT / "benchmarks").glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def target(page, link):
    """The file that a link leads to; None where it leads to another site or to a page that the site's build makes."""
    link = HERE.sub(f"{posixpath.relpath(ROOT, page.parent)}/", link).partition("#")[0]
    if link.startswith(SITE):
        name = link.removeprefix(SITE).strip("/")
        return None if name in BUILT else from_site(name)
    if ":" in link or not link:
        return None
    path = page.parent / link
    if page.is_relative_to(ROOT / "docs") and not path.exists():
        return from_site(posixpath.normpath((page.parent.relative_to(ROOT / "docs") / link).as_posix()))
    return path


def from_site(name):
    """The source of a page or picture of the site."""
    folder, _, rest = name.partition("/")
    if folder == "pictures":
        return ROOT / rest.replace("/", "/results/", 1)
    if folder == "results":
        return ROOT / "benchmarks" / "results" / f"{rest.removesuffix('.md')}.md"
    return None if name.removesuffix(".md") in BUILT else (ROOT / "docs" / name.removesuffix(".md")).with_suffix(".md")


@pytest.mark.parametrize("page", PAGES, ids=[path.relative_to(ROOT).as_posix() for path in PAGES])
def test_links_lead_somewhere(page):
    targets = {link: target(page, link) for link in LINK.findall(page.read_text())}
    results_are_here = (ROOT / "benchmarks" / "results").exists()  # not in the source distribution
    targets = {
        link: path for link, path in targets.items() if path and (results_are_here or "results" not in path.parts)
    }
    assert not [link for link, path in targets.items() if not path.exists()]


SHOWN = [path for path in PAGES if path.parent != ROOT / "benchmarks"]


@pytest.mark.parametrize("page", SHOWN, ids=[path.relative_to(ROOT).as_posix() for path in SHOWN])
def test_lists_begin_after_an_empty_line(page):
    """Otherwise MkDocs shows them as one paragraph."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert not re.findall(r"^(?![-*] |\d+\. | |$).*\n(?:[-*]|\d+\.) .*", text, re.MULTILINE)
