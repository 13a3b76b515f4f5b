"""Flax and jaxdl: the same weights give the same outputs and gradients, and each can contain the other."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from jaxdl import automatic, contrast, jacobian, nn, ops, rules, train
from jaxdl.interop import flax_names, from_linen, from_nnx, jaxdl_names, to_linen, to_nnx
from tests.draws import draw
from tests.tolerance import assert_close


def transposed(module, *args, **settings):
    return module(*args, padding="VALID", transpose_kernel=True, **settings)


# Each twin is a list of layers, functions or pairs of makers (of linen, of nnx).
dense = lambda i, o: (lambda: linen.Dense(o), lambda r: nnx.Linear(i, o, rngs=r))
conv = lambda i, o, size, padding="VALID", stride=1: (
    lambda: linen.Conv(o, (size, size), stride, padding),
    lambda r: nnx.Conv(i, o, (size, size), stride, padding=padding, rngs=r),
)
conv_transpose = lambda i, o, size, stride=1: (
    lambda: transposed(linen.ConvTranspose, o, (size, size), (stride, stride)),
    lambda r: transposed(nnx.ConvTranspose, i, o, (size, size), (stride, stride), rngs=r),
)
relu = jax.nn.relu
flat = lambda x: x.reshape(x.shape[0], -1)


def pool(x):
    with jax.numpy_dtype_promotion("standard"):  # Flax divides by an integer
        return linen.avg_pool(x, (2, 2), (2, 2))


TWINS = {
    "mlp": (nn.mlp(7, 5, 3), (4,), [dense(4, 7), relu, dense(7, 5), relu, dense(5, 3)]),
    "lenet5": (
        nn.lenet5(),
        (28, 28, 1),
        [
            conv(1, 6, 5, "SAME"), jnp.tanh, pool, conv(6, 16, 5), jnp.tanh, pool,
            flat, dense(400, 120), jnp.tanh, dense(120, 84), jnp.tanh, dense(84, 10),
        ],
    ),
    "autoencoder": (
        nn.conv_autoencoder(8),
        (28, 28, 1),
        [
            conv(1, 32, 5), relu, conv(32, 32, 5), relu, conv(32, 32, 4, stride=2), relu,
            conv(32, 32, 3, stride=2), relu, conv(32, 8, 4),
            conv_transpose(8, 32, 4), relu, conv_transpose(32, 32, 3, 2), relu, conv_transpose(32, 32, 4, 2), relu,
            conv_transpose(32, 32, 5), relu, conv_transpose(32, 1, 5),
        ],
    ),
}  # fmt: skip


def linen_twin(parts, params):
    layers = [part[0]() if isinstance(part, tuple) else part for part in parts]
    with_weights = [i for i, part in enumerate(parts) if isinstance(part, tuple)]
    return linen.Sequential(layers), {
        f"layers_{i}": p for i, p in zip(with_weights, layers_of(flax_names(params), "kernel"), strict=True)
    }


def nnx_twin(parts):
    return lambda rngs: nnx.Sequential(*(part[1](rngs) if isinstance(part, tuple) else part for part in parts))


def layers_of(params, weight):
    """The layers with weights, in order."""
    return jax.tree.leaves(params, is_leaf=lambda node: isinstance(node, dict) and weight in node)


def value_and_gradients(f, params, x):
    return jax.jit(jax.value_and_grad(lambda p, x: (f(p, x) ** 2).mean(), (0, 1)))(params, x)


@pytest.mark.parametrize("name", TWINS)
def test_twins_with_the_same_weights(name, key):
    model, shape, parts = TWINS[name]
    params, x = model.init(key, shape), draw(0, 2, *shape)
    value, (dparams, dx) = value_and_gradients(model.apply, params, x)

    module, weights = linen_twin(parts, params)
    twin = from_linen(module)
    assert jax.tree.structure(weights) == jax.tree.structure(jax.eval_shape(lambda k: twin.init(k, shape), key))
    theirs = value_and_gradients(twin.apply, weights, x)
    gradients = [theirs[1][0][name] for name in weights]
    assert_close(value, theirs[0], "float32")
    assert_close(dx, theirs[1][1], "float32")
    for ours, other in zip(layers_of(dparams, "w"), gradients, strict=True):
        for leaf in "wb":
            assert_close(ours[leaf], jaxdl_names(other)[leaf], "float32")

    twin = from_nnx(nnx_twin(parts))
    order = [i for i, part in enumerate(parts) if isinstance(part, tuple)]
    weights = {"layers": dict(zip(order, layers_of(flax_names(params), "kernel"), strict=True))}
    assert jax.tree.structure(weights) == jax.tree.structure(twin.init(key, shape))
    theirs = value_and_gradients(twin.apply, weights, x)
    assert_close(value, theirs[0], "float32")
    for i, ours in zip(order, layers_of(dparams, "w"), strict=True):
        assert_close(ours["w"], theirs[1][0]["layers"][i]["kernel"], "float32")
        assert_close(ours["b"], theirs[1][0]["layers"][i]["bias"], "float32")


def test_names_go_both_ways():
    params = nn.serial(nn.dense(3), nn.layer_norm()).init(jax.random.key(0), (2,))
    named = flax_names(params)
    assert set(named[0]) == {"kernel", "bias"}
    assert set(named[1]) == {"scale", "bias"}  # a norm's names are the same in both
    assert jax.tree.structure(jaxdl_names(named)) == jax.tree.structure(params)


class Head(linen.Module):
    """A Flax module with a jaxdl function and a jaxdl layer inside."""

    @linen.compact
    def __call__(self, x):
        x = to_linen(nn.serial(nn.dense(6), nn.dropout(0.5)))(x)
        return linen.Dense(3)(ops.gelu(x))


def test_jaxdl_inside_linen(key):
    model, x = from_linen(Head()), draw(0, 5, 4)
    params = model.init(key, (4,))
    w, out = params["_Linen_0"]["layer"][0], params["Dense_0"]
    hidden = ops.gelu(ops.dense(x, w["w"], w["b"]))
    assert_close(model.apply(params, x), hidden @ out["kernel"] + out["bias"][None], "float32")
    assert not jnp.allclose(model.apply(params, x, key=key), model.apply(params, x))
    assert {site.name for site in rules(model.apply, params, x)} >= {"gelu", "dense"}


def test_jaxdl_inside_nnx(key):
    layer = nn.serial(nn.dense(3), nn.dropout(0.5))
    module = to_nnx(layer, (4,), nnx.Rngs(0))
    x = draw(0, 5, 4)
    params = module.params.get_value()
    assert_close(module(x), layer.apply(params, x), "float32")
    assert not jnp.allclose(module(x, key=key), module(x))
    gradient = nnx.grad(lambda m: (m(x) ** 2).sum())(module)
    want = jax.grad(lambda p: (layer.apply(p, x) ** 2).sum())(params)
    assert_close(jax.tree.leaves(gradient)[1], want[0]["w"], "float32")


def test_flax_inside_contrast_automatic_and_jacobians(key):
    model, x = from_linen(Head()), draw(0, 2, 4)
    params = model.init(key, (4,))
    report = contrast(model.apply, params, x, time=False)
    assert report.whole.largest.relative < 1e-5
    assert {"gelu", "dense"} <= {site.name for site in report.sites}
    f = lambda x: model.apply(params, x)
    expected = jax.jacrev(automatic(f))(x)
    for method in (jax.jacfwd, jacobian.reverse, jacobian.forward, jacobian.cut, jacobian.sparse):
        assert_close(method(f)(x), expected, "float32")
    assert_close(jacobian.structured(f)(x).dense().reshape(expected.shape), expected, "float32")


def test_flax_models_are_trained_by_fit(key):
    x = draw(0, 64, 2)
    y = np.asarray(x[:, 0] * x[:, 1] > 0, np.int32)
    loss = ops.softmax_cross_entropy_with_integer_labels
    module = linen.Sequential([linen.Dense(32), relu, linen.Dense(2)])
    makers = from_linen(module), from_nnx(nnx_twin([dense(2, 32), relu, dense(32, 2)]))
    for model in makers:
        with jax.numpy_dtype_promotion("standard"):
            trained = train.fit(model, loss, (x, y), optax.adam(0.02), 60, key, batch=64)
        assert trained.history[-1]["loss"] < 0.4 * trained.history[0]["loss"]


def test_dropout_of_flax_modules(key):
    class Dropped(linen.Module):
        @linen.compact
        def __call__(self, x, train):
            return linen.Dropout(0.5, deterministic=not train)(x)

    x = jnp.ones((1, 1000))
    model = from_linen(Dropped(), training={"train": True}, testing={"train": False})
    nnx_model = from_nnx(lambda rngs: nnx.Dropout(0.5, rngs=rngs))
    for layer in (model, nnx_model):
        params = layer.init(key, (1000,))
        assert (layer.apply(params, x) == x).all()
        kept = layer.apply(params, x, key=key) != 0
        assert 400 < int(kept.sum()) < 600
        assert not jnp.array_equal(kept, layer.apply(params, x, key=jax.random.key(7)) != 0)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (from_linen(linen.BatchNorm(use_running_average=True)), "from_linen: BatchNorm keeps batch_stats beside"),
        (from_nnx(lambda rngs: nnx.BatchNorm(3, rngs=rngs)), "from_nnx: BatchNorm keeps BatchStat beside"),
    ],
)
def test_running_averages_are_refused(layer, message, key):
    with pytest.raises(ValueError, match=message):
        layer.init(key, (3,))


@pytest.mark.parametrize("module", [linen.Dense, 3, None])
def test_what_is_no_linen_module_is_named(module):
    with pytest.raises(TypeError, match=r"from_linen: module must be a module of flax.linen, such as"):
        from_linen(module)


def test_what_builds_no_nnx_module_is_named(key):
    with pytest.raises(TypeError, match=r"from_nnx: make must build a module, as .*, got Linear"):
        from_nnx(nnx.Linear(3, 4, rngs=nnx.Rngs(0)))
    with pytest.raises(TypeError, match=r"from_nnx: make must build a module, as .*; it returns None"):
        from_nnx(lambda rngs: None).init(key, (3,))
