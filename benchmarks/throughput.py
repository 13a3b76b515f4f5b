"""Is the input pipeline ever the bottleneck? Images per second, and the part of training in which the device waits.

    python -m benchmarks.throughput [--rounds N] [--folder F]       (needs the extras `peers` and `prepare`)

The data set is generated: 100,000 images, 32 × 32 × 3, PNG, as array_record files of TensorFlow Datasets. Reading:
batches of 128 in shuffled order, by jaxdl (the first epoch decodes, later ones use decoded images), by grain's usual
pipeline and PyTorch's DataLoader on the same data source, and by tf.data as in Flax's ImageNet example, in turns in one
process; ratios of images per second are to grain's.

Training: `fit` against the same compiled steps on batches that are on the device. Idle is the part of `fit`'s time that
these steps do not take, the median over pairs of runs. Compilation is excluded on both sides.
"""

import contextlib
import dataclasses
import io
import itertools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from benchmarks.results_folder import keep
from benchmarks.training import in_turns
from jaxdl import data, nn, ops, train
from jaxdl.report import Table, ratio_text

IMAGES, BATCH, STEPS, SEED, RATE = 100_000, 128, 100, 0, 1e-3
KEY = jax.random.key(SEED)
LOSS = ops.softmax_cross_entropy_with_integer_labels
MODELS = {"MLP": lambda: nn.mlp(128, 128, 10), "small convnet": lambda: nn.small_convnet(10)}


# --- the data set -------------------------------------------------------------------------------------------------


def make_set(folder: str, file_format: str = "array_record") -> None:
    """Writes the data set made_images to the folder, unless it is there."""
    import tensorflow_datasets as tfds

    with tfds.core.registered.skip_registration():  # loaded from its files, also by other processes

        class MadeImages(tfds.core.GeneratorBasedBuilder):
            VERSION = tfds.core.Version("1.0.0")

            def _info(self):
                features = {
                    "image": tfds.features.Image(shape=(32, 32, 3), encoding_format="png"),
                    "label": tfds.features.ClassLabel(num_classes=10),
                }
                return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

            def _split_generators(self, _):
                return {"train": self._generate_examples()}

            def _generate_examples(self):
                random = np.random.default_rng(SEED)
                for i in range(IMAGES):
                    yield i, {"image": png(picture(random, i % 10)), "label": i % 10}

    with contextlib.redirect_stderr(io.StringIO()):  # progress bars
        MadeImages(data_dir=folder, file_format=file_format).download_and_prepare()


def picture(random: np.random.Generator, label: int) -> np.ndarray:
    """Coloured squares and noise, with as many bytes as photographs; the place of a bright stripe is the label."""
    image = random.integers(0, 200, (8, 8, 3), np.uint8).repeat(4, 0).repeat(4, 1)
    image += random.integers(0, 16, (32, 32, 3), np.uint8)
    image[3 * label : 3 * label + 3] += 40
    return image


def png(image: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


# --- reading -------------------------------------------------------------------------------------------------


def by_jaxdl(folder: str, memory: int) -> Callable:
    source = data.records("made_images", folder=folder, memory=memory)
    batches = data.Batches(dataclasses.replace(source, count=STEPS * BATCH), BATCH, (SEED,))
    return lambda i: batches.ahead(i * STEPS, (i + 1) * STEPS)


def by_grain(folder: str) -> Callable:
    import grain

    take = lambda example: (example["image"], example["label"])
    whole = grain.MapDataset.source(_data_source(folder))
    return lambda i: whole.shuffle(seed=i).map(take).batch(BATCH)[:STEPS].to_iter_dataset()


def by_torch(folder: str) -> Callable:
    from torch.utils.data import DataLoader, RandomSampler

    source = _data_source(folder)
    loader = DataLoader(
        source, BATCH, sampler=RandomSampler(source, num_samples=STEPS * BATCH), num_workers=os.cpu_count(),
        persistent_workers=True, multiprocessing_context="spawn",
    )  # fmt: skip
    return lambda i: loader


def by_tf_data(folder: str) -> Callable:
    """As in Flax's ImageNet example, from TFRecords: shuffled within 16 batches, decoded in parallel."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    folder = str(Path(folder) / "tfrecord")
    make_set(folder, "tfrecord")
    builder = tfds.builder("made_images", data_dir=folder)
    stored = builder.as_dataset(split="train", decoders={"image": tfds.decode.SkipDecoding()})
    decode = lambda example: (tf.io.decode_png(example["image"], channels=3), example["label"])
    shuffled = stored.repeat().shuffle(16 * BATCH, seed=SEED).map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    batches = iter(shuffled.batch(BATCH, drop_remainder=True).prefetch(10).as_numpy_iterator())
    return lambda i: itertools.islice(batches, STEPS)


def _data_source(folder):
    import tensorflow_datasets as tfds

    return tfds.data_source("made_images", split="train", data_dir=folder)


READERS = {
    "jaxdl, first epoch": lambda folder: by_jaxdl(folder, 0),
    "jaxdl, later epochs": lambda folder: by_jaxdl(folder, 2**30),
    "grain on the data source": by_grain,
    "PyTorch's DataLoader on it, a process a core": by_torch,
    "tf.data, as Flax's ImageNet example": by_tf_data,
}


def reading(folder: str, rounds: int) -> dict:
    """Images per second of each reader, and the ratio to grain's."""

    def of(batches):
        def run(i):
            read = sum(1 for _ in batches(i))
            assert read == STEPS, read

        return run

    times = in_turns({name: of(make(folder)) for name, make in READERS.items()}, rounds, seconds=600)
    grain = times["grain on the data source"]
    rate = lambda t: STEPS * BATCH / float(np.median(t))
    return {name: {"rate": rate(t), "ratio": float(np.median(grain / t))} for name, t in times.items()}


# --- training ------------------------------------------------------------------------------------------------


class Way(NamedTuple):
    """How `fit` gets its data (records or arrays), and how many epochs of `fit` and of compiled steps are timed."""

    given: data.Records | tuple
    batch: int
    epochs: int
    compiled: int

    @property
    def steps(self) -> int:
        return len(self.given if isinstance(self.given, data.Records) else self.given[0]) // self.batch


def ways(folder: str) -> dict[str, Way]:
    digits = data.load("digits")
    every, kept = (
        dataclasses.replace(data.records("made_images", folder=folder, memory=memory), count=STEPS * BATCH)
        for memory in (0, 2**30)
    )
    return {
        "images, first epoch": Way(every, BATCH, 3, 1),
        "images, later epochs": Way(kept, BATCH, 3, 1),
        "images, all on the device": Way(kept.read(np.arange(STEPS * BATCH)), BATCH, 3, 1),
        "digits": Way((digits.train_x, digits.train_y), 64, 100, 50),
    }


def fit_seconds(model: nn.Layer, way: Way) -> float:
    """The mean seconds of an epoch of `fit`, without the first."""
    run = train.fit(model, LOSS, way.given, optax.adam(RATE), way.epochs, KEY, batch=way.batch, quiet=True)
    return float(np.mean([row["seconds"] for row in run.history[1:]]))


def bare_steps(model: nn.Layer, way: Way) -> Callable:
    """An epoch of compiled steps, one by one, on batches that are on the device."""
    step = jax.jit(train.training_step(model, LOSS, optax.adam(RATE)))
    parts = [jax.device_put(part) for part in data.Batches(way.given, way.batch, (SEED,)).ahead(0, way.steps)]
    params = model.init(KEY, parts[0][0].shape[1:])
    start = params, optax.adam(RATE).init(params)

    def run():
        state, last = start, jnp.zeros(())
        for x, y in parts:
            *state, loss = step(*state, x, y, KEY)
            last.block_until_ready()
            last = loss
        last.block_until_ready()

    return run


def bare_epoch(model: nn.Layer, way: Way) -> Callable:
    """An epoch as one compiled scan, all of its arrays on the device."""
    epoch, (x, y) = train.compiled_epoch(model, LOSS, optax.adam(RATE)), jax.device_put(way.given)
    rows = jnp.asarray(data.Batches(data.in_memory(x, y), way.batch, (SEED,)).rows(0, way.steps))
    params = model.init(KEY, x.shape[1:])
    state = optax.adam(RATE).init(params)
    return lambda: epoch(params, state, x, y, rows, KEY)[2].block_until_ready()


def idle(model: nn.Layer, way: Way, rounds: int) -> dict:
    """The part of an epoch of `fit` that compiled epochs, timed before and after it, do not need."""
    bare = (bare_steps if isinstance(way.given, data.Records) else bare_epoch)(model, way)
    bare_seconds = lambda: in_turns({"": lambda i: bare()}, way.compiled, seconds=600)[""].mean()
    before, shares, epochs = bare_seconds(), [], []
    for _ in range(rounds):
        epochs.append(fit_seconds(model, way))
        after = bare_seconds()
        shares.append(1 - (before + after) / 2 / epochs[-1])
        before = after
    return {
        "idle": float(np.median(shares)),
        "quartiles": np.quantile(shares, [0.25, 0.75]).tolist(),
        "rate": way.steps * way.batch / float(np.median(epochs)),
    }


def training(folder: str, rounds: int) -> dict:
    """For each model and way to get the data: the idle part, images per second."""
    found = {}
    for name, make in MODELS.items():
        for described, way in ways(folder).items():
            found[f"{name}, {described}"] = idle(make(), way, rounds)
    return found


def table(read: dict, trained: dict) -> Table:
    percent = lambda share: f"{100 * share:.1f}%"
    rows = [(f"reading: {name}", f"{m['rate']:,.0f}", ratio_text(m["ratio"]), "") for name, m in read.items()]
    rows += [
        (
            f"training: {name}",
            f"{m['rate']:,.0f}",
            "",
            f"{percent(m['idle'])} ({' – '.join(map(percent, m['quartiles']))})",
        )
        for name, m in trained.items()
    ]
    columns = ("what", "images per second", "times grain's", "device idle (quartiles)")
    note = (
        "Idle: the part of `fit`'s time that the same compiled steps do not take with batches on the device. "
        "The device is the CPU that also reads: time for decoding counts as idle."
    )
    return Table(f"Reading {IMAGES:,} images of 32 × 32 × 3, and training on them", columns, rows, note)


def main(rounds: int = 5, folder: Path | None = None) -> None:
    """Measure, print and keep the table.

    Args:
        rounds: Turns of each reader, and pairs of runs.
        folder: The folder of the data set (225 MB, and again as TFRecords); by default a temporary one.
    """
    with contextlib.ExitStack() as stack:
        where = str(folder or stack.enter_context(tempfile.TemporaryDirectory()))
        make_set(where)
        read = reading(where, rounds)
        trained = training(where, rounds)
    keep("throughput", {"reading": read, "training": trained}, table(read, trained))


if __name__ == "__main__":
    tyro.cli(main)
