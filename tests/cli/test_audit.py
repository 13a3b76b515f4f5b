"""`jaxdl audit`: exit statuses, generated and given arguments, messages."""

import functools
import json
import sys
import textwrap

import pytest

from jaxdl.auditor import auditing
from jaxdl.cli import auditing as auditing_command
from jaxdl.cli import main
from tests.cli.command import exit_status

status = functools.partial(exit_status, "audit")

RULES = """
    import jax, jax.numpy as jnp

    @jax.custom_vjp
    def tripled(x):
        return 3 * x

    tripled.defvjp(lambda x: (3 * x, None), lambda _, dy: (2 * dy,))

    def squared(x):
        return x * x

    def sized(table):
        return table["x"] * 2
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The name of a module with a wrong rule, a right function, and one whose argument cannot be generated."""
    (tmp_path / "rules_of_a_user.py").write_text(textwrap.dedent(RULES))
    monkeypatch.setattr(auditing, "FORMATS", ())
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "rules_of_a_user"
    sys.modules.pop("rules_of_a_user", None)


def test_a_clean_function_and_a_fault(module, tmp_path, capsys):
    assert status(f"{module}:squared") == 0
    assert status(f"{module}:tripled", "--out", tmp_path / "report.json") == 1
    assert "wrong" in capsys.readouterr().out
    (audited,) = json.loads((tmp_path / "report.json").read_text())["audited"]
    assert audited["findings"][0]["expected"] == "3"


def test_a_module_and_given_arguments(module, tmp_path, capsys):
    given = tmp_path / "arguments.py"
    given.write_text("import jax.numpy as jnp\nsized = ({'x': jnp.ones(2)},)\n")
    assert status(module, "--args", given, "--out", tmp_path / "pages") == 1
    assert {path.name for path in (tmp_path / "pages").iterdir()} == {"tripled.html", "squared.html", "sized.html"}
    known = tmp_path / "known.toml"
    known.write_text('[[accepted]]\nrule = "tripled"\nverdict = "wrong"\nreason = "a test"\n')
    assert status(f"{module}:tripled", "--accepted", known) == 0
    printed = capsys.readouterr().out
    assert "Accepted findings" in printed
    assert "a test" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no_such_module:f"], "cannot import no_such_module"),
        (["{module}:sqared"], "no public function 'sqared'; did you mean squared? There are sized, squared, tripled"),
        (["{module}:sized"], "no arguments could be generated"),
        (["{module}:squared", "--out", "report.txt"], "ends in .json or .html"),
        (["{module}:squared", "--accepted", "missing.toml"], "missing.toml"),
        (["{module}:squared", "--args", "missing.py"], "missing.py"),
        (["{module}:squared", "--domains", "x=1"], "--domains takes NAME=LOW:HIGH"),
        (["{module}:squared", "--domains", "y=0:1"], "'y', which is not an argument of squared"),
        (["{module}", "--domains", "y=0:1"], "--domains names y, which is an argument of no function in"),
        (["{module}:squared", "--seconds", "0"], "--seconds must be positive"),
    ],
)
def test_what_cannot_be_run_is_exit_status_2(arguments, message, module, capsys):
    assert status(*(a.format(module=module) for a in arguments)) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_file_in_place_of_a_module_is_named(tmp_path, monkeypatch, capsys):
    (tmp_path / "rules.py").write_text("")
    monkeypatch.chdir(tmp_path)
    assert status("rules.py") == status("rules.py:f") == 2
    assert capsys.readouterr().err.count("rules.py is a file; give the module, rules") == 2


def test_parts_of_rules_are_not_audited_by_themselves(module, tmp_path, capsys):
    parts = "def f_fwd(x): return 3 * x, x\ndef f_bwd(x, dy): return (3 * dy,)\n"
    (tmp_path / f"{module}.py").write_text(f"{textwrap.dedent(RULES)}\n{parts}tripled.defvjp(f_fwd, f_bwd)\n")
    assert status(module, "--quick") == 0
    printed = capsys.readouterr().out
    assert "Parts of rules, judged with these: f_bwd, f_fwd." in printed
    assert "f_fwd:" not in printed


def test_ctrl_c_keeps_and_reports_what_is_done(module, monkeypatch, capsys):
    def stopped(subject, quick=False):
        raise KeyboardInterrupt

    real = auditing.audit_subject
    monkeypatch.setattr(auditing, "audit_subject", lambda s, quick: stopped(s) if s.name == "tripled" else real(s))
    assert status(module) == 130
    printed = " ".join(capsys.readouterr().out.split())
    assert "squared: right (" in printed
    assert "tripled: left out" in printed
    assert "Stopped by Ctrl-C: 2 of 3 functions are in this report." in printed


def test_rows_come_as_they_are_done_and_made_up_arguments_are_said(module, tmp_path, capsys):
    assert status(f"{module}:squared", "--quick", "--domains", "x=0:1", "--out", tmp_path / "page.html") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.startswith("Audit of squared: right")  # the progress bar is for terminals only
    assert f"Written: {tmp_path / 'page.html'}" in printed
    assert "Arguments were made up: x = float32[3,4]. If they do not fit: --args FILE.py" in printed
    assert "other formats" in printed


def test_a_bar_counts_the_checks_of_a_function_and_the_functions_of_a_module(module, monkeypatch):
    shown = []

    class Bar:
        def __init__(self, title, total):
            shown.append((title, total))

        def __call__(self, done, note, total=None):
            shown.append((done, note, total))

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    monkeypatch.setattr(auditing_command, "ProgressBar", Bar)
    status(f"{module}:squared", "--quick")
    names = "structure", "derivative", "linear", "alone"
    checks = [(done, f"squared: {check}", 4) for done, check in enumerate(names)]
    assert shown == [(f"auditing {module}:squared", 1), (0, "squared", None), *checks]
    shown.clear()
    status(module, "--quick")
    names = ["sized", "squared", "tripled"]
    assert shown == [(f"auditing {module}", 3), *((done, name, None) for done, name in enumerate(names))]


def test_given_arguments_that_will_not_do(module, tmp_path, capsys):
    given = tmp_path / "arguments.py"
    given.write_text("squared = (3,)\n")
    assert status(f"{module}:squared", "--args", given) == 2
    assert "could not be audited: ValueError: audit: no floating-point array" in " ".join(
        capsys.readouterr().err.split()
    )
    assert status(module, "--args", given) == 2  # of a module the others are audited
    assert "tripled" in capsys.readouterr().out


RUDE = {
    "raise KeyError('[/x]')": "cannot import rude: KeyError: '[/x]'",
    "import sys; sys.exit(0)": "cannot import rude: SystemExit: 0",
    "import sys; sys.exit(1)": "cannot import rude: SystemExit: 1",
    "def f(": "cannot import rude: SyntaxError: ",
    "import none_such": "cannot import rude: ModuleNotFoundError: ",
    "def f(x): raise KeyError(3)": "KeyError: 3",
    "def f(x): raise SystemExit(1)": "SystemExit: 1",
    "def f(x): assert False": "AssertionError",
}


@pytest.mark.parametrize("command", ["audit", "graph"])
@pytest.mark.parametrize("text", RUDE)
def test_a_module_that_ends_the_program(text, command, tmp_path, monkeypatch, capsys):
    (tmp_path / "rude.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "given.py").write_text("import jax.numpy as jnp\nf = (jnp.ones(2),)\n")
    with pytest.raises(SystemExit) as ended:
        main([command, "rude:f", "--args", str(tmp_path / "given.py")])
    sys.modules.pop("rude", None)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert RUDE[text] in said
    assert said.startswith("jaxdl: ")
    assert len(said.splitlines()) == 1
