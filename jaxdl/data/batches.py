"""Data sets of any size, read by row: batches are a function of (seed, step), prefetched, each process's its own."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jaxdl.data.tfds import decoded, example, files_digest, image_features, prepared

THREADS = 4  # that read and decode, each a batch
AHEAD = 4  # batches


@dataclasses.dataclass(frozen=True)
class Records:
    """Examples that are read when they are wanted.

    read(rows), of an integer array, gives (x, y): arrays or pytrees of arrays with these examples in front. `digest`
    names what they are, or is a function that does, called where a run is kept: data sets with the same digest hold the
    same examples in the same order. classes: how many labels there are, where there are any.
    """

    name: str
    count: int
    read: Callable[[np.ndarray], tuple[Any, Any]]
    digest: str | Callable[[], str]
    classes: int | None = None

    def __len__(self) -> int:
        return self.count


def in_memory(x: Any, y: Any) -> Records:
    """Pytrees of arrays with the examples in front. ValueError where there are not as many in all of them."""
    counts = list(dict.fromkeys(len(leaf) for leaf in jax.tree.leaves((x, y))))
    if len(counts) != 1:
        raise ValueError(f"x and y must have as many examples, got {' and '.join(map(str, counts))}")
    return Records("arrays", counts[0], lambda rows: jax.tree.map(lambda a: a[rows], (x, y)), "")


def records(name: str, split: str = "train", folder: str | None = None, *, memory: int = 2**30) -> Records:
    """A split of an image classification data set of TensorFlow Datasets, read from `folder` as it is needed.

    Images stay as they are stored, in uint8: (n, height, width, channels); labels are int32. Decoded examples are kept
    in up to `memory` bytes, so that later epochs find them there. See `from_tfds` for what this raises, and where the
    data come from. Reading raises OSError for an example that cannot be read, and ValueError for a label that is not
    one of the classes, or images of different sizes.
    """
    builder = prepared(name, folder)
    classes = image_features(builder, name)["label"].num_classes
    if split not in builder.info.splits:
        raise ValueError(f"{name} has no split {split}, only {', '.join(builder.info.splits)}")
    source, where = decoded(builder, name, split), f"{name}: split {split}"
    example(source, len(source) - 1, where)  # a set that was cut short says so before training
    first, _ = example(source, 0, where)
    read = _Kept(functools.partial(_read, source, where, classes, first.shape), len(source), memory)
    return Records(name, len(source), read, functools.cache(lambda: files_digest(builder, split)), classes)


def _read(source, where, classes, shape, rows):
    try:
        examples = source.__getitems__(rows.tolist())
    except Exception:  # one by one, it is told which example it was
        examples = [example(source, int(row), where) for row in rows]
    images, labels = zip(*examples, strict=True)
    unlike = next((i for i, image in enumerate(images) if image.shape != shape), None)
    if unlike is not None:
        raise ValueError(
            f"{where}: images must have one shape, example 0 has {shape} and "
            f"example {rows[unlike]} {images[unlike].shape}"
        )
    labels = np.array(labels, np.int32)
    outside = (labels < 0) | (labels >= classes)
    if outside.any():
        raise ValueError(
            f"{where}: example {rows[outside.argmax()]} has label {labels[outside.argmax()]}, outside 0 … {classes - 1}"
        )
    return np.stack(images), labels


class _Kept:
    """A `read` that keeps what it has read: the first examples, as many as go into so many bytes."""

    def __init__(self, read, count, memory):
        self.read = read
        first = read(np.arange(1))
        most = min(count, memory // sum(a.nbytes for a in first))
        self.arrays = [np.empty((most, *a.shape[1:]), a.dtype) for a in first]
        self.there = np.zeros(count, bool)

    def __call__(self, rows):
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
        self.there[missing[keeps]] = True  # last, as other threads read too
        return tuple(parts)


def order(seed: Sequence[int], epoch: int, count: int) -> np.ndarray:
    """The order in which an epoch takes the examples: a permutation, the same whenever it is asked for."""
    return np.random.default_rng([*seed, epoch]).permutation(count)


class Batches:
    """The batches of a run. Batch `step`, of 0, 1, …, is a function of (seed, step) alone: there is no state to keep.

    Each epoch goes through the examples in a new order, leaving out what does not fill a batch. part = (i, n): the i-th
    of n equal parts of every batch, for the i-th of n processes; together they have the same batches as one process.
    """

    def __init__(self, data: Records, batch: int, seed: Sequence[int], part: tuple[int, int] = (0, 1)):
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
        """The examples, (stop − start, batch), of the steps from start up to stop, all of one epoch; all parts."""
        epoch, first = divmod(start, self.epoch_steps)
        rows = self._order(epoch + 1)[first * self.batch : (first + stop - start) * self.batch]
        return rows.reshape(stop - start, self.batch)

    def __getitem__(self, step: int) -> tuple[Any, Any]:
        """This process's part of a batch: (x, y)."""
        return self.data.read(self.rows(step, step + 1)[0, self.part])

    def whole(self, step: int) -> tuple[Any, Any]:
        """A batch with the parts of all processes: (x, y)."""
        return self.data.read(self.rows(step, step + 1)[0])

    def ahead(self, start: int, stop: int) -> Iterator[tuple[Any, Any]]:
        """The batches of the steps from start up to stop, read ahead of their use by threads."""
        import grain  # slow to import, and only needed here

        options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)
        return iter(grain.MapDataset.source(_Span(self, start, stop)).to_iter_dataset(options))


class _Span:
    """Some steps of a run, for grain: a sequence."""

    def __init__(self, batches, start, stop):
        self.batches, self.start, self.stop = batches, start, stop

    def __len__(self):
        return self.stop - self.start

    def __getitem__(self, i):
        return self.batches[self.start + i]
