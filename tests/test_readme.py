"""The README's Python runs as it stands, and its commands are there."""

import re
from pathlib import Path

import jax
import pytest

README = Path(__file__).parent.parent / "README.md"


def test_the_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) >= 4
    names = {}
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        for block in blocks:
            exec(compile(block, "README.md", "exec"), names)
    assert "dense (op) ×1" in capsys.readouterr().out
    assert (tmp_path / "f.png").exists()
    assert names["trained"].history[-1]["loss"] < 0.1
    assert names["logits"].shape == (360, 10)


@pytest.mark.parametrize("command", ["pip install . && jaxdl contrast", "pip install '.[test]' && pytest"])
def test_the_two_commands_are_there(command):
    assert f"```\n{command}\n```" in README.read_text()


def test_every_named_module_is_there():
    root = README.parent
    for kind, name in re.findall(r"python -m (benchmarks|experiments)\.(\w+)", README.read_text()):
        assert (root / kind / f"{name}.py").exists() or (root / kind / name / "__main__.py").exists()


def test_every_linked_file_is_there():
    links = re.findall(r"\]\(([^):]+)\)", README.read_text())
    assert len(links) > 20
    assert [link for link in links if not (README.parent / link).exists()] == []
