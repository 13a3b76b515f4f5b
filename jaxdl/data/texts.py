"""Labelled texts of TensorFlow Datasets, read without TensorFlow."""

from typing import NamedTuple

import numpy as np

from jaxdl.data.tfds import examples, prepared

NAMES = ("text", "sentence")  # of the feature that holds a text


class Texts(NamedTuple):
    """Texts and labels, split for training and test.

    Attributes:
        name: The name of the data set.
        train_x: The texts to train on.
        train_y: Their labels, int32 of shape (n,), 0 … classes − 1.
        test_x: The held-out texts.
        test_y: Their labels.
        classes: How many different labels there are.
    """

    name: str
    train_x: list[str]
    train_y: np.ndarray
    test_x: list[str]
    test_y: np.ndarray
    classes: int


def load_texts(name: str, folder: str | None = None) -> Texts:
    """Loads a data set of labelled texts, such as imdb_reviews or glue/sst2, into memory.

    It needs the features `text` or `sentence`, and `label`. Held out is the split test, or validation if there is no
    test or its labels are secret (−1 in glue). A data set that is not in the folder is downloaded and prepared there,
    if possible.

    Args:
        name: A name of TensorFlow Datasets.
        folder: Where data sets are; see `data_folder`.

    Returns:
        The texts and labels.

    Raises:
        ValueError: The name is unknown, or the data set has no labelled texts.
        RuntimeError: The data set cannot be downloaded or prepared.
        OSError: Files on disk are damaged or incomplete.

    Examples:
        >>> from jaxdl import data
        >>> reviews = data.load_texts("imdb_reviews")  # doctest: +SKIP
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


def _labelled(builder, name, split, feature) -> tuple[list[str], np.ndarray]:
    """A split's texts and labels."""
    rows = examples(builder, name, split)
    return [row[feature].decode() for row in rows], np.array([row["label"] for row in rows], np.int32)
