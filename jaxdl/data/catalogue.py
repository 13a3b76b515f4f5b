"""Which data sets are prepared in a folder, and a few examples of each."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxdl.data.embedded_digits import digits
from jaxdl.data.feature_checks import check_features
from jaxdl.data.tfds import data_folder, decoded, example, image_features, prepared
from jaxdl.optional_packages import install_hint


class Prepared(NamedTuple):
    """A data set that can be read.

    Attributes:
        name: The name with which it is loaded.
        version: Its version.
        splits: The number of examples of each split.
        features: A description of each feature, such as "28 × 28 × 1" or "10 classes".
        size: Bytes on disk.
    """

    name: str
    version: str
    splits: dict[str, int]
    features: dict[str, str]
    size: int


class Samples(NamedTuple):
    """A few examples of a data set.

    Attributes:
        name: The name of the data set.
        images: Arrays of shape (height, width, channels).
        labels: The names of their labels.
        of: How many examples the split has.
    """

    name: str
    images: list[np.ndarray]
    labels: list[str]
    of: int


def samples(name: str, count: int, folder: str | None = None) -> Samples:
    """Random examples of the split train, or of the first split; the same in each call.

    Args:
        name: "digits", or a name of TensorFlow Datasets.
        count: How many examples.
        folder: Where data sets are; see `data_folder`.

    Returns:
        The examples.

    Raises:
        ValueError: The name is unknown, the data set has no labelled images, or the count is no possible number.
        RuntimeError: The data set cannot be downloaded or prepared.
        OSError: Files on disk are damaged or incomplete.

    Examples:
        >>> from jaxdl import data
        >>> len(data.samples("digits", 4).images)
        4
    """
    if not hasattr(count, "__index__") or count < 0:
        raise ValueError(f"samples: count must be a whole number, 0 or more, got {count!r}")
    if name == "digits":
        data = digits()
        rows = _some(len(data.train_x), count)
        return Samples(name, list(data.train_x[rows]), [str(y) for y in data.train_y[rows]], len(data.train_x))
    builder = prepared(name, folder)
    label_name = image_features(builder, name)["label"].int2str
    split = "train" if "train" in builder.info.splits else next(iter(builder.info.splits))
    source, where = decoded(builder, name, split), f"{name}: split {split}"
    shown = [example(source, row, where) for row in _some(len(source), count)]
    return Samples(name, [image for image, _ in shown], [label_name(label) for _, label in shown], len(source))


def _some(n, count) -> list[int]:
    return np.random.default_rng(0).permutation(n)[:count].tolist()


def listed(folder: str | None = None) -> tuple[list[Prepared], dict[str, str]]:
    """The data sets that can be read: the embedded digits, and those of TensorFlow Datasets in a folder.

    Args:
        folder: Where data sets are; see `data_folder`.

    Returns:
        The data sets, and the reason for each one that cannot be read, by its name and version.

    Examples:
        >>> from jaxdl import data
        >>> sets, unreadable = data.listed()  # doctest: +SKIP
    """
    there, broken = [_digits()], {}
    root = Path(data_folder(folder))
    found = {path.parent for depth in ("*/*", "*/*/*") for path in root.glob(f"{depth}/dataset_info.json")}
    for path in sorted(found):
        name = path.parent.relative_to(root).as_posix()
        try:
            there.append(_prepared(name, path))
        except Exception as error:  # the readers of damaged files raise errors of any kind
            broken[f"{name} {path.name}"] = (
                f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            )
    return there, broken


def _digits():
    data = digits()
    splits = {"train": len(data.train_x), "test": len(data.test_x)}
    size = sum(a.nbytes for a in data if isinstance(a, np.ndarray))
    return Prepared(data.name, "embedded", splits, {"image": _by(data.shape), "label": f"{data.classes} classes"}, size)


def _prepared(name, path):
    with install_hint("tensorflow-datasets", "jaxdl.data"):
        import tensorflow_datasets as tfds

    check_features(path)
    info: Any = tfds.builder_from_directory(str(path)).info
    splits = {split: described.num_examples for split, described in info.splits.items()}
    features = {feature: _text(described) for feature, described in info.features.items()}
    return Prepared(name, path.name, splits, features, sum(file.stat().st_size for file in path.iterdir()))


def _text(feature):
    if hasattr(feature, "num_classes"):
        return f"{feature.num_classes} classes"
    shape = feature.shape if isinstance(feature.shape, tuple) else ()
    return _by(shape) or type(feature).__name__.lower()


def _by(shape):
    return " × ".join("?" if n is None else str(n) for n in shape)
