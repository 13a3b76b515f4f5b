"""The memory that `plan` computes for a step is that of the compiled program."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import nn, ops
from jaxdl.train import CHIPS, fully_sharded, in_bfloat16, plan, replicated, training_step
from jaxdl.train.devices import Placement
from jaxdl.train.steps import stopping_step

CROSS_ENTROPY = ops.softmax_cross_entropy_with_integer_labels
MODELS = {
    "mlp": (nn.mlp(256, 256, 10), (8, 8, 1)),
    "convolutions": (nn.serial(nn.conv(16, 3), nn.relu, nn.max_pool(2), nn.flatten, nn.dense(10)), (16, 16, 3)),
    "transformer": (nn.vit(10, patch=4, width=64, depth=2, heads=2), (16, 16, 3)),
}
OPTIMIZER = optax.sgd(0.1, momentum=0.9)
BATCH = 32


def types(shape, batch=BATCH):
    return jax.ShapeDtypeStruct((batch, *shape), jnp.float32), jax.ShapeDtypeStruct((batch,), jnp.int32)


def measured(model, shape, place, accumulate):
    """Bytes on each device of the program that runs."""
    params = place.started(lambda: model.init(jax.random.key(0), shape))
    state = place.started(lambda: OPTIMIZER.init(params))
    x, y = place.spread(np.zeros((BATCH, *shape), np.float32)), place.spread(np.zeros(BATCH, np.int32))
    over_devices = place.data_parallel
    step = training_step(model, CROSS_ENTROPY, OPTIMIZER, accumulate=accumulate, over_devices=over_devices)
    arguments = params, state, True, x, y, jax.random.key(0), False
    memory = (
        jax.jit(stopping_step(place.step(step), with_state=False), donate_argnums=(0, 1))
        .lower(*arguments)
        .compile()
        .memory_analysis()
    )
    new = memory.output_size_in_bytes - memory.alias_size_in_bytes
    return memory.argument_size_in_bytes + new + memory.temp_size_in_bytes


@pytest.mark.parametrize(
    ("name", "devices", "shard", "accumulate"),
    [("mlp", 1, replicated, 1), ("mlp", 4, replicated, 1), ("mlp", 4, fully_sharded, 1), ("mlp", 4, fully_sharded, 2),
     ("convolutions", 4, replicated, 2), ("transformer", 4, fully_sharded, 1)],
    ids=["one", "four", "shared out", "shared out, in parts", "convolutions", "transformer"],
)  # fmt: skip
def test_memory_within_a_tenth(name, devices, shard, accumulate):
    model, shape = MODELS[name]
    place = Placement(jax.make_mesh((4,), ("d",)) if devices == 4 else None, shard)
    settings = {"devices": devices, "shard": shard, "accumulate": accumulate}
    planned = plan(model, CROSS_ENTROPY, OPTIMIZER, *types(shape), **settings).memory
    assert planned == pytest.approx(measured(model, shape, place, accumulate), rel=0.1)


def test_the_plan_of_a_perceptron():
    """64 → 256 → 256 → 10, on 8 of 32 examples."""
    model, shape = MODELS["mlp"]
    planned = plan(model, CROSS_ENTROPY, OPTIMIZER, *types(shape), devices=4)
    count = 64 * 256 + 256 + 256 * 256 + 256 + 256 * 10 + 10
    assert planned.count == count
    assert (planned.parameters, planned.state) == (4 * count, 4 * count)
    assert planned.batch == 8 * (64 + 1) * 4
    assert planned.residuals["dense"] == 8 * (64 + 256 * 2) * 4  # the inputs of the three layers
    products = 2 * 8 * (64 * 256 + 256 * 256 + 256 * 10)
    assert planned.forward == pytest.approx(products, rel=0.05)
    assert planned.backward == pytest.approx(2 * products - 2 * 8 * 64 * 256, rel=0.05)  # no gradient of the data
    assert planned.sent == 3 / 4 * 2 * 4 * count
    assert set(planned.flops) == {"float32"}


def test_parameters_that_are_shared_out():
    model, shape = MODELS["mlp"]
    planned = plan(model, CROSS_ENTROPY, OPTIMIZER, *types(shape), devices=4, shard=fully_sharded)
    large = 64 * 256 + 256 * 256
    assert planned.parameters == 4 * (planned.count - large * 3 / 4)
    assert planned.sent == 3 / 4 * 2 * 4 * planned.count


def test_time_and_whether_it_fits():
    model, shape = MODELS["mlp"]
    small = CHIPS["h100"]._replace(name="a small one", memory=1e6, float32=1e9, bandwidth=1e9, link=1e9)
    planned = plan(model, CROSS_ENTROPY, OPTIMIZER, *types(shape), devices=4, chip=small)
    assert not planned.fits
    assert planned.seconds["operations"] == (planned.forward + planned.backward) / 1e9
    assert planned.seconds["sending"] == planned.sent / 1e9
    text = "\n".join(map(str, planned.tables()))
    assert "DOES NOT FIT in the 1.0 MB of a small one" in text
    low = plan(in_bfloat16(model), CROSS_ENTROPY, OPTIMIZER, *types(shape), chip=small)
    assert low.flops["bfloat16"] > 10 * low.flops["float32"]


def test_a_report_of_it(tmp_path):
    model, shape = MODELS["mlp"]
    planned = plan(model, CROSS_ENTROPY, OPTIMIZER, *types(shape), title="a perceptron")
    assert planned.table().title == "a perceptron: memory on one device"
    assert len(planned.tables()) == 3
    planned.save(tmp_path / "plan.json")
    saved = json.loads((tmp_path / "plan.json").read_text())
    assert (saved["memory"], saved["fits"], saved["chip"]["name"]) == (planned.memory, True, planned.chip.name)
    (ax,) = planned.plot().axes
    assert sum(bar.get_width() for bar in ax.patches) == pytest.approx(planned.memory)


def test_a_batch_that_cannot_be_cut():
    model, shape = MODELS["mlp"]
    with pytest.raises(ValueError, match="a batch of 32 cannot be cut for 5 devices and 2 parts"):
        plan(model, CROSS_ENTROPY, OPTIMIZER, *types(shape), devices=5, accumulate=2)
