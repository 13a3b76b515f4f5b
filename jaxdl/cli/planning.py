"""`jaxdl plan`: what a step of training needs on each device, before anything is allocated."""

import jax
import jax.numpy as jnp

from jaxdl.cli.from_settings import OPTIMIZERS, model_of, without_examples
from jaxdl.cli.settings import Settings
from jaxdl.cli.training_recipes import recipe
from jaxdl.cli.usage_errors import BadUsage, usage
from jaxdl.report import terminal
from jaxdl.train import CHIPS, fully_sharded, plan, replicated


def show_plan(settings: Settings, chip: str, shape: tuple[int, ...] | None, classes: int) -> int:
    """Prints the plan of a model's training step, and returns the exit status."""
    chosen = usage(recipe, settings.model)
    batch, accumulate = settings.batch, settings.accumulate
    devices = 1 if settings.devices is None else settings.devices
    if batch < 1 or devices < 1 or accumulate < 1:
        raise BadUsage(f"--batch, --devices and --accumulate must be 1 or more, got {batch}, {devices}, {accumulate}")
    image: tuple[int, ...] = shape or chosen.shape
    if min(image) < 1 or classes < 1:
        raise BadUsage(f"--shape and --classes must be 1 or more, got {' '.join(map(str, image))} and {classes}")
    network, loss = model_of(chosen, settings, without_examples(settings.model, image, classes))
    x, y = jax.ShapeDtypeStruct((batch, *image), jnp.float32), jax.ShapeDtypeStruct((batch,), jnp.int32)
    found = usage(
        lambda: plan(
            network, loss, OPTIMIZERS[settings.optimizer](1e-3), x, chosen.target(x, y), devices=devices,
            chip=CHIPS[chip], shard=fully_sharded if settings.shard else replicated, accumulate=accumulate,
            title=chosen.title,
        )
    )  # fmt: skip
    found.print(terminal())
    return 0 if found.fits else 1
