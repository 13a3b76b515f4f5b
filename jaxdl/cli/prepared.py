"""Of the settings of a run: its device, its data, its model."""

import dataclasses

import jax
import numpy as np
from jax.sharding import Mesh

from jaxdl import nn
from jaxdl.cli.settings import Settings
from jaxdl.cli.setups import Setup
from jaxdl.data import Dataset, check_labels, load, records, resized
from jaxdl.strip import automatic
from jaxdl.train import in_bfloat16


def choose_platform(name: str | None) -> None:
    """ValueError where it is not there: nothing falls back to the CPU when something else was asked for."""
    if name == "cpu":
        jax.config.update("jax_platforms", "cpu")
    elif name and jax.default_backend() != name:
        raise ValueError(
            f"--platform {name}: there is none here, or this JAX cannot use it (it has {jax.default_backend()}); "
            f"pip install 'jaxdl[cuda]' or 'jaxdl[tpu]' brings what it needs"
        )


def mesh_of(count: int | None) -> Mesh | None:
    """So many devices, by default all; None where it is one. ValueError where there are not as many."""
    found = jax.devices()
    if count is not None and not 1 <= count <= len(found):
        raise ValueError(f"--devices {count}: there are {len(found)} here")
    if count is not None and jax.process_count() > 1:
        raise ValueError(f"--devices {count}: several processes use all of their devices")
    chosen = found[:count]
    return Mesh(np.array(chosen), ("devices",)) if len(chosen) > 1 else None


def data_of(chosen: Setup, settings: Settings):
    """What is trained on, what is held out, and the data set (where it is read, just one of its training images)."""
    if settings.read:
        return _read(chosen, settings)
    known = load(settings.data, size=chosen.size, folder=settings.folder)
    for labels in (known.train_y, known.test_y):
        check_labels(labels, known.classes)
    pair = lambda x, y: (x, chosen.target(x, y))
    return pair(known.train_x, known.train_y), pair(known.test_x, known.test_y), known


def _read(chosen, settings):
    if settings.data == "digits":
        raise ValueError("--read is for data sets of TensorFlow Datasets; the digits are in memory")
    sized = lambda x: x if chosen.size in (None, x.shape[1]) else resized(x / np.float32(255), chosen.size)
    pair = lambda x, y: (sized(x), chosen.target(sized(x), y))
    train, held_out = (records(settings.data, split, settings.folder) for split in ("train", "test"))
    test = pair(*held_out.read(np.arange(len(held_out))))
    x, y = train.read(np.arange(1))
    known = Dataset(settings.data, sized(x), y, *test, train.classes)
    return dataclasses.replace(train, read=lambda rows: pair(*train.read(rows))), test, known


def model_of(chosen: Setup, settings: Settings, data: Dataset) -> tuple[nn.Layer, object]:
    """The model and its loss, with the rules that are wanted."""
    model, loss = chosen.model(data), chosen.loss
    if settings.automatic:
        model, loss = nn.with_function(model, automatic), automatic(loss)
    if settings.checkpointed:
        model = nn.checkpointed(model)
    return in_bfloat16(model) if settings.bfloat16 else model, loss
