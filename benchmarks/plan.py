"""The memory that `train.plan` computes for a step, and the memory of the program.

    python -m benchmarks.plan

For each model on one device and on four: the bytes that `plan` computes; those that the compiler allocates on each
device for the program that runs; and, on one device, by how much the process grew while it ran a step.
"""

import itertools
import multiprocessing
import os
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from benchmarks.process_memory import PEAK, forget_peak, memory_bytes
from benchmarks.results_folder import keep
from jaxdl import nn, ops
from jaxdl.report import Table, bytes_text
from jaxdl.train import fully_sharded, plan, replicated, training_step
from jaxdl.train.devices import Placement
from jaxdl.train.steps import stopping_step

BATCH = 64
MODELS = {
    "MLP 512–512": (nn.mlp(512, 512, 10), (8, 8, 1)),
    "LeNet-5": (nn.lenet5(), (28, 28, 1)),
    "network in network": (nn.nin_cifar10(), (32, 32, 3)),
    "vision transformer": (nn.vit(10, patch=4, width=128, depth=4, heads=4), (32, 32, 3)),
}
PLACES = {"one device": (1, replicated), "four": (4, replicated), "four, parameters sharded": (4, fully_sharded)}
LOSS, OPTIMIZER = ops.softmax_cross_entropy_with_integer_labels, optax.adam(1e-3)


class Case(NamedTuple):
    model: str
    place: str
    parts: int


def planned(case: Case) -> int:
    model, shape = MODELS[case.model]
    devices, shard = PLACES[case.place]
    x, y = jax.ShapeDtypeStruct((BATCH, *shape), jnp.float32), jax.ShapeDtypeStruct((BATCH,), jnp.int32)
    return plan(model, LOSS, OPTIMIZER, x, y, devices=devices, shard=shard, accumulate=case.parts).memory


def measured(case: Case) -> dict:
    """The memory of the program that runs, in this process."""
    model, shape = MODELS[case.model]
    devices, shard = PLACES[case.place]
    place = Placement(jax.make_mesh((4,), ("devices",)) if devices == 4 else None, shard)
    params = place.started(lambda: model.init(jax.random.key(0), shape))
    state = place.started(lambda: OPTIMIZER.init(params))
    x, y = place.spread(np.zeros((BATCH, *shape), np.float32)), place.spread(np.zeros(BATCH, np.int32))
    step = training_step(model, LOSS, OPTIMIZER, accumulate=case.parts, over_devices=place.data_parallel)
    args = params, state, True, x, y, jax.random.key(0), False
    compiled = jax.jit(stopping_step(place.step(step), with_state=False), donate_argnums=(0, 1)).lower(*args).compile()
    memory = compiled.memory_analysis()
    new = memory.output_size_in_bytes - memory.alias_size_in_bytes
    placed = memory.argument_size_in_bytes + new + memory.temp_size_in_bytes
    row = {**case._asdict(), "planned": planned(case), "compiled": placed}
    if devices == 1:
        before = memory_bytes()
        forget_peak()
        jax.block_until_ready(compiled(*args))
        row["grown"] = memory_bytes(PEAK) - before + memory.argument_size_in_bytes
    return row


def main() -> None:
    """Plan and measure every model, place and number of parts."""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    cases = [Case(*case) for case in itertools.product(MODELS, PLACES, (1, 2))]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rows = pool.map(measured, cases, chunksize=1)
    cells = [
        (r["model"], r["place"], str(r["parts"]), bytes_text(r["planned"]), bytes_text(r["compiled"]),
         f"{r['planned'] / r['compiled']:.3f}", bytes_text(r["grown"]) if "grown" in r else "–")
        for r in rows
    ]  # fmt: skip
    furthest = max(abs(r["planned"] / r["compiled"] - 1) for r in rows)
    columns = ("model", "on", "parts", "planned", "compiled", "planned : compiled", "the process grew by")
    note = f"The largest difference: {furthest:.1%}. A batch of {BATCH}, Adam; bytes on each device."
    keep("plan", {"rows": rows}, Table("Memory of a step, planned and measured", columns, cells, note, words=3))


if __name__ == "__main__":
    tyro.cli(main)
