"""The commands that pages show can be called: flags, models, examples and data commands exist. None is run here.

Those in blocks ```console are run by tests/test_docs.py.
"""

import re
import shlex
from pathlib import Path

import pytest

from jaxdl import cli
from jaxdl.cli.settings import Settings, as_toml
from jaxdl.cli.training_recipes import recipe, recipes
from jaxdl.cli.usage_errors import usage
from jaxdl.example_calls import EXAMPLES

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "experiments").rglob("*.md")),
    *sorted((ROOT / "benchmarks").rglob("*.md")),
]
CONSOLE = re.compile(r"^```console.*?^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(rf"(?:^|`|&& )jaxdl ((?:{'|'.join([*cli.COMMANDS, 'train'])})\b[^`\n]*)", re.MULTILINE)
PLACEHOLDER = re.compile(r"[A-Z]+(\[:[A-Z]+\])?$")


def commands():
    for page in PAGES:
        text = CONSOLE.sub("", page.read_text(encoding="utf-8"))
        for command in dict.fromkeys(m[1].strip(" &") for m in COMMAND.finditer(text)):
            yield pytest.param(command, id=f"{page.relative_to(ROOT)}: {command}")


def known(name, check):
    if ":" not in name and not PLACEHOLDER.match(name):
        usage(check, name)
    return 0


def an_example(name):
    if name and name not in EXAMPLES:
        raise ValueError(f"there is no example {name!r}")


@pytest.mark.parametrize("command", list(commands()))
def test_a_command_of_a_page_can_be_called(command, tmp_path, monkeypatch, capsys):
    stubs = {
        "contrasting.contrast_trainings": lambda model, *_: known(model, recipes),
        "auditing.audit_target": lambda *_: 0,
        "graphing.show_graph": lambda target, *_: known(target, an_example),
        "tuning.tune_target": lambda target, *_: known(target, recipe),
        "planning.show_plan": lambda settings, *_: known(settings.model, recipe),
        "training.train_in_folder": lambda _, settings, *__: known(settings.model, recipe),
        "data_sets.list_sets": lambda *_: 0,
        "data_sets.prepare_set": lambda *_: 0,
        "data_sets.show_set": lambda *_: 0,
    }
    for place, stub in stubs.items():
        monkeypatch.setattr(f"jaxdl.cli.{place}", stub)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "settings.toml").write_text(as_toml(Settings()))
    name, *words = shlex.split(command, comments=True)
    if name == "data" and not words:
        words = ["list"]
    if name in ("audit", "tune", "plan") and (not words or words[0].startswith("--")):
        words = ["MODULE", *words]  # a page that tells of the command, or of its flags, alone
    with pytest.raises(SystemExit) as ended:
        cli.main([name, *words])
    assert ended.value.code == 0, capsys.readouterr()
