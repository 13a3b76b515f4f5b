"""`jaxdl tune`, run as a person would."""

import functools

import jax
import jax.numpy as jnp

from jaxdl import Tuned
from tests.cli.command import exit_status

run = functools.partial(exit_status, "tune", promotion="standard")


def test_a_model_is_tuned(capsys):
    assert run("mlp", "--batch", "4", "--seconds", "1") == 0
    out = capsys.readouterr().out
    assert "Time of the gradient over that of the tuned one" in " ".join(out.split())
    for part in ("tuned", "hand", "automatic", "dense", "float32[4,64]"):
        assert part in out


def test_a_function_is_tuned_and_saved(tmp_path, capsys):
    args, out = tmp_path / "args.py", tmp_path / "tuned.json"
    args.write_text("import jax.numpy as jnp\ngelu = (jnp.ones((2, 3)),)\n")
    assert run("jax.nn:gelu", "--args", args, "--seconds", "1", "--quiet", "--out", out) == 0
    assert not capsys.readouterr().out
    assert Tuned.load(out, jax.nn.gelu)(jnp.ones((2, 3))).shape == (2, 3)


def test_mistakes(capsys):
    for arguments, part in {
        ("mpl",): "did you mean mlp?",
        ("mlp", "--batch", "0"): "--batch must be 1 or more, got 0",
        ("mlp", "--out", "a.png"): "--out ends in .json",
        ("mlp", "--out", "nowhere/a.json"): "there is no folder nowhere",
        ("jax.nn:gelo",): "there is no public function 'gelo'; did you mean gelu?",
        ("jax.numpy:argmax",): "no arguments for jax.numpy:argmax could be generated",
    }.items():
        assert run(*arguments) == 2
        assert part in " ".join(capsys.readouterr().err.split())
