"""Every test that docs/explanation/reliability.md names exists, in the file beside it."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`(?P<file>tests/[\w/]+\.py)`|`(?P<test>test_\w+)`")


def named():
    """The pairs (file, test) in the document; test is None where the whole file is meant."""
    found = []
    for line in (ROOT / "docs" / "explanation" / "reliability.md").read_text(encoding="utf-8").splitlines():
        file = None
        for match in NAMED.finditer(line):
            file = match["file"] or file
            found.append((file, match["test"]))
    return found


def test_the_tests_that_the_document_names_exist():
    assert len(named()) > 30
    for file, test in named():
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert test is None or test in names, f"{file} has no {test}"
