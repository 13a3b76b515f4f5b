"""The main job, run as a person would, on one epoch."""

import functools
import json
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.cli import contrasting
from jaxdl.cli.paired_training import relative_difference
from tests.cli.command import exit_status

run = functools.partial(exit_status, "contrast", promotion="standard")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    assert run("--epochs", "2", "--out", str(folder), "--model", "mlp") == 0
    return folder


def test_the_report_is_whole(report):
    saved = json.loads((report / "report.json").read_text())
    model = saved["models"]["mlp"]
    assert saved["settings"]["precision"] == "float32"
    assert model["contrast"]["whole"]["beside"]["stock"]["step"]["ratio"] > 0
    assert [row["epoch"] for row in model["hand"]] == [1, 2]
    assert len(model["gradient_differences"]) == 3
    assert max(model["gradient_differences"]) < 1e-4
    assert model["hand"][-1]["accuracy"] > 0.8
    assert model["contrast"]["whole"]["step"]["ratio"] > 0
    names = {site["name"] for site in model["contrast"]["sites"]}
    assert names == {"dense", "relu", "softmax_cross_entropy_with_integer_labels"}


def test_the_page_stands_alone_and_shows_all(report):
    html = (report / "report.html").read_text()
    assert html.count("<svg") == 2
    saved = json.loads((report / "report.json").read_text())
    assert html.index(saved["conclusion"]) < html.index("<table")
    assert saved["models"]["mlp"]["contrast"]["conclusion"] in html
    assert "http" not in html
    assert "softmax cross entropy" in html
    assert not list(report.glob("*.part"))
    for name in ("mlp-training.png", "mlp-costs.png"):
        assert (report / name).read_bytes().startswith(b"\x89PNG")


def test_a_tuned_column(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("jaxdl.cli.paired_training.TUNING_SECONDS", 1)
    assert run("--epochs", "1", "--out", str(tmp_path), "--model", "mlp", "--tuned") == 0
    model = json.loads((tmp_path / "report.json").read_text())["models"]["mlp"]
    assert list(model["contrast"]["whole"]["beside"]) == ["stock", "tuned"]
    assert model["contrast"]["whole"]["beside"]["tuned"]["step"]["ratio"] > 0
    assert {d["name"] for d in model["tuned"]["decisions"]} == {site["name"] for site in model["contrast"]["sites"]}
    said = capsys.readouterr().out
    first, *rest = (i for i in range(len(said)) if said.startswith("mlp:", i))
    assert said.index("accuracy", first) < rest[0] < said.index("With hand-written rules")  # results, then measurements
    html = (tmp_path / "report.html").read_text()
    assert "time tuned" in html
    assert "Choices" in html


def test_float64_agrees_far_better(tmp_path):
    assert run("--epochs", "1", "--out", str(tmp_path), "--model", "autoencoder", "--float64", "--quiet") == 0
    saved = json.loads((tmp_path / "report.json").read_text())
    assert saved["settings"]["precision"] == "float64"
    assert max(saved["models"]["autoencoder"]["gradient_differences"]) < 1e-12
    assert (tmp_path / "autoencoder-reconstructions.png").exists()


def test_a_wrong_rule_is_exit_status_1(tmp_path, monkeypatch, capsys):
    from jaxdl import ops, saving

    def wrong_rule(x, w, b):
        def pullback(x, w, dy):
            return dy @ w.T, 1.01 * (x.T @ dy), dy.sum(0)

        return ops.dense.primal(x, w, b), saving(pullback, x, w)

    monkeypatch.setattr(ops.dense, "derivative", wrong_rule)
    assert run("--epochs", "1", "--out", str(tmp_path), "--model", "mlp", "--quiet") == 1
    assert "The gradients differ by more than" in capsys.readouterr().err


def test_a_nan_in_any_gradient_is_a_difference():
    good, bad = jnp.ones(2), jnp.array([1.0, jnp.nan])
    assert np.isnan(relative_difference((good, bad), (good, good)))
    assert np.isnan(relative_difference((bad, good), (good, good)))
    assert relative_difference((good, good), (good, good)) == 0


BAD = {
    "there is no model 'mpl'; did you mean mlp? There are mlp, convnet, autoencoder and all": ("--model", "mpl"),
    "unknown data set 'digit'": ("--data", "digit"),
    "cannot write to the folder /dev/null/report": ("--out", "/dev/null/report"),
    "--epochs must be 1 or more, got 0": ("--epochs", "0"),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_usage_is_exit_status_2(message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert run(*BAD[message], "--quiet") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert message in said
    assert "Traceback" not in said


def test_bad_data_is_exit_status_2(monkeypatch, capsys, tmp_path):
    digits = contrasting.load("digits")
    bad = {
        "1 of 1437 labels are outside 0 … 9": digits._replace(
            train_y=np.where(np.arange(1437) == 5, 10, digits.train_y)
        ),
        "must be floating point, got int64": digits._replace(train_x=digits.train_x.astype(np.int64)),
        "there are no examples": digits._replace(test_x=digits.test_x[:0]),
        "have NaN or infinity": digits._replace(train_x=np.where(digits.train_x == 1, np.nan, digits.train_x)),
    }
    for message, data in bad.items():
        monkeypatch.setattr(contrasting, "load", lambda name, data=data: data)
        assert run("--out", str(tmp_path), "--quiet") == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_help_and_typos_are_for_people():
    command = [sys.executable, "-m", "jaxdl"]
    shown = subprocess.run([*command, "contrast", "--help"], capture_output=True, text=True)
    assert shown.returncode == 0
    for option in ("--model", "--data", "--epochs", "--seed", "--float64", "--tuned", "--quiet", "--out"):
        assert option in shown.stdout
    typo = subprocess.run([*command, "contrast", "--modle", "mlp"], capture_output=True, text=True)
    assert typo.returncode == 2
    assert "--model" in typo.stderr + typo.stdout
