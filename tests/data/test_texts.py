"""Labelled texts, written to a temporary folder as TensorFlow Datasets does, and read back."""

import json
import shutil

import numpy as np
import pytest

from jaxdl.data.texts import load_texts

TRAIN, HELD_OUT = 20, 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Data sets as imdb_reviews, as glue/sst2 and without any labels."""
    import tensorflow_datasets as tfds

    class Words(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        FEATURE = "text"
        SPLITS = {"train": TRAIN, "test": HELD_OUT, "unsupervised": 3}  # noqa: RUF012
        HIDDEN = ("unsupervised",)  # splits with label −1

        def _info(self):
            features = {
                self.FEATURE: tfds.features.Text(),
                "label": tfds.features.ClassLabel(names=["negative", "positive"]),
            }
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, _):
            return {name: self._generate_examples(name, n) for name, n in self.SPLITS.items()}

        def _generate_examples(self, split, n):
            for i in range(n):
                yield i, {self.FEATURE: text(split, i), "label": -1 if split in self.HIDDEN else i % 2}

    class Sentences(Words):
        FEATURE = "sentence"
        SPLITS = {"train": TRAIN, "validation": HELD_OUT, "test": 5}  # noqa: RUF012
        HIDDEN = ("test",)

    class Secrets(Words):
        HIDDEN = ("test", "unsupervised")

    class Lines(Words):
        FEATURE = "line"

    path = tmp_path_factory.mktemp("tfds")
    for builder in (Words, Sentences, Secrets, Lines):
        builder(data_dir=str(path), file_format="array_record").download_and_prepare()
    return path


def text(split, i):
    return f"{split} {i}: naïve – «{'not ' * (i % 3)}good»"


@pytest.mark.parametrize(("name", "held_out"), [("words", "test"), ("sentences", "validation")])
def test_texts_and_labels_by_name(folder, name, held_out):
    read = load_texts(name, str(folder))
    assert (read.name, read.classes) == (name, 2)
    for texts, labels, split, n in (
        (read.train_x, read.train_y, "train", TRAIN),
        (read.test_x, read.test_y, held_out, HELD_OUT),
    ):
        assert labels.dtype == np.int32
        assert {(t, int(y)) for t, y in zip(texts, labels, strict=True)} == {(text(split, i), i % 2) for i in range(n)}
        assert len(texts) == n


def test_the_folder_may_come_from_the_environment(folder, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    assert len(load_texts("words").train_x) == TRAIN


def test_what_has_no_labelled_texts(folder):
    with pytest.raises(ValueError, match=r"secrets has no split test or validation with labels, only .*test"):
        load_texts("secrets", str(folder))
    with pytest.raises(ValueError, match=r"lines has no features text or sentence, and label, but .*line"):
        load_texts("lines", str(folder))


def test_lost_rows_are_noticed(folder, tmp_path, monkeypatch):
    shutil.copytree(folder / "words", tmp_path / "words")
    info = tmp_path / "words" / "1.0.0" / "dataset_info.json"
    described = json.loads(info.read_text())
    for split in described["splits"]:
        split["shardLengths"] = [str(int(n) + 1) for n in split["shardLengths"]]
    info.write_text(json.dumps(described))
    with pytest.raises(OSError, match=f"words: split train declares {TRAIN + 1} examples, its files have {TRAIN}"):
        load_texts("words", str(tmp_path))

    import tensorflow_datasets as tfds

    whole = tfds.core.DatasetBuilder.as_data_source
    monkeypatch.setattr(
        tfds.core.DatasetBuilder, "as_data_source", lambda self, **kwargs: list(whole(self, **kwargs))[:3]
    )
    with pytest.raises(OSError, match=f"words: split train declares {TRAIN} examples, its files have 3"):
        load_texts("words", str(folder))


def test_unknown_name_suggests_the_nearest(tmp_path):
    with pytest.raises(ValueError, match=r"unknown data set 'imdb_review'.*did you mean .*imdb_reviews"):
        load_texts("imdb_review", str(tmp_path))
