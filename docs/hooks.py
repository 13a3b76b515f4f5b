"""Called by MkDocs: runs the tutorials, adds files that lie elsewhere, makes links to this site relative, checks it."""

import ast
import contextlib
import posixpath
import re
import sys
import tempfile
import zlib
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
TOP = {"index.md": "README.md", "changelog.md": "CHANGELOG.md", "contributing.md": "CONTRIBUTING.md"}
BADGE = re.compile(r"^\[!\[.*\n", re.MULTILINE)
RAW = re.compile(r"https://raw\.githubusercontent\.com/[\w-]+/\w+/main/(experiments|benchmarks)/results/")
WHOLE_WINDOW = "---\nhide: [navigation, toc]\n---\n\n"
MANY = 7  # lines between the columns of a table that does not fit beside the navigation
UNIT = re.compile(r"(?<=\d) (?=[kMG]?B\b|[mµn]?s\b|[kMG]\b)")
LONG = re.compile(r"[\w.\\]{20,}")
FOREIGN = re.compile(r"<(?:script|img|iframe|source)[^>]* src=\"?https?:|<link[^>]*rel=\"?stylesheet\"?[^>]*https?:")

serving = False


def on_startup(command, dirty):
    """While pages are written (`mkdocs serve`), tutorials are shown as they stand."""
    global serving
    serving = command == "serve"


def on_files(files, config):
    """Adds the top files, `results/NAME.md`, `pictures/experiments/NAME` and `pictures/benchmarks/NAME`."""
    for page, name in TOP.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / name)))
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.md")):
        files.append(File.generated(config, f"results/{path.name}", content=result(path.read_text())))
    for folder in ("experiments", "benchmarks"):
        for path in sorted((ROOT / folder / "results").glob("*.*")):
            if path.suffix in (".png", ".html"):
                files.append(File.generated(config, f"pictures/{folder}/{path.name}", abs_src_path=str(path)))
    return files


def result(text):
    """The page of a result: its title and its table, which has the whole window where it has many columns."""
    columns = max(line.count(" | ") for line in text.splitlines())
    return f"{WHOLE_WINDOW * (columns >= MANY)}# {literal(text)}"


def literal(table):
    """A table without emphasis or links in names like out_axes[0][0]; lines break in long names, not before units."""
    parts = table.split("`")
    parts[::2] = [plain(part) for part in parts[::2]]
    return "`".join(parts)


def plain(text):
    text = UNIT.sub("\N{NO-BREAK SPACE}", text.replace("_", "\\_").replace("][", "]&#91;"))
    return LONG.sub(lambda name: re.sub(r"(?<=[._])(?=\w)", "<wbr>", name[0]), text)


def on_page_markdown(markdown, page, config, files):
    """Runs a tutorial; makes links to this site relative, for MkDocs to check (the top files have them in full)."""
    if page.file.src_uri.startswith("tutorials/") and not serving:
        markdown = as_printed(Path(page.file.abs_src_path))
    sources = {file.url.removeprefix("./"): file.src_uri for file in files}
    folder = posixpath.dirname(page.file.src_uri)

    def relative(match):
        url, _, anchor = match[1].partition("#")
        if url not in sources:
            raise PluginError(f"{page.file.src_uri}: the site has no {url}")
        return posixpath.relpath(sources[url], folder or ".") + ("#" + anchor) * bool(anchor)

    markdown = RAW.sub(rf"{config.site_url}pictures/\1/", BADGE.sub("", markdown))
    return re.sub(rf"{re.escape(config.site_url)}([^)\s>\"]*)", relative, markdown)


def as_printed(page):
    """The text of a page with what its code prints now."""
    sys.path.append(str(ROOT))
    from tests import documents

    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            return documents.as_printed(page)
    except ValueError as error:
        raise PluginError(str(error)) from error
    finally:
        sys.path.remove(str(ROOT))


def on_post_page(output, **others):
    """Leaves the link to the repository without its stars, which Material's script would ask GitHub for."""
    return output.replace(' data-md-component="source"', "")


on_post_template = on_post_page  # for 404.html


def on_post_build(config):
    """Refuses a site whose reference lacks a public name, or whose pages load something from another host."""
    site = Path(config.site_dir)
    if missing := sorted(public_names() - documented_names(site / "objects.inv")):
        raise PluginError(f"the reference has no entry for {', '.join(missing)}")
    if foreign := [str(page) for page in site.rglob("*.html") if FOREIGN.search(page.read_text())]:
        raise PluginError(f"these pages load something from another host: {', '.join(foreign)}")


def public_names():
    """The names in __all__ of each module that has a page in docs/reference; jaxdl.report has one for its classes."""
    pages = (ROOT / "docs" / "reference").glob("*.md")
    modules = {name for page in pages for name in re.findall(r"^::: ([a-z_.]+)$", page.read_text(), re.MULTILINE)}
    return {f"{module}.{name}" for module in modules for name in exported(module)}


def exported(module):
    """What a module lists in __all__."""
    path = ROOT.joinpath(*module.split("."))
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text())
    lists = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__"
    ]
    return ast.literal_eval(lists[0])


def documented_names(inventory):
    """The names in the inventory that mkdocstrings writes for links from other sites."""
    lines = zlib.decompress(inventory.read_bytes().split(b"zlib.\n", 1)[1]).decode().splitlines()
    return {line.split()[0] for line in lines}
