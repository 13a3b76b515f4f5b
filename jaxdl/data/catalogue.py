"""What is prepared in a folder of data sets, and a few examples of it to look at."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxdl.data.embedded_digits import digits
from jaxdl.data.feature_checks import check_features
from jaxdl.data.tfds import data_folder, decoded, example, image_features, prepared


class Prepared(NamedTuple):
    """A data set that can be read: splits with their numbers of examples, features as text, bytes on disk."""

    name: str
    version: str
    splits: dict[str, int]
    features: dict[str, str]
    size: int


class Samples(NamedTuple):
    """Images, (height, width, channels) each, and the names of their labels; `of` is how many there are in all."""

    name: str
    images: list[np.ndarray]
    labels: list[str]
    of: int


def samples(name: str, count: int, folder: str | None = None) -> Samples:
    """So many examples of the split train, or of the first one there is, the same by chance each time.

    Raises as `from_tfds` does.
    """
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


def _some(n, count):
    return np.random.default_rng(0).permutation(n)[:count].tolist()


def listed(folder: str | None = None) -> tuple[list[Prepared], dict[str, str]]:
    """The embedded digits and all that TensorFlow Datasets has prepared in `folder`, and why others cannot be read."""
    there, broken = [_digits()], {}
    root = Path(data_folder(folder))
    found = {path.parent for depth in ("*/*", "*/*/*") for path in root.glob(f"{depth}/dataset_info.json")}
    for path in sorted(found):
        name = path.parent.relative_to(root).as_posix()
        try:
            there.append(_prepared(name, path))
        except Exception as error:  # what a damaged file raises is the reader's own
            broken[f"{name} {path.name}"] = (
                f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            )
    return there, broken


def _digits():
    data = digits()
    splits = {"train": len(data.train_x), "test": len(data.test_x)}
    size = sum(a.nbytes for a in data if hasattr(a, "nbytes"))
    return Prepared(data.name, "embedded", splits, {"image": _by(data.shape), "label": f"{data.classes} classes"}, size)


def _prepared(name, path):
    import tensorflow_datasets as tfds  # slow to import, and only needed here

    check_features(path)
    info = tfds.builder_from_directory(str(path)).info
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
