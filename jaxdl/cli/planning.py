"""`jaxdl plan`: what a step of training takes on each device, before anything is allocated."""

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxdl.cli.prepared import model_of
from jaxdl.cli.settings import Settings
from jaxdl.cli.setups import setup
from jaxdl.cli.training import OPTIMIZERS
from jaxdl.cli.usage import BadUsage, usage
from jaxdl.data import Dataset
from jaxdl.report import terminal
from jaxdl.train import CHIPS, fully_sharded, replicated
from jaxdl.train import plan as planned


def plan(
    model: Annotated[str, tyro.conf.Positional],
    batch: int = 64,
    devices: int = 1,
    chip: Literal[tuple(CHIPS)] = "h100",
    shape: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="N ...")] = None,
    classes: int = 10,
    optimizer: Literal[tuple(OPTIMIZERS)] = "adam",
    accumulate: int = 1,
    shard: bool = False,
    bfloat16: bool = False,
    checkpointed: bool = False,
    automatic: bool = False,
) -> int:
    """Tell what a step of training takes on each device: memory, operations, what is sent, and how long at least.

    From types, and a program compiled for the backend at hand, which is not run. Exit status: 0 it fits, 1 it does not,
    2 bad usage.

    Args:
        model: mlp, convnet, autoencoder, lenet5, nin, vit, alexnet or vit-b16.
        batch: Examples in a batch, over all devices.
        devices: How many share out the batch.
        chip: What they are.
        shape: Of an input; by default what the model was made for, or that of the digits.
        classes: Outputs of the model.
        optimizer: Its state takes memory.
        accumulate: In how many parts a batch is taken, one after the other.
        shard: Share out the parameters over the devices too.
        bfloat16: Compute in bfloat16; parameters stay in float32.
        checkpointed: Keep only the inputs of the model's layers for the backward pass.
        automatic: Without the hand-written rules.
    """
    chosen = usage(setup, model)
    if batch < 1 or devices < 1 or accumulate < 1:
        raise BadUsage(f"--batch, --devices and --accumulate must be 1 or more, got {batch}, {devices}, {accumulate}")
    size = chosen.size or 8
    shape = shape or (size, size, 1 if size <= 28 else 3)
    none = np.zeros((0, *shape), np.float32)
    settings = Settings(model, automatic=automatic, checkpointed=checkpointed, bfloat16=bfloat16)
    network, loss = model_of(chosen, settings, Dataset(model, none, none, none, none, classes))
    x, y = jax.ShapeDtypeStruct((batch, *shape), jnp.float32), jax.ShapeDtypeStruct((batch,), jnp.int32)
    found = usage(
        lambda: planned(
            network, loss, OPTIMIZERS[optimizer](1e-3), x, chosen.target(x, y), devices=devices, chip=CHIPS[chip],
            shard=fully_sharded if shard else replicated, accumulate=accumulate, title=chosen.title,
        )
    )  # fmt: skip
    console = terminal()
    for table in found.tables():
        table.print(console)
    return 0 if found.fits else 1
