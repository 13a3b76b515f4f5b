"""`jaxdl data`: what is there, preparing, pictures; messages."""

import functools
import io
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxdl import data
from tests.cli.command import exit_status

pytestmark = pytest.mark.usefixtures("wide_terminal")
status = functools.partial(exit_status, "data")


def test_sets_are_listed(stripes_folder, capsys):
    assert status("list", "--folder", stripes_folder) == 0
    printed = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "digits embedded image: 8 × 8 × 1, label: 10 classes train 1,437, test 360 467 kB" in printed
    (stripes,) = (line for line in printed if line.startswith("stripes 1.0.0 "))
    assert "image: 8 × 6 × 1" in stripes
    assert "label: 3 classes" in stripes
    size = sum(file.stat().st_size for file in (stripes_folder / "stripes" / "1.0.0").iterdir())
    assert stripes.endswith(f"train 30, test 9 {size / 1000:.0f} kB")


def test_a_folder_without_sets(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert status("list") == 0
    printed = capsys.readouterr().out
    assert f"Data sets in {tmp_path}" in printed
    assert "jaxdl data prepare NAME" in printed


def test_a_damaged_set_is_named_after_the_others(stripes_folder, tmp_path, capsys):
    shutil.copytree(stripes_folder, tmp_path / "sets")
    shutil.copytree(stripes_folder / "stripes", tmp_path / "sets" / "broken")
    (tmp_path / "sets" / "broken" / "1.0.0" / "dataset_info.json").write_text('{"name": ')
    assert status("list", "--folder", tmp_path / "sets") == 2
    printed = capsys.readouterr()
    assert "stripes" in printed.out
    assert "broken 1.0.0 cannot be read: " in printed.err


@pytest.mark.parametrize("name", ["stripes", "digits"])
def test_a_picture_of_samples(name, stripes_folder, tmp_path, capsys):
    pictures = tmp_path / "a.png", tmp_path / "b.png"
    for picture in pictures:
        assert status("show", name, "--folder", stripes_folder, "--out", picture, "--count", 3) == 0
        assert f"Written: {picture}" in capsys.readouterr().out
    first, second = (picture.read_bytes() for picture in pictures)
    assert first == second
    assert Image.open(io.BytesIO(first)).width > 1000


def test_there_are_no_more_samples_than_examples(stripes_folder):
    shown = data.samples("stripes", 500, str(stripes_folder))
    assert len(shown.images) == len(shown.labels) == shown.of == 30
    assert len(data.samples("digits", 7).images) == 7


def test_samples_are_labelled_by_name(stripes_folder):
    from tests.tfds_sets import stripe

    shown = data.samples("stripes", 30, str(stripes_folder))
    numbers = [image.max() - 200 for image in shown.images]
    assert sorted(numbers) == list(range(30))
    assert numbers != sorted(numbers)
    for number, image, label in zip(numbers, shown.images, shown.labels, strict=True):
        assert np.array_equal(image, stripe(number))
        assert label == str(number % 3)


def test_preparing(stripes_folder, capsys):
    assert status("prepare", "stripes", "--folder", stripes_folder) == 0
    assert f"stripes is in {stripes_folder / 'stripes' / '1.0.0'}" in capsys.readouterr().out
    assert status("prepare", "digits") == 0
    assert "nothing to prepare" in capsys.readouterr().out


NO_TENSORFLOW = "Failed to encode example:\n[[200]]\nNo module named 'tensorflow'"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError(NO_TENSORFLOW), "it needs TensorFlow, which is not installed"),
        (
            ConnectionError("no route"),
            "ConnectionError: no route Prepare it where there is a network, and copy the folder",
        ),
    ],
)
def test_what_cannot_be_prepared_says_what_to_do(error, said, tmp_path, capsys, monkeypatch):
    import tensorflow_datasets as tfds

    def fails(self, **kwargs):
        assert self.info.file_format == tfds.core.FileFormat.ARRAY_RECORD
        raise error

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fails)
    monkeypatch.setattr("jaxdl.data.tfds.unreachable", lambda urls: "")
    assert status("prepare", "mnist", "--folder", tmp_path) == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert f"mnist is not in {tmp_path}, and could not be downloaded and prepared there: {said}" in printed
    assert f"pip install tensorflow-cpu && jaxdl data prepare mnist --folder {tmp_path}" in printed


def test_a_set_in_a_format_that_is_not_read_by_row(stripes_folder, tmp_path, capsys):
    shutil.copytree(stripes_folder, tmp_path / "sets")
    described = tmp_path / "sets" / "stripes" / "1.0.0" / "dataset_info.json"
    described.write_text(described.read_text().replace('"array_record"', '"tfrecord"'))
    for command in ("prepare", "show"):
        assert status(command, "stripes", "--folder", tmp_path / "sets") == 2
        assert "stripes is on disk in the format tfrecord, which cannot be read by row" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "--folder", "missing"], "there is no folder missing"),
        (["show", "digits", "--out", "digits.jpg"], "--out must end in .png, got digits.jpg"),
        (["show", "digits", "--count", "0"], "--count must be from 1 to 400, got 0"),
        (["show", "digits", "--out", "missing/d.png"], "No such file or directory"),
        (["show", "../digits"], "a data set's name is like mnist"),
        (["prepare", "/etc/passwd"], "a data set's name is like mnist"),
        (["prepare", "mnst"], "unknown data set 'mnst'"),
        ([], "prepare"),  # the words around the commands are those of tyro
        (["shwo"], "list, prepare, show"),
    ],
)
def test_mistakes_are_exit_status_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert status(*arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not list(tmp_path.iterdir())


def test_help_names_the_commands(capsys):
    assert status("--help") == 0
    printed = capsys.readouterr().out
    assert all(command in printed for command in ("list", "prepare", "show", "pip install tensorflow-cpu"))
