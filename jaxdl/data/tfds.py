"""Any data set of TensorFlow Datasets by its name, read without TensorFlow."""

import difflib
import functools
import hashlib
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from jaxdl.data.dataset import Dataset
from jaxdl.data.feature_checks import check_features, folders_of

NAME = r"\w+(/[\w-][\w.-]*)?(:[\d.*]+)?"  # no path: nothing is read or written outside of the data folder


def from_tfds(name: str, folder: str | None = None) -> Dataset:
    """Reads the splits train and test (or validation) of an image classification data set into memory.

    The features `image` and `label` are taken. Where the data set is not in `folder` (by default
    TFDS_DATA_DIR, else ~/tensorflow_datasets) it is downloaded and prepared there, if that is possible.

    Raises ValueError for an unknown name or one without images and labels, RuntimeError where the data
    cannot be fetched or prepared, OSError where files on disk are not whole.
    """
    builder = prepared(name, folder)
    held_out = next((s for s in ("test", "validation") if s in builder.info.splits), None)
    if "train" not in builder.info.splits or held_out is None:
        raise ValueError(f"{name} has no train and test split, only {', '.join(builder.info.splits)}")
    classes = image_features(builder, name)["label"].num_classes
    train, test = _arrays(builder, name, "train"), _arrays(builder, name, held_out)
    return Dataset(name, *train, *test, classes)


def image_features(builder, name: str):
    """The features of a data set of labelled images; ValueError where it is none."""
    features = builder.info.features
    if not {"image", "label"} <= set(features):
        raise ValueError(f"{name} has no features image and label, but {', '.join(features)}")
    if not hasattr(features["label"], "num_classes"):
        raise ValueError(f"{name}: the feature label must be one of some classes (ClassLabel), got {features['label']}")
    return features


def data_folder(folder: str | None = None) -> str:
    """Where data sets are: `folder`, else TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return os.path.expanduser(folder or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")


def prepare(name: str, folder: str | None = None) -> str:
    """Brings a data set to disk, unless it is there, so that it can be read without TensorFlow; where its files are.

    Raises as `from_tfds` does, and ValueError where it is there in a format that cannot be read by row.
    """
    builder = prepared(name, folder)
    for split in builder.info.splits:
        source_of(builder, name, split)
    return str(builder.data_path)


def prepared(name: str, folder: str | None):
    """The builder of a data set that is on disk, or is brought there."""
    if not re.fullmatch(NAME, name):
        raise ValueError(
            f"a data set's name is like mnist, glue/sst2 or mnist:3.0.1, got {name!r}; where it is, `folder` says"
        )
    import tensorflow_datasets as tfds  # slow to import, and only needed here

    folder = data_folder(folder)
    for files in folders_of(name, Path(folder)):
        check_features(files)
    try:
        builder = tfds.builder(name, data_dir=folder, try_gcs=False, file_format="array_record")
    except tfds.core.registered.DatasetNotFoundError:
        raise ValueError(_unknown(name, tfds.list_builders(with_community_datasets=False), folder)) from None
    except ValueError:  # the files on disk have another format, which is fine where it can be read
        builder = tfds.builder(name, data_dir=folder, try_gcs=False)
    _prepare(builder, name, folder)
    return builder


def _prepare(builder, name, folder):
    if os.path.exists(os.path.join(str(builder.data_path), "dataset_info.json")):
        return
    try:
        builder.download_and_prepare()
    except Exception as error:
        raise RuntimeError(
            f"the data set {name} is not in {folder}, and could not be downloaded and prepared there: "
            f"{_reason(error)}:\n  pip install 'jaxdl[prepare]' && jaxdl data prepare {name} --folder {folder}"
        ) from error


def _reason(error):
    if "No module named 'tensorflow'" in str(error):
        return "it needs TensorFlow, which is not installed. To prepare it (reading it needs no TensorFlow)"
    return (
        f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}\nPrepare it where there is a "
        f"network, and copy the folder here (preparing some sets needs TensorFlow, reading them does not)"
    )


def examples(builder, name: str, split: str) -> list[dict]:
    """A split's examples."""
    source, where = source_of(builder, name, split), f"{name}: split {split}"
    return [example(source, i, where) for i in range(len(source))]


def source_of(builder, name: str, split: str, method=None):
    """A split as a sequence of examples, counted, as some formats lose rows silently; OSError where they have."""
    try:
        source = builder.as_data_source(split=split, **({"deserialize_method": method} if method else {}))
    except NotImplementedError as error:
        raise ValueError(
            f"{name} is on disk in the format {builder.info.file_format.value}, which is not read by row: "
            f"prepare it in another folder, by jaxdl data prepare {name} --folder FOLDER"
        ) from error
    declared, there = builder.info.splits[split].num_examples, _count(builder, split, source)
    if there != declared:
        raise OSError(
            f"{name}: split {split} declares {declared} examples, its files hold {there}: "
            f"delete it, and prepare it again by jaxdl data prepare {name}"
        )
    return source


def _count(builder, split, source) -> int:
    """How many examples a split's files hold, whatever is said of them beside."""
    described = builder.info.splits[split]
    if builder.info.file_format.value != "array_record" or len(source) != described.num_examples:
        return len(source)
    from array_record.python.array_record_module import ArrayRecordReader

    try:
        readers = [ArrayRecordReader(str(path)) for path in described.filepaths]
        return sum(reader.num_records() for reader in readers)
    except Exception:  # a file that is not whole, which reading an example says better
        return len(source)


def files_digest(builder, split: str) -> str:
    """Of the contents of a split's files, and of what says how they are read."""
    split_files = [str(path) for path in builder.info.splits[split].filepaths]
    about = [str(path) for path in sorted(Path(str(builder.data_path)).glob("*.json"))]
    with ThreadPoolExecutor() as pool:  # hashing lets go of the interpreter's lock
        digests = [*pool.map(_digest_of, [*about, *split_files])]
    return hashlib.sha256("".join(digests).encode()).hexdigest()[:16]


def _digest_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def example(source, i: int, where: str) -> dict:
    """An example of a source; OSError where it cannot be read."""
    try:
        return source[i]
    except Exception as error:  # what a reader raises on a broken file is its own
        raise OSError(f"{where}: example {i} of {len(source)} cannot be read: {error}") from error


def decoded(builder, name: str, split: str) -> Sequence:
    """A split as a sequence of (image, label) that also gives many at once, by `__getitems__`; counted."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    is_plain = builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD
    if is_plain and isinstance(features["image"], tfds.features.Image):
        method = tfds.decode.DeserializeMethod.RAW_BYTES
        return _Decoded(source_of(builder, name, split, method), functools.partial(_of_bytes, features["image"]))
    return _Decoded(source_of(builder, name, split), lambda example: (example["image"], example["label"]))


class _Decoded:
    """What a source holds, decoded one by one."""

    def __init__(self, source, decode):
        self.source, self.decode = source, decode

    def __len__(self):
        return len(self.source)

    def __getitem__(self, i):
        return self.decode(self.source[i])

    def __getitems__(self, rows):
        return [self.decode(record) for record in self.source.__getitems__(rows)]


def _of_bytes(image, record):
    """Image and label of a serialised tf.train.Example: all else in it is left alone, which takes half of the time."""
    from tensorflow_datasets.proto import tf_example_pb2

    stored = tf_example_pb2.Example.FromString(record).features.feature
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
    hint = f"did you mean {' or '.join(close)}?" if close else "its names are listed by tfds.list_builders()."
    return f"unknown data set {name!r}: neither 'digits', nor a name of TensorFlow Datasets, nor in {folder}; {hint}"
