"""Texts with labels, any data set of TensorFlow Datasets that has them, read without TensorFlow."""

from typing import NamedTuple

import numpy as np

from jaxdl.data.tfds import examples, prepared

NAMES = ("text", "sentence")  # of the feature that holds a text


class Texts(NamedTuple):
    """Texts, lists of strings, and labels, (n,) int32 of 0 … classes − 1, split."""

    name: str
    train_x: list[str]
    train_y: np.ndarray
    test_x: list[str]
    test_y: np.ndarray
    classes: int


def load_texts(name: str, folder: str | None = None) -> Texts:
    """Reads the splits train and test of a data set of labelled texts, such as imdb_reviews or glue/sst2.

    The features `text` or `sentence`, and `label`, are taken. Held out are test, or validation where there is no test
    or its labels are not given away (glue's are −1). Where the data set is not in `folder` (by default TFDS_DATA_DIR,
    else ~/tensorflow_datasets) it is downloaded and prepared there, if that is possible.

    Raises ValueError for an unknown name or one without labelled texts, RuntimeError where the data cannot be fetched
    or prepared, OSError where files on disk are not whole.
    """
    builder = prepared(name, folder)
    features, splits = builder.info.features, builder.info.splits
    feature = next((f for f in NAMES if f in features), None)
    if feature is None or "label" not in features:
        raise ValueError(f"{name} has no features {' or '.join(NAMES)}, and label, but {', '.join(features)}")
    if "train" not in splits:
        raise ValueError(f"{name} has no split train, only {', '.join(splits)}")
    train = _labelled(builder, name, "train", feature)
    for split in ("test", "validation"):
        if split in splits and (test := _labelled(builder, name, split, feature))[1].min() >= 0:
            return Texts(name, *train, *test, features["label"].num_classes)
    raise ValueError(f"{name} has no split test or validation with labels, only {', '.join(splits)}")


def _labelled(builder, name, split, feature):
    """A split's texts and labels."""
    rows = examples(builder, name, split)
    return [row[feature].decode() for row in rows], np.array([row["label"] for row in rows], np.int32)
