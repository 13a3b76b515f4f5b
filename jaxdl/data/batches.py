"""Data sets of any size, read by row. Batches are a function of (seed, step), and are read ahead by threads."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jaxdl.data.tfds import decoded, example, files_digest, image_features, prepared
from jaxdl.optional_packages import install_hint

THREADS = 4  # each reads and decodes a batch
AHEAD = 4  # batches


@dataclasses.dataclass(frozen=True)
class Records:
    """Examples that are read when they are needed.

    Attributes:
        name: The name of the data set.
        count: How many examples there are.
        read: A function of an integer array of rows that returns (x, y), arrays or pytrees of arrays with these
            examples along the first axis.
        digest: A text that identifies the data: data sets with the same digest have the same examples in the same
            order. Or a function that returns it, called if a run has checkpoints.
        classes: How many different labels there are; None without labels.
    """

    name: str
    count: int
    read: Callable[[np.ndarray], tuple[Any, Any]]
    digest: str | Callable[[], str]
    classes: int | None = None

    def __len__(self) -> int:
        return self.count


def in_memory(x: Any, y: Any) -> Records:
    """Arrays in memory as `Records`.

    Args:
        x: The inputs, a pytree of arrays with the examples along the first axis.
        y: The targets, likewise.

    Returns:
        The records.

    Raises:
        ValueError: The arrays have different numbers of examples.

    Examples:
        >>> import numpy as np
        >>> from jaxdl import data
        >>> data.in_memory(np.zeros((5, 8)), np.arange(5)).count
        5
    """
    counts = list(dict.fromkeys(len(leaf) for leaf in jax.tree.leaves((x, y))))
    if len(counts) != 1:
        raise ValueError(f"x and y must have the same number of examples, got {' and '.join(map(str, counts))}")
    return Records("arrays", counts[0], lambda rows: jax.tree.map(lambda a: a[rows], (x, y)), "")


def records(name: str, split: str = "train", folder: str | None = None, *, memory: int = 2**30) -> Records:
    """A split of an image classification data set of TensorFlow Datasets, read when needed.

    Images have the type in which they are stored, uint8, and shape (n, height, width, channels); labels are int32.
    Reading raises OSError for a damaged example, and ValueError for a label outside the classes or for images of
    different sizes.

    Args:
        name: A name of TensorFlow Datasets.
        split: The split.
        folder: Where data sets are; see `data_folder`. A data set that is not there is downloaded and prepared.
        memory: Bytes in which decoded examples are kept for later epochs.

    Returns:
        The records.

    Raises:
        ValueError: The name or the split is unknown, or the data set has no labelled images.
        RuntimeError: The data set cannot be downloaded or prepared.
        OSError: Files on disk are damaged or incomplete.

    Examples:
        >>> from jaxdl import data
        >>> records = data.records("cifar10", memory=2**31)  # doctest: +SKIP
    """
    builder = prepared(name, folder)
    classes = image_features(builder, name)["label"].num_classes
    if split not in builder.info.splits:
        raise ValueError(f"{name} has no split {split}, only {', '.join(builder.info.splits)}")
    source, where = decoded(builder, name, split), f"{name}: split {split}"
    example(source, len(source) - 1, where)  # raises before training if the files are cut off
    first, _ = example(source, 0, where)
    read = _Cached(functools.partial(_read, source, where, classes, first.shape), len(source), memory)
    return Records(name, len(source), read, functools.cache(lambda: files_digest(builder, split)), classes)


def _read(source, where, classes, shape, rows):
    try:
        examples = source.__getitems__(rows.tolist())
    except Exception:  # read one by one, the error names the example
        examples = [example(source, int(row), where) for row in rows]
    images, labels = zip(*examples, strict=True)
    other = next((i for i, image in enumerate(images) if image.shape != shape), None)
    if other is not None:
        raise ValueError(
            f"{where}: images must have one shape, example 0 has {shape} and "
            f"example {rows[other]} {images[other].shape}"
        )
    labels = np.array(labels, np.int32)
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        raise ValueError(
            f"{where}: example {rows[outside.argmax()]} has label {labels[outside.argmax()]}, outside 0 … {classes - 1}"
        )
    return np.stack(images), labels


class _Cached:
    """A `read` that keeps the first examples in memory once they are read, as many as fit into so many bytes."""

    def __init__(self, read, count, memory):
        self.read = read
        first = read(np.arange(1))
        most = min(count, memory // sum(a.nbytes for a in first))
        self.arrays = [np.empty((most, *a.shape[1:]), a.dtype) for a in first]
        self.there = np.zeros(count, bool)

    def __call__(self, rows: np.ndarray) -> Any:
        there = self.there[rows]
        if there.all():
            return tuple(a[rows] for a in self.arrays)
        missing = rows[~there]
        keeps = missing < len(self.arrays[0])
        parts = []
        for kept, new in zip(self.arrays, self.read(missing), strict=True):
            kept[missing[keeps]] = new[keeps]
            part = np.empty((len(rows), *new.shape[1:]), new.dtype)
            part[there], part[~there] = kept[rows[there]], new
            parts.append(part)
        self.there[missing[keeps]] = True  # last, for other threads that read
        return tuple(parts)


def order(seed: Sequence[int], epoch: int, count: int) -> np.ndarray:
    """The order of an epoch's examples: a permutation that depends on (seed, epoch) alone."""
    return np.random.default_rng([*seed, epoch]).permutation(count)


class Batches:
    """The batches of a run. Each is a function of (seed, step) alone, so there is no state to save.

    Each epoch goes through the examples in a new order, and drops those that do not fill a batch.

    Attributes:
        data: The records.
        batch: Examples in a batch.
        epoch_steps: Batches in an epoch.

    Examples:
        >>> import numpy as np
        >>> from jaxdl import data
        >>> batches = data.Batches(data.in_memory(np.arange(10), np.arange(10)), 4, seed=[0])
        >>> x, y = batches[0]
        >>> x.shape, batches.epoch_steps
        ((4,), 2)
    """

    data: Records
    batch: int
    seed: tuple[int, ...]
    part: slice
    epoch_steps: int

    def __init__(self, data: Records, batch: int, seed: Sequence[int], part: tuple[int, int] = (0, 1)):
        """Checks that the batches can be made.

        Args:
            data: The records.
            batch: Examples in a batch.
            seed: Integers that seed the order of the examples.
            part: (i, n) for the i-th of n processes, which has the i-th of n equal parts of every batch.

        Raises:
            ValueError: There are fewer examples than a batch has, or n does not divide the batch.
        """
        if batch > len(data):
            raise ValueError(f"a batch of {batch} is more than the {len(data)} examples of {data.name}")
        i, n = part
        if batch % n:
            raise ValueError(f"a batch of {batch} cannot be cut into {n} equal parts: make it a multiple of {n}")
        self.data, self.batch, self.seed = data, batch, tuple(seed)
        self.part = slice(i * batch // n, (i + 1) * batch // n)
        self.epoch_steps = len(data) // batch
        self._order = functools.lru_cache(2)(lambda epoch: order(self.seed, epoch, len(data)))

    def rows(self, start: int, stop: int) -> np.ndarray:
        """The rows of the steps from start up to stop, all of one epoch: integers of shape (stop − start, batch)."""
        epoch, first = divmod(start, self.epoch_steps)
        rows = self._order(epoch + 1)[first * self.batch : (first + stop - start) * self.batch]
        return rows.reshape(stop - start, self.batch)

    def __getitem__(self, step: int) -> tuple[Any, Any]:
        """This process's part (x, y) of the batch of a step."""
        return self.data.read(self.rows(step, step + 1)[0, self.part])

    def whole(self, step: int) -> tuple[Any, Any]:
        """The batch (x, y) of a step, with the parts of all processes."""
        return self.data.read(self.rows(step, step + 1)[0])

    def ahead(self, start: int, stop: int) -> Iterator[tuple[Any, Any]]:
        """Iterates over this process's batches of the steps from start up to stop, which threads read ahead."""
        with install_hint("grain", "data.Batches.ahead"):
            import grain

        options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)
        return iter(grain.MapDataset.source(_BatchSequence(self, start, stop)).to_iter_dataset(options))


class _BatchSequence:
    """A sequence of batches, for grain."""

    def __init__(self, batches: "Batches", start: int, stop: int):
        self.batches, self.start, self.stop = batches, start, stop

    def __len__(self):
        return self.stop - self.start

    def __getitem__(self, index: int):
        return self.batches[self.start + index]
