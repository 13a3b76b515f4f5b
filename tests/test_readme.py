"""The README's Python runs as it stands, also line by line in a plain REPL, and prints what it says."""

import codeop
import re
from pathlib import Path

import pytest

from tests import documents

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_the_code_runs_and_prints_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    statements = list(documents.run(README))
    assert len(statements) == 3
    for statement in statements:
        assert statement.missing() == [], f"{statement.place} states this, but printed was:\n{statement.printed}"


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_can_be_pasted_into_a_plain_interpreter(block):
    entered = []
    for line in block.splitlines():
        entered.append(line)
        if codeop.compile_command("\n".join(entered), symbol="single"):
            entered = []
    assert entered == []


@pytest.mark.parametrize("command", ["pip install . && jaxdl contrast", "pip install '.[test]' && pytest"])
def test_the_two_commands_are_there(command):
    assert f"```\n{command}\n```" in TEXT


def test_it_is_short():
    prose = re.sub(r"```.*?```|\(http\S*\)", "", TEXT, flags=re.DOTALL)
    assert len(prose.split()) < 700


def test_every_named_module_is_there():
    root = README.parent
    for kind, name in re.findall(r"python -m (benchmarks|experiments)\.(\w+)", TEXT):
        assert (root / kind / f"{name}.py").exists() or (root / kind / name / "__main__.py").exists()


def test_links_are_absolute():
    """PyPI has no other files."""
    assert not [link for link in re.findall(r"\]\(([^)]+)\)", TEXT) if not link.startswith("https://")]
