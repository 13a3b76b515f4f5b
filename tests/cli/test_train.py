"""`jaxdl train`, run as a person would."""

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
import types

import jax
import pytest

from jaxdl.cli import main, metrics
from jaxdl.cli.training import evenly
from jaxdl.train import Checkpoint
from jaxdl.train.checkpoints import Store
from tests.cli.command import exit_status
from tests.systems import posix

run = functools.partial(exit_status, "train", "--devices", "1", promotion="standard")


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def tensorboard(folder):
    """The numbers that TensorBoard would show, by name and epoch."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    for path in sorted((folder / "tensorboard").iterdir()):
        raw, at = path.read_bytes(), 0
        while at < len(raw):  # length, its checksum, the event, its checksum
            size = int.from_bytes(raw[at : at + 8], "little")
            event = Event.FromString(raw[at + 12 : at + 12 + size])
            for value in event.summary.value:
                assert (value.tag, event.step) not in found
                found[value.tag, event.step] = value.simple_value
            at += 16 + size
    return found


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train") / "run"
    assert run("--epochs", 2, "--out", folder, "--seed", 3) == 0
    return folder


def test_what_a_run_leaves(trained, capsys):
    assert tomllib.loads((trained / "settings.toml").read_text())["seed"] == 3
    found = rows(trained)
    assert [row["epoch"] for row in found] == [1, 2]
    assert found[1]["loss"] < found[0]["loss"]
    assert found[1]["accuracy"] > 0.8
    assert tensorboard(trained)["accuracy", 2] == pytest.approx(found[1]["accuracy"])
    assert {path.name for path in (trained / "checkpoints").iterdir()} == {"22", "44", "history.jsonl", "lock"}


def test_it_goes_on_with_its_settings(trained, capsys):
    before = rows(trained)
    assert run("--out", trained) == 2
    assert "holds a run: --resume continues it, --out chooses another folder" in capsys.readouterr().err
    assert run("--resume", f"--out={trained}", "--epochs", 3) == 0
    assert rows(trained)[:2] == before
    assert [row["epoch"] for row in rows(trained)] == [1, 2, 3]
    assert {epoch for _, epoch in tensorboard(trained)} == {1, 2, 3}
    out = capsys.readouterr().out
    assert "resumes at epoch 3 of 3, after 44 steps" in out
    assert "26,122 parameters" in out
    assert "programs were compiled" in out
    assert "after the second epoch" not in out
    assert run("--resume", "--out", trained, "--batch", 32) == 2
    assert "holds another run: its batch is 64, here it is 32" in capsys.readouterr().err


def test_it_says_where_it_goes_on(tmp_path, capsys):
    assert run("--epochs", 2, "--every", 15, "--out", tmp_path) == 0
    assert "resumes" not in capsys.readouterr().out
    shutil.rmtree(tmp_path / "checkpoints" / "44")
    assert run("--resume", "--out", tmp_path) == 0
    assert "\nresumes in epoch 2 of 2, after 30 steps\n" in capsys.readouterr().out


def test_a_finished_run_is_shown_without_compilation(trained, capsys, monkeypatch):
    monkeypatch.setattr("jaxdl.cli.training.fit", None)
    epochs = len(rows(trained))
    assert run("--resume", "--out", trained, "--epochs", epochs) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"26,122 parameters; all {epochs} epochs are trained, nothing was left to do" in printed
    assert "compiled" not in printed


def test_the_table_has_epochs_at_even_distances():
    assert evenly(1, 6) == [0]
    assert evenly(6, 6) == [0, 1, 2, 3, 4, 5]
    assert evenly(100, 6) == [0, 20, 40, 59, 79, 99]


def test_a_run_resumed_within_a_second_keeps_the_earlier_epochs(tmp_path, monkeypatch):
    monkeypatch.setattr("tensorboardX.event_file_writer.time", types.SimpleNamespace(time=lambda: 1e9))
    for epoch in (1, 2):
        with metrics.Metrics(tmp_path) as written:
            written.begin()
            written({"epoch": epoch, "loss": 1.0})
            written.board.close()
    assert {epoch for _, epoch in tensorboard(tmp_path)} == {1, 2}


def test_by_hand_and_automatic_are_the_same_run(trained, tmp_path):
    assert run("--epochs", 2, "--out", tmp_path / "run", "--seed", 3, "--automatic", "--quiet") == 0
    for hand, auto in zip(rows(trained), rows(tmp_path / "run"), strict=False):
        assert auto["loss"] == pytest.approx(hand["loss"], rel=1e-4)


def test_settings_in_a_file(tmp_path, capsys):
    path = tmp_path / "settings.toml"
    path.write_text(
        'model = "autoencoder"\nepochs = 1\nbfloat16 = true\nseed = "5"\noptimizer = "momentum"\nrate = 0.1\n'
    )
    assert run("--config", path, "--out", tmp_path / "run", "--accumulate", 2, "--checkpointed") == 0
    saved = tomllib.loads((tmp_path / "run" / "settings.toml").read_text())
    assert saved["seed"] == 5  # a number, however it was written
    assert (saved["model"], saved["epochs"], saved["accumulate"], saved["bfloat16"]) == ("autoencoder", 1, 2, True)


BAD = {
    "modle = 3": "there is no setting 'modle'; did you mean model. There are model",
    'batch = "x"': '.*: batch = "x" is not a value of --batch',
    "bfloat16 = 1": ".*: bfloat16 = 1 is not a value of --bfloat16",
    'optimizer = "adm"': "optimizer = .adm. is not a value of --optimizer",
    "batch = [": "is not TOML: ",
}


@pytest.mark.parametrize("text", BAD)
def test_a_file_that_is_not_right(text, tmp_path, capsys):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    assert run("--config", path, "--out", tmp_path / "run") == 2
    assert re.search(BAD[text], capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


MISTAKES = {
    "there is no model 'lenet6'; did you mean lenet5": ["--model", "lenet6"],
    "unknown data set 'mnst'": ["--data", "mnst", "--folder", "/nowhere"],
    "a data set's name is like mnist, glue/sst2 or mnist:3.0.1, got '../x'": ["--data", "../x"],
    "there is no run in .* to resume": ["--resume"],
    "--platform gpu: there is none here": ["--platform", "gpu"],
    "a batch of 64 cannot be cut into 3 equal parts": ["--accumulate", "3"],
    "--batch must be 1 or more, got 0": ["--batch", "0"],
    "batch and accumulate 1 or more, got 1, 64 and 0": ["--accumulate", "0"],
    "--read is for data sets of TensorFlow Datasets": ["--read"],
    "the settings in .* cannot be read": ["--config", "/nowhere.toml"],
}


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes(message, tmp_path, capsys):
    assert run("--out", tmp_path / "run", "--epochs", "1", *MISTAKES[message]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_more_devices_than_there_are(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["train", "--devices", "99", "--out", str(tmp_path / "run")])
    assert "--devices 99: there are 4 here" in capsys.readouterr().err


def test_a_loss_that_is_not_finite(tmp_path, capsys):
    settings = "--rate", "1e20", "--optimizer", "sgd", "--schedule", "constant", "--epochs", "1", "--out", tmp_path
    assert run(*settings) == 1
    assert "the step is saved in" in capsys.readouterr().err


def test_on_four_devices(trained, tmp_path):
    with jax.numpy_dtype_promotion("standard"), pytest.raises(SystemExit) as stop:
        main(["train", "--epochs", "2", "--out", str(tmp_path / "run"), "--seed", "3", "--shard", "--quiet"])
    assert stop.value.code == 0
    assert rows(tmp_path / "run")[1]["loss"] == pytest.approx(rows(trained)[1]["loss"], rel=1e-4)


@posix
def test_ctrl_c_saves_and_says_where(tmp_path):
    command = [sys.executable, "-m", "jaxdl", "train", "--out", str(tmp_path / "run"), "--epochs", "100000"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    metrics = tmp_path / "run" / "metrics.jsonl"
    timeout = threading.Timer(120, process.kill)
    timeout.start()
    while not metrics.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    timeout.cancel()
    assert process.returncode == 130, said
    assert f"to resume: jaxdl train --resume --out {tmp_path / 'run'}" in said
    step = int(said.partition("stopped at step ")[2].split()[0])
    assert (tmp_path / "run" / "checkpoints" / str(step)).is_dir()


def test_a_set_that_is_read_as_it_is_needed(stripes_folder, tmp_path):
    settings = "--data", "stripes", "--folder", stripes_folder, "--batch", 8, "--epochs", 2, "--quiet"
    assert run(*settings, "--read", "--out", tmp_path / "read") == 0
    assert run(*settings, "--out", tmp_path / "in memory") == 0
    for read, whole in zip(rows(tmp_path / "read"), rows(tmp_path / "in memory"), strict=True):
        assert read["loss"] == pytest.approx(whole["loss"], rel=1e-4)


# --- what a run is ---------------------------------------------------------------------------------------------------


def copied(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copy")


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


REFUSED = {
    "batch": "32", "seed": "4", "model": "autoencoder", "rate": "0.1", "schedule": "constant", "optimizer": "sgd",
    "accumulate": "2", "bfloat16": None, "automatic": None, "checkpointed": None,
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_resume_changes_nothing(name, trained, tmp_path, capsys):
    folder = copied(trained, tmp_path)
    before = files(folder)
    value = [] if REFUSED[name] is None else [REFUSED[name]]
    assert run("--resume", "--out", folder, "--epochs", 3, f"--{name}", *value) == 2
    assert f"holds another run: its {name} is " in capsys.readouterr().err
    assert files(folder) == before


def test_a_second_run_in_the_folder_changes_nothing(trained, tmp_path, capsys):
    folder = copied(trained, tmp_path)
    with Store(Checkpoint(folder / "checkpoints")):
        before = files(folder)
        assert run("--resume", "--out", folder, "--epochs", 3) == 2
        assert "another run is writing to" in capsys.readouterr().err
        assert files(folder) == before


def test_settings_that_are_damaged_are_no_defaults(trained, tmp_path, capsys):
    folder = copied(trained, tmp_path)
    settings = folder / "settings.toml"
    whole = settings.read_text()
    settings.write_text("")
    assert run("--resume", "--out", folder, "--epochs", 3) == 2
    assert "settings.toml is not as the run wrote it: model, data, " in capsys.readouterr().err
    settings.write_text(whole.replace("seed = 3", "seed = 4"))
    assert run("--resume", "--out", folder, "--epochs", 3) == 2
    assert "holds another run: its seed is 3, here it is 4" in capsys.readouterr().err
    settings.write_text(whole)
    assert run("--resume", "--out", folder, "--epochs", 3, "--quiet") == 0


BEYOND = {
    "rate = nan": "--rate must be a finite number, got nan",
    "rate = inf": "--rate must be a finite number, got inf",
    f"seed = {2**70}": "--seed is out of range",
    f"seed = {'9' * 5000}": "",
    "model = 1979-05-27": "model = a date is not a value of --model",
    'data = "a\\u0007b"': "has characters that cannot be printed|a data set's name is like",
    f"model = {'[' * 3000}{']' * 3000}": "",
    "folder = {a = 1}": 'folder = {"a": 1} is not a value of --folder',
}


@pytest.mark.parametrize("text", BEYOND, ids=[text[:20] for text in BEYOND])
def test_settings_beyond_bounds(text, tmp_path, capsys):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    assert run("--config", path, "--out", tmp_path / "run") == 2
    said = capsys.readouterr().err
    assert said.startswith("jaxdl: ")
    assert len(said.splitlines()) == 1
    assert re.search(BEYOND[text], said)
    assert not (tmp_path / "run").exists()


def test_a_batch_larger_than_the_set_learns(tmp_path):
    assert run("--batch", 5000, "--epochs", 20, "--out", tmp_path / "run", "--quiet") == 0
    found = rows(tmp_path / "run")
    assert found[-1]["loss"] < 0.7 * found[0]["loss"]


@pytest.mark.parametrize("damage", ["cut", "foreign", "gone"])
def test_metrics_are_made_whole_again(damage, trained, tmp_path):
    folder = copied(trained, tmp_path)
    before, path = rows(folder)[:2], folder / "metrics.jsonl"  # the run has two epochs or, after another test, three
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-20] + (b"" if damage == "cut" else b"\xff\xfe no line\n"))
    assert run("--resume", "--out", folder, "--epochs", 4, "--quiet") == 0
    assert rows(folder)[:2] == before
    assert [row["epoch"] for row in rows(folder)] == [1, 2, 3, 4]


def test_metrics_are_written_once_a_resume(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(metrics, "write_whole", lambda path, content: written.append(len(content)))
    with metrics.Metrics(tmp_path) as writer:
        writer.begin()
        for epoch in range(1, 200):
            writer({"epoch": epoch, "loss": 1.0})
    assert len(written) == 1


@pytest.mark.parametrize("count", [0, -2])
def test_numbers_of_processes_that_cannot_be(count, tmp_path, capsys):
    assert run("--processes", count, "--out", tmp_path / "run") == 2
    assert f"--processes must be 1 or more, got {count}" in capsys.readouterr().err
