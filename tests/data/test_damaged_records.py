"""Damaged, incomplete and inconsistent files of data sets are clear errors."""

import json

import jax
import numpy as np
import optax
import pytest

from jaxdl import data, nn, ops, train
from tests.tfds_sets import shown_number, stripe, write

SEED = (3, 4)


def changed(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new))


def test_a_corrupt_record_is_named(stripes_copy, stripes_folder):
    folder, files = stripes_copy
    (shard,) = files.glob("*train.array_record*")
    whole = shard.read_bytes()
    images = data.records("stripes", folder=str(stripes_folder)).read(np.arange(30))[0]
    for at, example in ((1940, 11), (3783, 21)):
        shard.write_bytes(whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :])
        broken = data.records("stripes", folder=folder)  # both ends are well
        others = np.delete(np.arange(30), example)
        message = f"stripes: split train: example {example} of 30 cannot be read: Corrupted"
        with pytest.raises(OSError, match=message):
            broken.read(np.arange(30))
        batches = data.Batches(broken, 5, SEED)
        with pytest.raises(OSError, match=message):
            list(batches.ahead(0, 6))  # from its threads
        assert np.array_equal(broken.read(others)[0], images[others])
        with pytest.raises(OSError, match=message):
            train.fit(nn.mlp(3), ops.softmax_cross_entropy_with_integer_labels, broken, optax.sgd(0.1), 1,
                      jax.random.key(0), batch=5, quiet=True)  # fmt: skip


@pytest.mark.parametrize("length", [0, 10, 4000, 65_536, -100])
def test_a_set_that_was_cut_short_says_so_before_training(stripes_copy, length):
    folder, files = stripes_copy
    (shard,) = files.glob("*train.array_record*")
    shard.write_bytes(shard.read_bytes()[:length])
    with pytest.raises(
        OSError, match="split train declares 30 examples, its files have 0: delete it, and prepare it again"
    ):
        data.records("stripes", folder=folder)


def test_an_image_that_is_none(stripes_copy, monkeypatch):
    from tensorflow_datasets.core.features import Image

    def decoded(self, content, whole=Image.decode_example_np):
        image = whole(self, content)
        if image.max() == 213:
            raise ValueError("broken PNG")
        return image

    read = data.records("stripes", folder=stripes_copy[0]).read
    row = int(np.argmax(shown_number(read(np.arange(30))[0]) == 13))
    monkeypatch.setattr(Image, "decode_example_np", decoded)
    with pytest.raises(OSError, match=f"example {row} of 30 cannot be read: broken PNG"):
        data.records("stripes", folder=stripes_copy[0]).read(np.arange(30))


@pytest.mark.parametrize("declared", [31, 25])
def test_the_number_of_examples_is_compared_with_the_declared_one(stripes_copy, declared):
    folder, files = stripes_copy
    described = json.loads((files / "dataset_info.json").read_text())
    for split in described["splits"]:
        split["shardLengths"] = [str(declared)]
    (files / "dataset_info.json").write_text(json.dumps(described))
    with pytest.raises(OSError, match=f"split train declares {declared} examples, its files have 30: delete it"):
        data.records("stripes", folder=folder)


def test_rows_that_a_format_drops_are_noticed(stripes_folder, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds.core.DatasetBuilder, "as_data_source", lambda self, **kwargs: range(10))
    with pytest.raises(OSError, match="stripes: split train declares 30 examples, its files have 10"):
        data.records("stripes", folder=str(stripes_folder))


def test_labels_outside_the_classes(stripes_copy):
    folder, files = stripes_copy
    changed(files / "features.json", b'"numClasses": "3"', b'"numClasses": "2"')
    wrong = data.records("stripes", folder=folder)
    with pytest.raises(ValueError, match=r"stripes: split train: example \d+ has label 2, outside 0 … 1"):
        wrong.read(np.arange(30))
    with pytest.raises(ValueError, match=r"example \d+ has label 2, outside 0 … 1"):
        list(data.Batches(wrong, 5, SEED).ahead(0, 6))


def test_labels_that_are_no_classes(stripes_copy):
    folder, files = stripes_copy
    features = json.loads((files / "features.json").read_text())
    label = features["featuresDict"]["features"]["label"]
    label.pop("classLabel")
    label |= {
        "pythonClassName": "tensorflow_datasets.core.features.scalar.Scalar",
        "tensor": {"shape": {}, "dtype": "int64", "encoding": "none"},
    }
    (files / "features.json").write_text(json.dumps(features))
    with pytest.raises(ValueError, match=r"stripes: the feature label must be a ClassLabel"):
        data.records("stripes", folder=folder)


def test_images_of_different_sizes(tmp_path):
    examples = [(stripe(i)[: 4 + 4 * (i > 0)], 0) for i in range(6)]
    write(tmp_path, "Uneven", (None, None, 1), 1, {"train": examples})
    uneven = data.records("uneven", folder=str(tmp_path))
    message = r"uneven: split train: images must have one shape, example 0 has \(\d, 6, 1\) and example \d \(\d, 6, 1\)"
    with pytest.raises(ValueError, match=message):
        uneven.read(np.arange(6))


def test_digests_tell_data_sets_apart(stripes, stripes_folder):
    again, test = (data.records("stripes", split, str(stripes_folder)) for split in ("train", "test"))
    assert stripes.digest() == again.digest() != test.digest()


def test_digests_are_of_the_contents(stripes_copy, stripes):
    folder, files = stripes_copy
    assert data.records("stripes", folder=folder).digest() == stripes.digest()
    (shard,) = files.glob("*train.array_record*")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:1940] + bytes([whole[1940] ^ 16]) + whole[1941:])
    assert data.records("stripes", folder=folder).digest() != stripes.digest()
