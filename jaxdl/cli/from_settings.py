"""The devices, the data and the model that the settings of a run name."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from jaxdl import nn
from jaxdl.cli.settings import Settings
from jaxdl.cli.training_recipes import Recipe
from jaxdl.data import Dataset, check_labels, load, records, resized
from jaxdl.strip import automatic
from jaxdl.train import in_bfloat16

OPTIMIZERS: dict[str, Callable[..., optax.GradientTransformation]] = {
    "adam": optax.adam,
    "adamw": lambda rate: optax.adamw(rate, weight_decay=0.01),
    "sgd": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
}
SCHEDULES: dict[str, Callable[..., Any]] = {
    "constant": lambda rate, steps: rate,
    "cosine": optax.cosine_decay_schedule,
    "warmup-cosine": lambda rate, steps: optax.warmup_cosine_decay_schedule(0.0, rate, -(-steps // 20), steps),
}


def choose_platform(name: str | None) -> None:
    """Computes on a platform; raises ValueError where it is not available, and never falls back to the CPU."""
    if name == "cpu":
        jax.config.update("jax_platforms", "cpu")
    elif name and jax.default_backend() != name:
        raise ValueError(
            f"--platform {name}: there is none here, or this JAX cannot use it (it has {jax.default_backend()}); "
            "pip install 'jax[cuda13]' or 'jax[tpu]' brings what it needs"
        )


def mesh_of(count: int | None) -> Mesh | None:
    """A mesh of a number of devices, by default all; None for one. Raises ValueError where there are fewer."""
    found = jax.devices()
    if count is not None and not 1 <= count <= len(found):
        raise ValueError(f"--devices {count}: there are {len(found)} here")
    if count is not None and jax.process_count() > 1:
        raise ValueError(f"--devices {count}: with several processes, each uses all of its devices")
    chosen = found[:count]
    return Mesh(np.array(chosen), ("devices",)) if len(chosen) > 1 else None


def data_of(recipe: Recipe, settings: Settings) -> tuple[Any, Any, Dataset]:
    """Training examples, test examples, and the data set; with `read` that has only one training image."""
    if settings.read:
        return _read(recipe, settings)
    dataset = load(settings.data, size=recipe.size, folder=settings.folder)
    for labels in (dataset.train_y, dataset.test_y):
        check_labels(labels, dataset.classes)
    pair = lambda x, y: (x, recipe.target(x, y))
    return pair(dataset.train_x, dataset.train_y), pair(dataset.test_x, dataset.test_y), dataset


def _read(recipe, settings):
    if settings.data == "digits":
        raise ValueError("--read is for data sets of TensorFlow Datasets; the digits are in memory")
    sized = lambda x: x if recipe.size in (None, x.shape[1]) else resized(x / np.float32(255), recipe.size)
    pair = lambda x, y: (sized(x), recipe.target(sized(x), y))
    train, held_out = (records(settings.data, split, settings.folder) for split in ("train", "test"))
    test = pair(*held_out.read(np.arange(len(held_out))))
    x, y = train.read(np.arange(1))
    dataset = Dataset(settings.data, sized(x), y, *test, train.classes)  # pyright: ignore[reportArgumentType]
    return dataclasses.replace(train, read=lambda rows: pair(*train.read(rows))), test, dataset


def without_examples(name: str, shape: tuple[int, ...], classes: int) -> Dataset:
    """A data set of images of a shape that has no examples, for models that are not trained."""
    empty = np.zeros((0, *shape), np.float32)
    return Dataset(name, empty, empty, empty, empty, classes)


def model_of(recipe: Recipe, settings: Settings, data: Dataset) -> tuple[nn.Layer, Callable[..., Any]]:
    """The model and its loss, with or without hand-written rules."""
    model, loss = recipe.model(data), recipe.loss
    if settings.automatic:
        model, loss = nn.with_function(model, automatic), automatic(loss)
    if settings.checkpointed:
        model = nn.checkpointed(model)
    return in_bfloat16(model) if settings.bfloat16 else model, loss
