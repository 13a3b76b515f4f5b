"""A run on four devices equals that on one, with hand-written rules, and only the gradients are communicated."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxdl import nn, ops
from jaxdl.train import collectives, fit, fully_sharded, in_bfloat16, replicated, training_step
from jaxdl.train.devices import Placement, is_mean_of_parts
from jaxdl.train.steps import gradient
from tests.draws import draw

CROSS_ENTROPY = ops.softmax_cross_entropy_with_integer_labels
MODELS = {
    "mlp": (nn.mlp(128, 128, 4), (4, 4, 2)),
    "convolutions": (nn.serial(nn.conv(8, 3), nn.relu, nn.max_pool(2), nn.flatten, nn.dense(4)), (10, 10, 3)),
    "transformer": (nn.vit(4, patch=4, width=32, depth=1, heads=2), (16, 16, 1)),
    "attention in tiles": (nn.serial(nn.attention(2), nn.flatten, nn.dense(4)), (80, 8)),
    "dropout": (nn.serial(nn.attention(2), nn.dropout(0.5), nn.flatten, nn.dense(4), nn.dropout(0.2)), (80, 8)),
}
WITH_DROPOUT = nn.serial(nn.flatten, nn.dense(64), nn.dropout(0.5), nn.dense(4))
WITH_STATISTICS = nn.serial(nn.flatten, nn.dense(64), nn.batch_norm(), nn.relu, nn.dense(4))


@pytest.fixture
def mesh():
    return jax.make_mesh((4,), ("devices",))


def data(shape, count=16):
    return np.asarray(draw(0, count, *shape)), np.arange(count, dtype=np.int32) % 4


@pytest.mark.parametrize("shard", [replicated, fully_sharded])
@pytest.mark.parametrize("name", MODELS)
def test_loss_and_gradients_are_those_of_one_device(name, shard, mesh, key):
    model, shape = MODELS[name]
    x, y = data(shape)
    place = Placement(mesh, shard)
    params = model.init(key, shape)
    # Some weights start at 0, which would hide differences.
    params = jax.tree.map(lambda p, q: p + q, params, jax.tree.map(lambda p: 0.1 * draw(p.size, *p.shape), params))
    value_and_grad = gradient(model, CROSS_ENTROPY)
    assert is_mean_of_parts(value_and_grad, params, x[:4], y[:4], key)
    spread = jax.device_put(params, shard(place.mesh, params))
    got = jax.jit(place.data_parallel(value_and_grad))(spread, place.spread(x), place.spread(y), key)
    expected = jax.jit(value_and_grad)(params, x, y, key)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6), got, expected)


@pytest.mark.parametrize("name", MODELS)
def test_only_the_gradients_sum_is_exchanged(name, mesh, key):
    """Rules loop over examples, which XLA alone would gather on every device."""
    model, shape = MODELS[name]
    sent = compiled_step(model, shape, Placement(mesh), key)
    parameters = nn.parameter_count(jax.eval_shape(lambda: model.init(key, shape)))
    assert set(sent) == {"all-reduce"}
    assert sent["all-reduce"].bytes == 4 * (parameters + 1)  # and the loss


def test_parameters_that_are_shared_out_are_gathered_and_their_gradients_scattered(mesh, key):
    model, shape = MODELS["mlp"]
    params = jax.eval_shape(lambda: model.init(key, shape))
    large = sum(p.size for p in jax.tree.leaves(params) if p.size >= 2**14)
    assert large == 128 * 128
    sent = compiled_step(model, shape, Placement(mesh, fully_sharded), key)
    assert set(sent) == {"all-gather", "reduce-scatter", "all-reduce"}
    assert sent["all-gather"].bytes == 4 * large
    assert sent["reduce-scatter"].bytes == large  # a quarter on each device
    assert sent["all-reduce"].bytes == 4 * (nn.parameter_count(params) - large + 1)


def along_one_axis(mesh, tree):
    return jax.tree.map(lambda x: NamedSharding(mesh, PartitionSpec(*[None, "b"][: x.ndim])), tree)


@pytest.mark.parametrize("shard", [along_one_axis, fully_sharded])
def test_a_mesh_of_two_axes(shard, key):
    model, shape = MODELS["mlp"]
    mesh = jax.make_mesh((2, 2), ("a", "b"))
    x, y = data(shape)
    run = lambda **more: fit(model, CROSS_ENTROPY, (x, y), optax.sgd(0.1), 2, key, batch=8, quiet=True, **more).params
    together = run(mesh=mesh, shard=shard)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), together, run())
    assert not together[4]["w"].sharding.is_fully_replicated


def compiled_step(model, shape, place, key):
    x, y = data(shape)
    params = place.started(lambda: model.init(key, shape))
    step = training_step(model, CROSS_ENTROPY, optax.sgd(0.1), over_devices=place.data_parallel)
    program = jax.jit(place.step(step)).lower(params, optax.sgd(0.1).init(params), x, y, key)
    return collectives(program.compile())


def test_where_parameters_lie(mesh, key):
    tree = {"wide": jnp.zeros((64, 512)), "odd": jnp.zeros((63, 513)), "small": jnp.zeros((64, 4))}
    lie = {name: sharding.spec for name, sharding in fully_sharded(mesh, tree).items()}
    assert lie == {"wide": PartitionSpec(None, ("devices",)), "odd": PartitionSpec(), "small": PartitionSpec()}


def with_noise_in_its_weights(params, x, *, key=None):
    return x.reshape(len(x), -1) @ (params if key is None else params * jax.random.normal(key, params.shape))


@pytest.mark.parametrize(
    "model",
    [WITH_STATISTICS, nn.Layer(lambda key, shape: jnp.ones((8, 4)), with_noise_in_its_weights)],
    ids=["batch norm", "noise of no example"],
)
def test_examples_that_see_each_other_are_noticed(model, key):
    x, y = data((8,))
    assert not is_mean_of_parts(gradient(model, CROSS_ENTROPY), model.init(key, (8,)), x[:4], y[:4], key)


def test_so_is_a_loss_between_examples(key):
    x, y = data((8,))
    contrast = lambda u, y: ops.contrastive_loss(u, u, jnp.float32(1.0))
    plain = nn.serial(nn.dense(4))
    assert not is_mean_of_parts(gradient(plain, contrast), plain.init(key, (8,)), x[:4], y[:4], key)


@pytest.mark.parametrize(
    "settings", [{}, {"shard": fully_sharded}, {"accumulate": 2}], ids=["whole", "shared out", "in parts"]
)
@pytest.mark.parametrize("model", [WITH_DROPOUT, WITH_STATISTICS, MODELS["mlp"][0]], ids=["dropout", "norm", "mlp"])
def test_a_whole_run_on_four_devices_is_that_on_one(model, settings, mesh, key):
    x, y = data((4, 4, 2), 48)
    run = lambda **more: fit(
        model, CROSS_ENTROPY, (x, y), optax.sgd(0.1), 2, key, batch=16, test=(x[:7], y[:7]), quiet=True, **more
    )
    alone = run(**{k: v for k, v in settings.items() if k == "accumulate"})
    together = run(mesh=mesh, **settings)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), together.params, alone.params)
    assert together.history[-1]["test_loss"] == pytest.approx(alone.history[-1]["test_loss"], rel=1e-4)


def test_a_batch_that_the_devices_do_not_divide(mesh, key):
    x, y = data((4, 4, 2), 48)
    with pytest.raises(ValueError, match="a batch of 6 cannot be split over 4 devices"):
        fit(MODELS["mlp"][0], CROSS_ENTROPY, (x, y), optax.sgd(0.1), 1, key, batch=6, mesh=mesh, quiet=True)


def test_bfloat16_inside_and_float32_outside(key):
    model, shape = MODELS["mlp"]
    low = in_bfloat16(model)
    x, _ = data(shape)
    params = low.init(key, shape)
    assert {p.dtype for p in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    program = str(jax.make_jaxpr(low.apply)(params, x))
    assert "bf16[16,128]" in program
    assert "f32[16,128]" not in program
    gradients = jax.grad(lambda p: low.apply(p, x).sum())(params)
    assert {g.dtype for g in jax.tree.leaves(gradients)} == {jnp.dtype("float32")}
    np.testing.assert_allclose(low.apply(params, x), model.apply(params, x), rtol=0.05, atol=0.05)


def test_images_of_bytes_are_scaled_where_they_are_used(key):
    images = np.random.default_rng(0).integers(0, 256, (32, 4, 4, 2), np.uint8)
    run = lambda x: fit(MODELS["mlp"][0], CROSS_ENTROPY, (x, data((1,), 32)[1]), optax.sgd(0.1), 2, key, batch=16)
    a, b = run(images), run((images / 255).astype(np.float32))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), a.params, b.params)
