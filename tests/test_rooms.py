"""Imports go down the rooms, and only jaxdl/jaxpr/ looks inside JAX."""

import ast
import re
from pathlib import Path

import jaxdl

ROOT = Path(jaxdl.__file__).parent
MAY_IMPORT = {
    "testing": {"auditor", "currying"},
    "cli": {"auditor", "graph", "train", "data", "nn", "ops", "measure", "strip", "rule", "call", "jaxpr", "report"},
    "train": {"nn", "data", "graph", "jaxpr", "report"},
    "interop": {"nn", "ops", "jacobian", "report"},
    "data": set(),
    "nn": {"ops"},
    "graph": {"strip", "symbolic_zeros", "jaxpr", "report"},
    "jacobian": {"strip", "symbolic_zeros", "double_precision", "jaxpr", "report"},
    "auditor": {"currying", "exact", "measure", "strip", "double_precision", "jaxpr", "report"},
    "measure": {"currying", "double_precision", "strip", "report", "jaxpr"},
    "exact": {"jaxpr"},
    "strip": {"rule", "symbolic_zeros", "jaxpr"},
    "ops": {"rule"},
    "rule": {"call", "closures", "jaxpr"},
    "call": {"closures", "jaxpr"},
    "closures": {"jaxpr"},
    "currying": set(),
    "report": set(),
    "symbolic_zeros": set(),
    "double_precision": {"jaxpr"},
    "jaxpr": set(),
}


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


def test_imports_go_down():
    for path in FILES:
        own = room(path)
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "jaxdl":
                imported = parts[1]
                assert imported == own or imported in MAY_IMPORT[own], f"{path} imports {name}"


INSIDE_JAX = re.compile(r"(eqn|equation)\.params\b|\bjax\._src\b|\bjax\.interpreters\b|\bjax\.extend\b")


def test_only_jaxpr_looks_inside_jax():
    for path in FILES:
        if room(path) != "jaxpr":
            assert not INSIDE_JAX.findall(path.read_text()), path
            assert not any(name.startswith(("jax._src", "jax.interpreters", "jax.extend")) for name in imports(path)), (
                path
            )
