"""Data sets of TensorFlow Datasets by name, read without TensorFlow."""

import difflib
import functools
import hashlib
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from jaxdl.data.dataset import Dataset
from jaxdl.data.feature_checks import check_features, folders_of
from jaxdl.data.network import few_retries, unreachable
from jaxdl.optional_packages import install_hint

NAME = r"\w+(/[\w-][\w.-]*)?(:[\d.*]+)?"  # no path, so nothing outside of the data folder is read or written


def from_tfds(name: str, folder: str | None = None) -> Dataset:
    """Loads an image classification data set of TensorFlow Datasets into memory.

    It needs the features `image` and `label`, and the splits train and test (or validation). A data set that is not in
    the folder is downloaded and prepared there, if possible.

    Args:
        name: A name such as mnist, glue/sst2 or mnist:3.0.1.
        folder: Where data sets are; see `data_folder`.

    Returns:
        The data set, its images in [0, 1].

    Raises:
        ValueError: The name is unknown, or the data set has no labelled images.
        RuntimeError: The data set cannot be downloaded or prepared.
        OSError: Files on disk are damaged or incomplete.

    Examples:
        >>> from jaxdl import data
        >>> mnist = data.from_tfds("mnist")  # doctest: +SKIP
    """
    builder = prepared(name, folder)
    held_out = next((s for s in ("test", "validation") if s in builder.info.splits), None)
    if "train" not in builder.info.splits or held_out is None:
        raise ValueError(f"{name} has no train and test split, only {', '.join(builder.info.splits)}")
    classes = image_features(builder, name)["label"].num_classes
    train, test = _arrays(builder, name, "train"), _arrays(builder, name, held_out)
    return Dataset(name, *train, *test, classes)


def image_features(builder: Any, name: str) -> Any:
    """The features of a data set; raises ValueError if it has no labelled images."""
    features = builder.info.features
    if not {"image", "label"} <= set(features):
        raise ValueError(f"{name} has no features image and label, but {', '.join(features)}")
    if not hasattr(features["label"], "num_classes"):
        raise ValueError(f"{name}: the feature label must be a ClassLabel, got {features['label']}")
    return features


def data_folder(folder: str | None = None) -> str:
    """The folder of data sets.

    Args:
        folder: A folder; by default that in the environment variable TFDS_DATA_DIR, else ~/tensorflow_datasets.

    Returns:
        Its path.

    Examples:
        >>> from jaxdl import data
        >>> data.data_folder("sets")
        'sets'
    """
    return os.path.expanduser(folder or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")


def prepare(name: str, folder: str | None = None) -> str:
    """Downloads and prepares a data set, unless it is on disk, so that it can be read without TensorFlow.

    Args:
        name: A name of TensorFlow Datasets.
        folder: Where data sets are; see `data_folder`.

    Returns:
        The folder of its files.

    Raises:
        ValueError: The name is unknown, or the data set is on disk in a format that cannot be read by row.
        RuntimeError: The data set cannot be downloaded or prepared.
        OSError: Files on disk are damaged or incomplete.

    Examples:
        >>> from jaxdl import data
        >>> folder = data.prepare("cifar10")  # doctest: +SKIP
    """
    builder = prepared(name, folder)
    for split in builder.info.splits:
        source_of(builder, name, split)
    return str(builder.data_path)


def prepared(name: str, folder: str | None) -> Any:
    """The builder of a data set, downloaded and prepared if it is not on disk."""
    if not re.fullmatch(NAME, name):
        raise ValueError(
            f"a data set's name is like mnist, glue/sst2 or mnist:3.0.1, got {name!r}; pass its location as `folder`"
        )
    with install_hint("tensorflow-datasets", "jaxdl.data"):
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core import registered

    folder = data_folder(folder)
    for files in folders_of(name, Path(folder)):
        check_features(files)
    try:
        builder = tfds.builder(name, data_dir=folder, try_gcs=False, file_format="array_record")
    except registered.DatasetNotFoundError:
        raise ValueError(_unknown(name, tfds.list_builders(with_community_datasets=False), folder)) from None
    except ValueError:  # the files on disk have another format, which may be readable too
        builder = tfds.builder(name, data_dir=folder, try_gcs=False)
    _prepare(builder, name, folder)
    return builder


def _prepare(builder, name, folder):
    if os.path.exists(os.path.join(str(builder.data_path), "dataset_info.json")):
        return
    server = unreachable(builder.url_infos or ())
    if server:
        raise RuntimeError(
            f"the data set {name} is not in {folder}, and {server} cannot be reached to download it: prepare it where "
            f"there is a network, with jaxdl data prepare {name}, and copy the folder here"
        )
    try:
        with few_retries():
            builder.download_and_prepare()
    except Exception as error:
        raise RuntimeError(
            f"the data set {name} is not in {folder}, and could not be downloaded and prepared there: "
            f"{_reason(error)}:\n  pip install tensorflow-cpu && jaxdl data prepare {name} --folder {folder}"
        ) from error


def _reason(error):
    if "No module named 'tensorflow'" in str(error):
        return "it needs TensorFlow, which is not installed. To prepare it (TensorFlow is not needed to read it)"
    return (
        f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}\nPrepare it where there is a "
        f"network, and copy the folder here (some data sets need TensorFlow to be prepared, none to be read)"
    )


def examples(builder: Any, name: str, split: str) -> list[dict[str, Any]]:
    """All examples of a split."""
    source, where = source_of(builder, name, split), f"{name}: split {split}"
    return [example(source, i, where) for i in range(len(source))]


def source_of(builder: Any, name: str, split: str, method: Any = None) -> Any:
    """A split as a sequence of examples; raises OSError if there are fewer than declared, as some formats lose rows."""
    try:
        source = builder.as_data_source(split=split, **({"deserialize_method": method} if method else {}))
    except NotImplementedError as error:
        raise ValueError(
            f"{name} is on disk in the format {builder.info.file_format.value}, which cannot be read by row: "
            f"prepare it in another folder with jaxdl data prepare {name} --folder FOLDER"
        ) from error
    declared, found = builder.info.splits[split].num_examples, _count(builder, split, source)
    if found != declared:
        raise OSError(
            f"{name}: split {split} declares {declared} examples, its files have {found}: "
            f"delete it, and prepare it again with jaxdl data prepare {name}"
        )
    return source


def _count(builder, split, source) -> int:
    """How many examples a split's files have, whatever is declared."""
    described = builder.info.splits[split]
    if builder.info.file_format.value != "array_record" or len(source) != described.num_examples:
        return len(source)
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        readers = [ArrayRecordReader(str(path)) for path in described.filepaths]
        return sum(reader.num_records() for reader in readers)
    except Exception:  # a damaged file, for which reading an example has a clearer error
        return len(source)


def files_digest(builder: Any, split: str) -> str:
    """A digest of a split's files, and of the files that describe them."""
    split_files = [str(path) for path in builder.info.splits[split].filepaths]
    about = [str(path) for path in sorted(Path(str(builder.data_path)).glob("*.json"))]
    with ThreadPoolExecutor() as pool:  # hashing releases the interpreter's lock
        digests = [*pool.map(_digest_of, [*about, *split_files])]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]


def _digest_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def example(source: Any, i: int, where: str) -> Any:
    """An example of a source; raises OSError if it is damaged."""
    try:
        return source[i]
    except Exception as error:  # readers raise errors of any kind
        raise OSError(f"{where}: example {i} of {len(source)} cannot be read: {error}") from error


def decoded(builder: Any, name: str, split: str) -> "_Decoded":
    """A split as a sequence of (image, label) with `__getitems__` for many at once."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    is_plain = builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD
    if is_plain and isinstance(features["image"], tfds.features.Image):
        method = tfds.decode.DeserializeMethod.RAW_BYTES
        return _Decoded(source_of(builder, name, split, method), functools.partial(_of_bytes, features["image"]))
    return _Decoded(source_of(builder, name, split), lambda example: (example["image"], example["label"]))


class _Decoded:
    """The examples of a source, decoded one by one."""

    def __init__(self, source: Any, decode: Callable[..., Any]):
        self.source: Any = source
        self.decode: Callable[..., Any] = decode

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, i: int) -> tuple[np.ndarray, int]:
        return self.decode(self.source[i])

    def __getitems__(self, rows: list[int]) -> list[tuple[np.ndarray, int]]:
        return [self.decode(record) for record in self.source.__getitems__(rows)]


def _of_bytes(image, record):
    """Image and label of a serialised tf.train.Example, without its other features, in half of the time."""
    from tensorflow_datasets.proto import tf_example_pb2

    proto: Any = tf_example_pb2
    stored = proto.Example.FromString(record).features.feature
    return image.decode_example_np(stored["image"].bytes_list.value[0]), stored["label"].int64_list.value[0]


def _arrays(builder, name, split):
    """A split's images, scaled to [0, 1], and labels."""
    rows = examples(builder, name, split)
    shapes = {row["image"].shape for row in rows}
    if len(shapes) != 1:
        raise ValueError(f"{name}: images must all have one shape, split {split} has {len(shapes)} different ones")
    images = np.stack([row["image"] for row in rows])
    if images.dtype == np.uint8:
        images = images.astype(np.float32) / 255
    return images.astype(np.float32), np.array([row["label"] for row in rows], np.int32)


def _unknown(name, known, folder):
    close = difflib.get_close_matches(name, [*known, "digits"], n=3)
    hint = f"did you mean {' or '.join(close)}?" if close else "tfds.list_builders() lists the names."
    return f"unknown data set {name!r}: neither 'digits', nor a name of TensorFlow Datasets, nor in {folder}; {hint}"
