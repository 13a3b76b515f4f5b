"""Called by MkDocs: adds pictures of results to the site, and checks that the reference has every public name."""

import ast
import re
import zlib
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
FOREIGN = re.compile(r"<(?:script|img|iframe|source)[^>]* src=\"?https?:|<link[^>]*rel=\"?stylesheet\"?[^>]*https?:")


def on_files(files, config):
    """Adds each picture and page of results as `pictures/experiments/NAME` or `pictures/benchmarks/NAME`."""
    for folder in ("experiments", "benchmarks"):
        for path in sorted((ROOT / folder / "results").glob("*.*")):
            if path.suffix in (".png", ".html"):
                files.append(File.generated(config, f"pictures/{folder}/{path.name}", abs_src_path=str(path)))
    return files


def on_post_build(config):
    """Refuses a site whose reference lacks a public name, or whose pages load something from another host."""
    site = Path(config.site_dir)
    if missing := sorted(public_names() - documented_names(site / "objects.inv")):
        raise PluginError(f"the reference has no entry for {', '.join(missing)}")
    if foreign := [str(page) for page in site.rglob("*.html") if FOREIGN.search(page.read_text())]:
        raise PluginError(f"these pages load something from another host: {', '.join(foreign)}")


def public_names():
    """The names in __all__ of each module that has a page in docs/reference."""
    pages = (ROOT / "docs" / "reference").glob("*.md")
    modules = {name for page in pages for name in re.findall(r"^::: (\S+)", page.read_text(), re.MULTILINE)}
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
