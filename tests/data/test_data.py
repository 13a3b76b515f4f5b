"""The embedded digits, and TensorFlow Datasets written to a temporary folder and read back."""

import json

import numpy as np
import pytest

from jaxdl import data
from tests.tfds_sets import stripe


def test_digits_are_whole_and_split_for_good():
    digits = data.load("digits")
    again = data.load()
    assert digits.train_x.shape == (1437, 8, 8, 1)
    assert digits.test_x.shape == (360, 8, 8, 1)
    assert digits.train_x.dtype == np.float32
    assert digits.train_x.min() == 0
    assert digits.train_x.max() == 1
    assert set(digits.train_y) == set(digits.test_y) == set(range(10)) == set(range(digits.classes))
    assert np.array_equal(digits.train_x, again.train_x)
    images = {image.tobytes() for image in np.concatenate([digits.train_x, digits.test_x])}
    assert len(images) == 1797  # no example in both splits


def test_a_description_of_the_digits(tmp_path):
    digits = data.load("digits")
    table = digits.table()
    assert table.title == "digits: 10 classes"
    assert table.rows[0] == ("train", "1,437", "8 × 8 × 1", "number", "float32", "0", "1")
    assert table.rows[1][:2] == ("test", "360")
    assert "1,437" in str(digits)
    assert "<table>" in digits._repr_html_()
    digits.save(tmp_path / "digits.json")
    described = json.loads((tmp_path / "digits.json").read_text())
    assert (described["name"], described["classes"]) == ("digits", 10)
    assert described["splits"]["test"]["labels"] == {"shape": [], "dtype": "int32", "range": [0, 9]}
    name, train_x, *_ = digits  # still a tuple
    assert name == "digits"
    assert train_x is digits.train_x


def test_digits_resized():
    digits = data.load("digits", size=28)
    assert digits.shape == (28, 28, 1)
    assert digits.test_x.shape == (360, 28, 28, 1)
    assert np.corrcoef(digits.test_x.mean((1, 2, 3)), data.load().test_x.mean((1, 2, 3)))[0, 1] > 0.99


def test_a_tfds_data_set_by_name(stripes_folder):
    stripes = data.load("stripes", folder=str(stripes_folder))
    assert stripes.train_x.shape == (30, 8, 6, 1)
    assert stripes.test_y.shape == (9,)
    assert stripes.classes == 3
    assert stripes.train_x.dtype == np.float32
    order = np.rint(stripes.train_x.max((1, 2, 3)) * 255).astype(int) - 200
    assert sorted(order) == list(range(30))
    for i, image, label in zip(order, stripes.train_x, stripes.train_y, strict=True):
        assert np.array_equal(np.rint(image * 255), stripe(i))
        assert label == i % 3
    assert data.load("stripes", folder=str(stripes_folder), size=4).shape == (4, 4, 1)


def test_lost_rows_are_noticed(stripes_folder, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(stripes_folder, copy)
    info = copy / "stripes" / "1.0.0" / "dataset_info.json"
    described = json.loads(info.read_text())
    for split in described["splits"]:
        split["shardLengths"] = [str(int(n) + 1) for n in split["shardLengths"]]
    info.write_text(json.dumps(described))
    with pytest.raises(OSError, match="stripes: split train declares 31 examples, its files have 30"):
        data.load("stripes", folder=str(copy))


def test_rows_that_a_format_drops_are_noticed(stripes_folder, monkeypatch):
    import tensorflow_datasets as tfds

    whole = tfds.core.DatasetBuilder.as_data_source
    monkeypatch.setattr(
        tfds.core.DatasetBuilder, "as_data_source", lambda self, **kwargs: list(whole(self, **kwargs))[:3]
    )
    with pytest.raises(OSError, match="stripes: split train declares 30 examples, its files have 3"):
        data.load("stripes", folder=str(stripes_folder))


def test_unknown_name_suggests_the_nearest(tmp_path):
    with pytest.raises(ValueError, match=r"unknown data set 'mnst'.*did you mean .*mnist"):
        data.load("mnst", folder=str(tmp_path))


def test_a_set_that_cannot_be_fetched_says_what_was_tried(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    def no_network(self, **kwargs):
        raise ConnectionError("no network here")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", no_network)
    monkeypatch.setattr("jaxdl.data.tfds.unreachable", lambda urls: "")
    with pytest.raises(RuntimeError) as error:
        data.load("mnist", folder=str(tmp_path))
    for part in (str(tmp_path), "ConnectionError: no network here", "where there is a network", "tensorflow-cpu"):
        assert part in str(error.value)


def test_checks_on_the_host():
    good = np.ones((3, 2), np.float32)
    data.check_inputs(good)
    data.check_labels(np.array([0, 9, 3]), 10)
    with pytest.raises(TypeError, match=r"floating point, got uint8: for images .*/ 255"):
        data.check_inputs(good.astype(np.uint8))
    with pytest.raises(ValueError, match=r"no examples: the inputs have shape \(0, 2\)"):
        data.check_inputs(good[:0])
    bad = good.copy()
    bad[1, 0] = np.nan
    with pytest.raises(ValueError, match="1 of 3 examples have NaN or infinity, the first is example 1"):
        data.check_inputs(bad)
    with pytest.raises(ValueError, match=r"2 of 3 labels are outside 0 … 9: the first is label 10 of example 1"):
        data.check_labels(np.array([0, 10, -1]), 10)
    with pytest.raises(TypeError, match="labels must be integers, got float64"):
        data.check_labels(np.array([0.0]), 10)


def test_xor_and_separated_points():
    x, y = data.xor()
    assert [int(a) ^ int(b) for a, b in x] == y.tolist()
    x, y = data.separated(300, 0.2, 0)
    angles = np.linspace(0, 2 * np.pi, 2000)
    sides = x @ np.stack([np.cos(angles), np.sin(angles)])
    assert ((2 * y - 1)[:, None] * sides).min(0).max() >= 0.199  # some plane through 0 has the margin
    assert x.shape == (300, 2)
    assert (np.linalg.norm(x, axis=1) <= 1 + 1e-6).all()
    assert set(y) == {0, 1}
    again = data.separated(300, 0.2, 0)
    assert np.array_equal(again[0], x)
    assert not (data.separated(300, 0.2, 1)[0] == x).all()
    mixed_x, mixed_y = data.separated(4000, -0.3, 1)
    assert mixed_x.shape == (4000, 2)
    assert 0.3 < mixed_y.mean() < 0.7
    with pytest.raises(ValueError, match="separated: margin must be in"):
        data.separated(5, 0.95, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 0.1, 0, 0), "dimensions must be a whole number, 1 or more, got 0"),
        ((-1, 0.1, 0), "n must be a whole number, 0 or more, got -1"),
        ((1.5, 0.1, 0), "n must be a whole number, 0 or more, got 1.5"),
        ((1, 0.1, 0, 40), "too few points of the cube are in the unit ball"),
    ],
)
def test_points_that_cannot_be_drawn(arguments, message):
    with pytest.raises(ValueError, match=f"separated: {message}"):
        data.separated(*arguments)


@pytest.mark.parametrize("number", [-1, 1.5, "2"])
def test_impossible_sizes_and_counts_are_named(number):
    with pytest.raises(ValueError, match=f"size must be a whole number, 1 or more, got {number!r}"):
        data.load("digits", size=number)
    with pytest.raises(ValueError, match=f"count must be a whole number, 0 or more, got {number!r}"):
        data.samples("digits", number)


def test_labels_of_several_numbers():
    data.check_labels(np.array([[0, 1], [2, 0]]), classes=3)
    with pytest.raises(ValueError, match=r"1 of 2 labels are outside 0 … 2: the first is label \[0 5\] of example 1"):
        data.check_labels(np.array([[0, 1], [0, 5]]), classes=3)
