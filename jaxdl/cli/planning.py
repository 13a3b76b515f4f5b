"""`jaxdl plan`: what a step of training needs on each device, before anything is allocated."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.cli.from_settings import OPTIMIZERS, model_of
from jaxdl.cli.settings import Settings
from jaxdl.cli.training_recipes import recipe
from jaxdl.cli.usage_errors import BadUsage, usage
from jaxdl.data import Dataset
from jaxdl.report import terminal
from jaxdl.train import CHIPS, fully_sharded, plan, replicated


def show_plan(settings: Settings, chip: str, shape: tuple[int, ...] | None, classes: int) -> int:
    """Prints the plan of a model's training step, and returns the exit status."""
    chosen = usage(recipe, settings.model)
    batch, accumulate = settings.batch, settings.accumulate
    devices = 1 if settings.devices is None else settings.devices
    if batch < 1 or devices < 1 or accumulate < 1:
        raise BadUsage(f"--batch, --devices and --accumulate must be 1 or more, got {batch}, {devices}, {accumulate}")
    size = chosen.size or 8
    shape = shape or (size, size, 1 if size <= 28 else 3)
    empty = np.zeros((0, *shape), np.float32)
    network, loss = model_of(chosen, settings, Dataset(settings.model, empty, empty, empty, empty, classes))
    x, y = jax.ShapeDtypeStruct((batch, *shape), jnp.float32), jax.ShapeDtypeStruct((batch,), jnp.int32)
    found = usage(
        lambda: plan(
            network, loss, OPTIMIZERS[settings.optimizer](1e-3), x, chosen.target(x, y), devices=devices,
            chip=CHIPS[chip], shard=fully_sharded if settings.shard else replicated, accumulate=accumulate,
            title=chosen.title,
        )
    )  # fmt: skip
    found.print(terminal())
    return 0 if found.fits else 1
