"""Data read by row: batches as a function of (seed, step), parts, reading ahead, and what may be wrong in the files."""

import json
import shutil

import jax
import numpy as np
import optax
import pytest

from jaxdl import data, nn, ops, train
from tests.tfds_sets import stripe, write

SEED = (3, 4)


@pytest.fixture(scope="module")
def stripes(stripes_folder):
    return data.records("stripes", folder=str(stripes_folder))


def number(x):
    """Which stripes these are, from how bright they are."""
    return x.max((1, 2, 3)).astype(int) - 200


@pytest.mark.parametrize("memory", [0, 500, 2**30])  # bytes: no example is kept, some are, or all
def test_examples_are_as_they_were_written(stripes_folder, memory):
    read = data.records("stripes", folder=str(stripes_folder), memory=memory).read
    for rows in (np.arange(30), np.array([7, 29, 7, 0]), np.array([12, 3]), np.arange(30)[::-1]):
        x, y = read(rows)
        assert x.dtype == np.uint8
        assert y.dtype == np.int32
        assert np.array_equal(x, [stripe(i) for i in number(x)])
        assert np.array_equal(y, number(x) % 3)
        assert np.array_equal(x, [read(rows[i : i + 1])[0][0] for i in range(len(rows))])
    assert sorted(number(read(np.arange(30))[0])) == list(range(30))


def test_images_stored_as_tensors(tmp_path):
    write(tmp_path, "Tensors", (8, 6, 1), 3, {"train": [(stripe(i), i % 3) for i in range(9)]}, as_tensors=True)
    x, y = data.records("tensors", folder=str(tmp_path)).read(np.arange(9))
    assert x.dtype == np.uint8
    assert np.array_equal(x, [stripe(i) for i in number(x)])
    assert np.array_equal(y, number(x) % 3)


SET = 30 * (8 * 6 + 4)  # bytes


@pytest.mark.parametrize(("memory", "reads"), [(SET, 30), (SET // 2, 45), (0, 60)])
def test_what_fits_is_read_once(stripes_folder, monkeypatch, memory, reads):
    from tensorflow_datasets.core.data_sources.base import BaseDataSource

    asked, read = [], BaseDataSource.__getitems__
    monkeypatch.setattr(BaseDataSource, "__getitems__", lambda self, rows: asked.extend(rows) or read(self, rows))
    batches = data.Batches(data.records("stripes", folder=str(stripes_folder), memory=memory), 5, SEED)
    asked.clear()
    for step in range(2 * batches.epoch_steps):
        batches[step]
    assert len(asked) == reads


def test_a_batch_is_a_function_of_seed_and_step(stripes):
    batches, again = data.Batches(stripes, 7, SEED), data.Batches(stripes, 7, SEED)
    for step in (9, 0, 5, 123_456):
        x, y = batches[step]
        assert x.shape == (7, 8, 6, 1)
        assert y.shape == (7,)
        assert np.array_equal(x, again[step][0])
    first, another = (np.concatenate([b[i][0] for i in range(4)]) for b in (again, data.Batches(stripes, 7, (3, 5))))
    assert not np.array_equal(first, another)


@pytest.mark.parametrize("batch", [6, 7])
def test_every_example_once_an_epoch(stripes, batch):
    batches = data.Batches(stripes, batch, SEED)
    steps = 30 // batch
    assert batches.epoch_steps == steps
    epochs = [[n for i in range(steps) for n in number(batches[e * steps + i][0])] for e in range(3)]
    for seen in epochs:
        assert len(set(seen)) == len(seen) == steps * batch
    assert epochs[0] != epochs[1] != epochs[2]


@pytest.mark.parametrize("n", [2, 3])
def test_the_parts_of_processes_are_one_batch(stripes, n):
    one = data.Batches(stripes, 12, SEED)
    parts = [data.Batches(stripes, 12, SEED, (i, n)) for i in range(n)]
    for step in range(5):
        for whole, *shares in zip(one[step], *(part[step] for part in parts), strict=True):
            assert np.array_equal(whole, np.concatenate(shares))
            assert len({len(share) for share in shares}) == 1


def test_in_memory_and_read_data_give_the_same_batches(stripes):
    x, y = stripes.read(np.arange(30))
    memory = data.Batches(data.in_memory({"a": x}, y), 8, SEED)
    read = data.Batches(stripes, 8, SEED)
    for step in range(7):
        assert np.array_equal(memory[step][0]["a"], read[step][0])
        assert np.array_equal(memory[step][1], read[step][1])


@pytest.mark.parametrize(("start", "stop"), [(0, 12), (3, 4), (7, 9), (5, 5)])
def test_reading_ahead_from_any_step(stripes, start, stop):
    batches = data.Batches(stripes, 7, SEED, (0, 1))
    ahead = list(batches.ahead(start, stop))
    assert len(ahead) == stop - start
    for step, (x, y) in zip(range(start, stop), ahead, strict=True):
        assert np.array_equal(x, batches[step][0])
        assert np.array_equal(y, batches[step][1])


def test_batches_that_cannot_be(stripes):
    with pytest.raises(ValueError, match="a batch of 31 is more than the 30 examples of stripes"):
        data.Batches(stripes, 31, SEED)
    with pytest.raises(ValueError, match=r"a batch of 8 cannot be cut into 3 equal parts: make it a multiple of 3"):
        data.Batches(stripes, 8, SEED, (0, 3))
    with pytest.raises(ValueError, match="x and y must have the same number of examples, got 5 and 4"):
        data.in_memory(np.zeros((5, 2)), np.zeros(4))


def test_fit_on_what_is_read_equals_fit_on_arrays(stripes, key):
    images, labels = stripes.read(np.arange(30))
    in_unit = images.astype(np.float32) / 255
    loss, model = ops.softmax_cross_entropy_with_integer_labels, nn.mlp(16, 3)
    runs = [
        train.fit(model, loss, d, optax.sgd(0.5), 20, key, batch=6, quiet=True)
        for d in (stripes, (images, labels), (in_unit, labels))
    ]
    for other in runs[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), runs[0].params, other.params)
    first, *_, last = (row["loss"] for row in runs[0].history)
    assert last < 0.95 * first


# --- what may be wrong ---------------------------------------------------------------------------------------


@pytest.fixture
def copy(stripes_folder, tmp_path):
    """The set again, to be broken: (folder, where its files are)."""
    shutil.copytree(stripes_folder, tmp_path / "copy")
    return str(tmp_path / "copy"), tmp_path / "copy" / "stripes" / "1.0.0"


def changed(path, old, new):
    path.write_bytes(path.read_bytes().replace(old, new))


def test_a_corrupt_record_is_named(copy, stripes_folder):
    folder, files = copy
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
def test_a_set_that_was_cut_short_says_so_before_training(copy, length):
    folder, files = copy
    (shard,) = files.glob("*train.array_record*")
    shard.write_bytes(shard.read_bytes()[:length])
    with pytest.raises(
        OSError, match="split train declares 30 examples, its files have 0: delete it, and prepare it again"
    ):
        data.records("stripes", folder=folder)


def test_an_image_that_is_none(copy, monkeypatch):
    from tensorflow_datasets.core.features import Image

    def decoded(self, content, whole=Image.decode_example_np):
        image = whole(self, content)
        if image.max() == 213:
            raise ValueError("broken PNG")
        return image

    read = data.records("stripes", folder=copy[0]).read
    row = int(np.argmax(number(read(np.arange(30))[0]) == 13))
    monkeypatch.setattr(Image, "decode_example_np", decoded)
    with pytest.raises(OSError, match=f"example {row} of 30 cannot be read: broken PNG"):
        data.records("stripes", folder=copy[0]).read(np.arange(30))


@pytest.mark.parametrize("declared", [31, 25])
def test_the_number_of_examples_is_compared_with_the_declared_one(copy, declared):
    folder, files = copy
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


def test_labels_outside_the_classes(copy):
    folder, files = copy
    changed(files / "features.json", b'"numClasses": "3"', b'"numClasses": "2"')
    wrong = data.records("stripes", folder=folder)
    with pytest.raises(ValueError, match=r"stripes: split train: example \d+ has label 2, outside 0 … 1"):
        wrong.read(np.arange(30))
    with pytest.raises(ValueError, match=r"example \d+ has label 2, outside 0 … 1"):
        list(data.Batches(wrong, 5, SEED).ahead(0, 6))


def test_labels_that_are_no_classes(copy):
    folder, files = copy
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


@pytest.mark.parametrize(
    "name", ["../stripes", "/etc/passwd", "a/../../b", "stripes/..", "..", "", "stripes/../stripes"]
)
def test_names_do_not_leave_the_folder(stripes_folder, name, tmp_path):
    before = sorted(stripes_folder.parent.rglob("*"))
    for load in (data.records, data.load, data.load_texts):
        with pytest.raises(ValueError, match=r"a data set's name is like mnist, glue/sst2 or mnist:3\.0\.1, got"):
            load(name, folder=str(stripes_folder))
    assert sorted(stripes_folder.parent.rglob("*")) == before


def test_unknown_split(stripes_folder):
    with pytest.raises(ValueError, match="stripes has no split valid, only train, test"):
        data.records("stripes", "valid", str(stripes_folder))
    assert len(data.records("stripes", "test", str(stripes_folder))) == 9


def test_digests_tell_data_sets_apart(stripes, stripes_folder):
    again, test = (data.records("stripes", split, str(stripes_folder)) for split in ("train", "test"))
    assert stripes.digest() == again.digest() != test.digest()


def test_digests_are_of_the_contents(copy, stripes):
    folder, files = copy
    assert data.records("stripes", folder=folder).digest() == stripes.digest()
    (shard,) = files.glob("*train.array_record*")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:1940] + bytes([whole[1940] ^ 16]) + whole[1941:])
    assert data.records("stripes", folder=folder).digest() != stripes.digest()


# --- what a folder names is not run ----------------------------------------------------------------------------

IN_JSON = json.dumps({"feature": {"type": "evil.Feature", "content": {}}})
HOSTILE = {
    "in features.json": ("features.json", {"pythonClassName": "evil.Feature", "jsonFeature": {"json": "{}"}}),
    "in a dictionary": (
        "features.json",
        {
            "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
            "featuresDict": {"features": {"image": {"python_class_name": "evil.Feature"}}},
        },
    ),
    "as old files do": ("features.json", {"type": "evil.Feature", "content": {}}),
    "in a text within": (
        "features.json",
        {
            "pythonClassName": "tensorflow_datasets.core.features.sequence_feature.Sequence",
            "jsonFeature": {"json": IN_JSON},
        },
    ),
    "in dataset_info.json": ("dataset_info.json", {"features": {"pythonClassName": "evil.Feature"}}),
}  # fmt: skip


@pytest.mark.parametrize("where", HOSTILE)
def test_a_feature_of_somebody_elses_module_is_not_imported(copy, where, monkeypatch, tmp_path, capsys):
    folder, files = copy
    name, content = HOSTILE[where]
    described = json.loads((files / name).read_text()) if name == "dataset_info.json" else {}
    (files / name).write_text(json.dumps(described | content))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    refused = f"{name} names the feature evil.Feature, which is not one of tensorflow_datasets.features"
    for read in (data.load, data.records, data.prepare, lambda name, folder: data.samples(name, 3, folder)):
        with pytest.raises(ValueError, match=refused):
            read("stripes", folder=folder)
        with pytest.raises(ValueError, match=refused):
            read("Stripes", folder=folder)
    sets, broken = data.listed(folder)
    assert [s.name for s in sets] == ["digits"]
    assert refused in broken["stripes 1.0.0"]
    assert not (tmp_path / "ran").exists()
