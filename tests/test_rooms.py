"""The rooms of the package: what may import what, which room knows JAX's internals, how long a file may be."""

import ast
import re
from pathlib import Path

import pytest

import jaxdl

ROOT = Path(jaxdl.__file__).parent
LONGEST = 400
PROJECT = Path(__file__).parents[1]
INSIDE_JAX = re.compile(r"(eqn|equation)\.params\b|\bjax\._src\b|\bjax\.interpreters\b|\bjax\.extend\b")


def rooms():
    """From each room to the rooms that it may import: the table in docs/explanation/architecture.md."""
    section = (PROJECT / "docs" / "explanation" / "architecture.md").read_text().split("## Rooms")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]
    return {name: set(filter(None, below.split(", "))) for name, _, below in cells[2:]}


MAY_IMPORT = rooms()


def imports(path):
    """The names of the modules that a file imports, in full."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room(path):
    return path.relative_to(ROOT).with_suffix("").parts[0]


FILES = [path for path in ROOT.rglob("*.py") if room(path) not in ("__init__", "__main__")]


def test_every_room_is_listed():
    assert {room(path) for path in FILES} == set(MAY_IMPORT)


def test_rooms_import_only_rooms_below_them():
    order = list(MAY_IMPORT)
    for name, below in MAY_IMPORT.items():
        assert all(order.index(name) < order.index(other) for other in below), name


def test_imports_go_down():
    for path in FILES:
        own = room(path)
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "jaxdl" and parts[1] != "__version__":
                imported = parts[1]
                assert imported == own or imported in MAY_IMPORT[own], f"{path} imports {name}"


def test_only_jaxpr_looks_inside_jax():
    for path in FILES:
        if room(path) != "jaxpr":
            assert not INSIDE_JAX.findall(path.read_text()), path
            inside = ("jax._src", "jax.interpreters", "jax.extend")
            assert not [name for name in imports(path) if name.startswith(inside)], path


def test_no_file_has_the_name_of_a_function_in_it():
    """Otherwise `package.name` is the function or the module, whichever was imported last."""
    for path in ROOT.rglob("*.py"):
        functions = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
        assert path.stem not in functions, path


def modules():
    """From each module of the package to the modules that it imports, wherever in the file."""
    named = {".".join(("jaxdl", *path.relative_to(ROOT).with_suffix("").parts)): path for path in ROOT.rglob("*.py")}
    named = {name.removesuffix(".__init__"): path for name, path in named.items()}
    resolve = lambda name: name if name in named else name.rpartition(".")[0]
    return {
        module: {found for name in imports(path) if (found := resolve(name)) in named and found != "jaxdl"} - {module}
        for module, path in named.items()
        if module not in ("jaxdl", "jaxdl.__main__")
    }


def test_no_import_circle():
    graph, done = modules(), set()

    def visit(module, trail):
        assert module not in trail, " → ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for imported in sorted(graph[module]):
                visit(imported, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("folder", ["jaxdl", "tests", "benchmarks", "experiments"])
def test_no_file_is_long(folder):
    lengths = {str(path): len(path.read_text().splitlines()) for path in (PROJECT / folder).rglob("*.py")}
    assert not {path: length for path, length in lengths.items() if length > LONGEST}
