"""`jaxdl graph`: the lectures' examples and functions of others; messages."""

import functools
import re
import textwrap
import time

import pytest

from jaxdl.cli import COMMANDS
from jaxdl.example_calls import EXAMPLES
from tests.cli.command import exit_status

pytestmark = pytest.mark.usefixtures("wide_terminal")
status = functools.partial(exit_status, "graph")


def test_without_a_target_the_examples_are_listed(capsys):
    assert status() == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in EXAMPLES)
    assert "f = xy + z" in printed


def test_the_list_makes_no_example(capsys, monkeypatch):
    monkeypatch.setattr(type(EXAMPLES["lenet"]), "__call__", lambda self: pytest.fail("made"))
    start = time.process_time()
    assert status() == 0
    assert time.process_time() - start < 1
    assert "LeNet-5 on one image: ten scores" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["shared-weights", "xor-loss"])
def test_the_list_says_what_an_example_computes(name):
    assert (EXAMPLES[name]()[0].__doc__ or "").startswith(EXAMPLES[name].about)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_has_a_table_and_a_page(name, capsys, tmp_path):
    assert status(name, "--out", tmp_path / "g.html") == 0
    assert "nodes; values and gradients took up to" in capsys.readouterr().out
    assert (tmp_path / "g.html").read_text().startswith("<!doctype html>")


def test_values_and_gradients_are_in_the_table(capsys):
    assert status("sum-and-product") == 0
    (line,) = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(" g = x + y")]
    assert line[5:7] == ["3", "−4"]


def test_step_by_step(capsys):
    assert status("product-and-sum", "--steps") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "∂L/∂y = ∂g/∂y · ∂L/∂g = −2 · 1 = −2"


def test_costs(capsys):
    assert status("two-layers", "--costs") == 0
    assert "operations forward" in capsys.readouterr().out


def test_functions_of_others(capsys, tmp_path, monkeypatch):
    (tmp_path / "graph_of_a_user.py").write_text("def f(table):\n    return table['x'] * 2\n")
    (tmp_path / "given.py").write_text(
        textwrap.dedent("""
            import jax.numpy as jnp
            f = ({"x": jnp.ones(2)},)
        """)
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert status("graph_of_a_user:f") == 2
    assert "give them with --args" in capsys.readouterr().err
    assert status("graph_of_a_user:f", "--args", tmp_path / "given.py") == 0
    assert "u1 = table['x'] × 2" in capsys.readouterr().out
    assert status("jax.numpy:sinc") == 0
    (tmp_path / "graph_that_exits.py").write_text("def f(x):\n    raise SystemExit(3)\n")
    assert status("graph_that_exits:f") == 2
    assert "could be generated (SystemExit: 3)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["grpah"], "graph"), (["graph", "Xor-los"], "xor-loss"), (["tune", "lennet5"], "lenet5"),
        (["graph", "jax.numpy:sinnc"], "sinc"), (["plan", "mpl"], "mlp"), (["data", "prpare"], "prepare"),
    ],
)  # fmt: skip
def test_a_typo_gets_a_suggestion(arguments, meant, capsys):
    assert exit_status(*arguments) == 2
    assert f"did you mean {meant}?" in capsys.readouterr().err


@pytest.mark.parametrize("command", [*COMMANDS, "train", "data show"])
def test_help_names_its_arguments(command, capsys):
    """By what they are, not by their type."""
    assert exit_status(*command.split(), "--help") == 0
    assert not re.search(r"\b(STR|INT|FLOAT|PATH)\b", capsys.readouterr().out)


def test_messages(capsys, tmp_path):
    assert status("nonsense") == 2
    assert "there is no example 'nonsense'; there are product-and-sum" in capsys.readouterr().err
    assert status("xor", "--out", tmp_path / "g.jpg") == 2
    assert "the suffix must be .svg, .png, .pdf, .html" in capsys.readouterr().err
    assert status("jax.numpy:no_such") == 2
    assert "jax.numpy: there is no public function 'no_such'" in capsys.readouterr().err
