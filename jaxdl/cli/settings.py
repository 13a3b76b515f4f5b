"""The settings of `jaxdl train`: flags, or a TOML file with the same names."""

import contextlib
import dataclasses
import io
import json
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxdl.cli.usage_errors import BadUsage, no_such
from jaxdl.report import error_text

Whole = Annotated[int | None, tyro.conf.arg(metavar="N")]
Optimizer = Literal["adam", "adamw", "sgd", "momentum"]
Schedule = Literal["cosine", "warmup-cosine", "constant"]


@dataclass(frozen=True)
class Settings:
    """The settings of a run."""

    model: Annotated[str, tyro.conf.arg(metavar="MODEL")] = "mlp"
    """mlp, convnet, autoencoder, lenet5, nin, vit, alexnet or vit-b16."""
    data: Annotated[str, tyro.conf.arg(metavar="NAME")] = "digits"
    """digits (comes with jaxdl) or a name of TensorFlow Datasets with images and labels."""
    folder: Annotated[str | None, tyro.conf.arg(metavar="FOLDER")] = None
    """Folder of data sets; by default TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    read: bool = False
    """Read the training images from disk when they are needed, for sets that do not fit in memory."""
    automatic: bool = False
    """Without the hand-written rules: with the derivatives that JAX derives."""
    tune: bool = False
    """Measure first, for about half a minute, which derivatives are the fastest here, and use those."""
    optimizer: Optimizer = "adam"
    """momentum is sgd with momentum 0.9; adamw has a weight decay of 0.01."""
    rate: Annotated[float | None, tyro.conf.arg(metavar="RATE")] = None
    """The learning rate; by default the model's."""
    schedule: Schedule = "cosine"
    """Schedule of the learning rate; the warmup takes the first twentieth of the steps."""
    epochs: Whole = None
    """Number of epochs; by default the model's."""
    batch: Annotated[int, tyro.conf.arg(metavar="N")] = 64
    """Examples in a batch."""
    accumulate: Annotated[int, tyro.conf.arg(metavar="N")] = 1
    """Number of parts in which a batch is computed, one after the other."""
    bfloat16: bool = False
    """Compute in bfloat16; parameters stay in float32."""
    checkpointed: bool = False
    """Keep only the inputs of the model's layers for the backward pass, and recompute the rest."""
    skip_nonfinite: bool = False
    """Skip steps whose loss or gradients are not finite, instead of stopping."""
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0
    """Seed of parameters, order of examples and dropout."""
    platform: Literal["cpu", "gpu", "tpu"] | None = None
    """Where to compute; by default the best that is available. An error where it is not available."""
    devices: Whole = None
    """Number of devices that share each batch; by default all."""
    shard: bool = False
    """Shard the parameters over the devices too."""
    every: Whole = None
    """Steps between checkpoints; by default one epoch."""
    keep: Annotated[int, tyro.conf.arg(metavar="N")] = 3
    """Number of checkpoints to keep, besides the best."""


MOST = 80  # characters of a value in an error
NAMES = {field.name: field for field in dataclasses.fields(Settings)}


def settings_in(path: Path, whole: bool = False) -> Settings:
    """The settings in a TOML file; raises BadUsage where it is not correct.

    Args:
        path: The file.
        whole: Whether it must have all settings, as the file that a run writes.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadUsage(f"the settings in {path} cannot be read: {error}") from error
    except (ValueError, RecursionError) as error:  # not TOML, or numbers and nesting out of range
        raise BadUsage(f"{path} is not TOML: {error_text(error)}") from error
    missing = [name for name in NAMES if name not in found and NAMES[name].default is not None] if whole else []
    if missing:
        raise BadUsage(
            f"{path} is not as the run wrote it: {', '.join(missing)} missing; restore the lines it had, as the "
            f"checkpoints in {path.parent} are of a run with those settings"
        )
    for name in found:
        if name not in NAMES:
            raise BadUsage(f"{path}: {no_such('setting', name, NAMES)}")
    return Settings(**{name: _parsed(path, name, value) for name, value in found.items()})


def _parsed(path, name, value):
    """A value, parsed as that of the flag."""
    if not isinstance(value, str | int | float):  # a date, a list, a table
        raise BadUsage(f"{path}: {name} = {_shown(value)} is not a value of --{_flag(name)}")
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # the message below is shorter
            return getattr(tyro.cli(Settings, args=_as_flag(name, value), config=CONFIG), name)
    except (SystemExit, ValueError):  # the latter of whole numbers of thousands of digits
        raise BadUsage(f"{path}: {name} = {_shown(value)} is not a value of --{_flag(name)}") from None


def check(settings: Settings) -> None:
    """Raises BadUsage for numbers that no run can have."""
    for name, value in dataclasses.asdict(settings).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise BadUsage(f"--{_flag(name)} must be a finite number, got {value}")
        if isinstance(value, str) and not value.isprintable():
            raise BadUsage(f"--{_flag(name)} has characters that cannot be printed: {value!r}")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise BadUsage(f"--{_flag(name)} is out of range")


def _shown(value) -> str:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) < MOST else f"{text[:MOST]}…"


CONFIG = (tyro.conf.FlagCreatePairsOff,)


def _as_flag(name, value):
    if isinstance(NAMES[name].default, bool):
        if not isinstance(value, bool):
            raise SystemExit(2)
        return [f"--{_flag(name)}"] * value
    return [f"--{_flag(name)}", str(value)]


def _flag(name):
    return name.replace("_", "-")


def as_toml(settings: Settings) -> str:
    """The content of a TOML file with the settings, without those that are None."""
    found = {k: v for k, v in dataclasses.asdict(settings).items() if v is not None}
    return "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in found.items())
