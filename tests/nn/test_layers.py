"""Layers and models: shapes, parameter counts, randomness, errors."""

import jax
import jax.numpy as jnp
import pytest

from jaxdl import automatic, nn, ops
from tests.draws import draw
from tests.tolerance import assert_close

COUNTS = {
    "linear classifier": (nn.linear_classifier(), (8, 8, 1), 650),
    "mlp": (nn.mlp(128, 128, 10), (8, 8, 1), 26_122),
    "convnet": (nn.small_convnet(), (8, 8, 1), 38_282),
    "autoencoder": (nn.dense_autoencoder((8, 8, 1)), (8, 8, 1), 20_816),
    "perceptron": (nn.perceptron(), (2,), 3),
}


@pytest.mark.parametrize("name", COUNTS)
def test_parameter_counts_and_shapes(name, key):
    model, shape, count = COUNTS[name]
    params = jax.eval_shape(lambda k: model.init(k, shape), key)
    assert nn.parameter_count(params) == count
    y = jax.eval_shape(model.apply, params, jax.ShapeDtypeStruct((3, *shape), jnp.float32))
    expected = {"autoencoder": (3, 8, 8, 1), "perceptron": (3, 1)}.get(name, (3, 10))
    assert y.shape == expected


LAYERS = {
    "conv": (nn.conv(6, 3, stride=2, padding="SAME", groups=2), (9, 9, 4), (5, 5, 6), 3 * 3 * 2 * 6 + 6),
    "conv_transpose": (nn.conv_transpose(6, (3, 2), stride=2), (4, 4, 5), (9, 8, 6), 3 * 2 * 5 * 6 + 6),
    "batch_norm": (nn.batch_norm(), (5, 5, 4), (5, 5, 4), 8),
    "local_response_norm": (nn.local_response_norm(), (5, 5, 7), (5, 5, 7), 0),
    "attention": (nn.attention(4, kv_heads=2, causal=True), (5, 8), (5, 8), 8 * 8 + 2 * 8 * 4 + 8 * 8 + 8 + 2 * 4 + 8),
    "gelu_feed_forward": (nn.gelu_feed_forward(16), (5, 4), (5, 4), 2 * 4 * 16 + 16 + 4),
    "swiglu_feed_forward": (nn.swiglu_feed_forward(16), (5, 4), (5, 4), 3 * 4 * 16),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, key):
    """Shapes, parameter counts, and gradients that are the automatic ones."""
    layer, shape, out, count = LAYERS[name]
    params = layer.init(key, shape)
    assert nn.parameter_count(params) == count
    x, dy = draw(0, 3, *shape), draw(1, 3, *out)
    assert layer.apply(params, x).shape == (3, *out)
    gradient = lambda f: jax.jit(jax.grad(lambda params, x: (f(params, x) * dy).sum(), (0, 1)))(params, x)
    hand, plain = gradient(layer.apply), gradient(automatic(layer.apply))
    for got, want in zip(jax.tree.leaves(hand), jax.tree.leaves(plain), strict=True):
        assert_close(got, want, "float32")


def test_attention_is_causal_and_has_heads(key):
    layer = nn.attention(2, causal=True)
    params = layer.init(key, (6, 4))
    x = jax.random.normal(key, (1, 6, 4))
    changed = x.at[0, 4].add(1.0)
    y, z = layer.apply(params, x), layer.apply(params, changed)
    assert_close(y[:, :4], z[:, :4], "float32")
    assert not jnp.allclose(y[:, 4:], z[:, 4:])
    with pytest.raises(ValueError, match=r"attention: inputs must be .* got shape"):
        nn.attention(3).init(key, (6, 4))


def test_parameters_are_a_plain_pytree_and_apply_is_pure(key):
    model = nn.mlp(5, 3)
    params = model.init(key, (4,))
    x = jax.random.normal(key, (9, 4))
    first = model.apply(params, x)
    doubled = jax.tree.map(lambda p: 2 * p, params)
    assert not jnp.allclose(model.apply(doubled, x), first)
    assert_close(model.apply(params, x), first, "float32")
    gradient = jax.grad(lambda p: model.apply(p, x).sum())(params)
    assert jax.tree.structure(gradient) == jax.tree.structure(params)


def test_mlp_is_the_formula(key):
    model = nn.mlp(5, 3)
    params = model.init(key, (4,))
    x = jax.random.normal(key, (2, 4))
    first, last = (p for p in params if p)
    hidden = jnp.maximum(x @ first["w"] + first["b"][None], 0)
    assert_close(model.apply(params, x), hidden @ last["w"] + last["b"][None], "float32")


def test_dropout_is_on_with_a_key_only(key):
    model = nn.serial(nn.dropout(0.5), nn.dropout(0.5))
    x = jnp.ones((4, 100))
    params = model.init(key, (100,))
    assert_close(model.apply(params, x), x, "float32")
    dropped = model.apply(params, x, key=key)
    assert 0.6 < float((dropped == 0).mean()) < 0.9
    assert_close(model.apply(params, x, key=key), dropped, "float32")
    assert not jnp.array_equal(model.apply(params, x, key=jax.random.key(1)), dropped)


def test_perceptron_fires_at_its_threshold():
    model = nn.perceptron()
    params = ({"w": jnp.array([[1.0], [1.0]]), "b": jnp.array([-1.5])}, ())
    x = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    assert model.apply(params, x)[:, 0].tolist() == [0, 0, 0, 1]


def test_pooling_is_the_mean_of_blocks():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    assert nn.avg_pool(2).apply((), x)[0, :, :, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]


def test_max_pool_layer():
    x = jnp.arange(25.0).reshape(1, 5, 5, 1)
    assert nn.max_pool(3, 2).apply((), x)[0, :, :, 0].tolist() == [[12, 14], [22, 24]]
    assert nn.global_avg_pool.apply((), x).tolist() == [[12]]


@pytest.mark.parametrize("norm", [nn.layer_norm, nn.rms_norm])
def test_norm_layers(norm, key):
    layer = norm()
    params = layer.init(key, (7, 50))
    x = 5 * jax.random.normal(key, (3, 7, 50)) + (2 if norm is nn.layer_norm else 0)
    y = layer.apply(params, x)
    assert jnp.allclose((y**2).mean(-1), 1, atol=1e-3)
    if norm is nn.layer_norm:
        assert jnp.allclose(y.mean(-1), 0, atol=1e-5)
    assert (layer.apply({**params, "scale": 2 * params["scale"]}, x) == 2 * y).all()


NOISE = jax.random.key(3)
SAME = {"stride": (2, 1), "padding": "SAME"}
CHANNELS = {"size": 3, "k": 1.0, "alpha": 0.3, "beta": 0.5}
WINDOWS = {"stride": (2, 1), "padding": ((1, 0), (0, 2)), "dilation": (1, 2), "groups": 2}
BY_SETTING = {
    "leaky_relu": (nn.leaky_relu(0.3), lambda p, x: ops.leaky_relu(x, slope=0.3)),
    "layer_norm": (nn.layer_norm(epsilon=0.5), lambda p, x: ops.layer_norm(x, p["scale"], p["bias"], epsilon=0.5)),
    "rms_norm": (nn.rms_norm(epsilon=0.5), lambda p, x: ops.rms_norm(x, p["scale"], epsilon=0.5)),
    "batch_norm": (nn.batch_norm(epsilon=0.5), lambda p, x: ops.batch_norm(x, p["scale"], p["bias"], epsilon=0.5)[0]),
    "local_response_norm": (nn.local_response_norm(**CHANNELS), lambda p, x: ops.local_response_norm(x, **CHANNELS)),
    "dropout": (nn.dropout(0.2), lambda p, x: ops.dropout(x, NOISE, rate=0.2)),
    "gaussian_noise": (nn.gaussian_noise(0.1), lambda p, x: x + 0.1 * jax.random.normal(NOISE, x.shape)),
    "max_pool": (nn.max_pool(3, **SAME), lambda p, x: ops.max_pool(x, window=3, **SAME)),
    "avg_pool": (nn.avg_pool(3, **SAME), lambda p, x: ops.avg_pool(x, window=3, **SAME)),
    "conv": (nn.conv(6, 2, b_init=None, **WINDOWS), lambda p, x: ops.conv2d(x, p["w"], **WINDOWS)),
    "conv_transpose": (
        nn.conv_transpose(2, 2, b_init=None, **SAME), lambda p, x: ops.conv_transpose2d(x, p["w"], **SAME)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_SETTING)
def test_layers_pass_their_settings_on(name, key):
    layer, of = BY_SETTING[name]
    params, x = layer.init(key, (5, 6, 4)), draw(2, 2, 5, 6, 4)
    assert_close(layer.apply(params, x, key=NOISE), of(params, x), "float32")


INITIALISED = {
    "dense": lambda init: nn.dense(3, w_init=init, b_init=init).init(NOISE, (4,)),
    "conv": lambda init: nn.conv(3, 2, w_init=init, b_init=init).init(NOISE, (4, 4, 2)),
    "conv_transpose": lambda init: nn.conv_transpose(3, 2, w_init=init, b_init=init).init(NOISE, (4, 4, 2)),
    "embedding": lambda init: nn.embedding(5, 3, init=init).init(NOISE, (4,)),
}


@pytest.mark.parametrize("name", INITIALISED)
def test_layers_use_the_initialisers_that_they_are_given(name):
    for init, value in {"ones": 1, "zeros": 0}.items():
        assert all((p == value).all() for p in jax.tree.leaves(INITIALISED[name](init)))


def test_every_layer_draws_numbers_of_its_own(key):
    parts = nn.dense(4), nn.dense(4)
    for model in (nn.serial(*parts), nn.parallel(*parts)):
        first, second = model.init(key, (4,))
        assert not jnp.allclose(first["w"], second["w"])
    twice = nn.share(nn.gaussian_noise(1.0), 2)
    noise = twice.apply((), jnp.zeros((2, 50)), key=key)
    assert 1.1 < float(noise.std()) < 1.8  # √2: two draws, where one drawn twice has 2
    both = nn.parallel(nn.dropout(0.5), nn.dropout(0.5)).apply(((), ()), jnp.ones((2, 50)), key=key)
    assert not jnp.array_equal(*both)


def test_initialisers_by_name_and_by_function(key):
    assert (nn.initializer("ones")(key, (2,), jnp.float32) == 1).all()
    w = nn.dense(1000, w_init="glorot_uniform").init(key, (1000,))["w"]
    assert float(jnp.abs(w).max()) <= (6 / 2000) ** 0.5
    own = nn.dense(2, w_init=lambda key, shape, dtype: jnp.full(shape, 7.0, dtype)).init(key, (3,))
    assert (own["w"] == 7).all()
    with pytest.raises(ValueError, match=r"unknown initialiser 'he'; jax.nn.initializers has .*he_normal"):
        nn.initializer("he")


def test_automatic_models_give_the_same(key):
    model = nn.small_convnet()
    params = model.init(key, (8, 8, 1))
    x = jax.random.normal(key, (2, 8, 8, 1))
    loss = lambda model: lambda params: (model.apply(params, x, key=key) ** 2).sum()
    hand = jax.jit(jax.grad(loss(model)))(params)
    plain = jax.jit(jax.grad(loss(nn.with_function(model, automatic))))(params)
    for a, b in zip(jax.tree.leaves(hand), jax.tree.leaves(plain), strict=True):
        assert_close(a, b, "float32")


def test_embedding_layer(key):
    layer = nn.embedding(7, 3)
    params = layer.init(key, (5,))
    y = layer.apply(params, jnp.array([[1, 6]]))
    assert_close(y[0, 1], params["table"][6], "float32")


ERRORS = {
    "dense: inputs must be vectors or sequences of them, got shape (2, 3, 4)": lambda k: nn.dense(1).init(k, (2, 3, 4)),
    "conv: inputs must be images": lambda k: nn.conv(1, 3).init(k, (4,)),
    "avg_pool: window (4, 4) does not fit into (3, 5)": lambda k: nn.avg_pool(4).apply((), jnp.ones((1, 3, 5, 1))),
    "dropout: rate must be in [0, 1), got 1": lambda k: nn.dropout(1),
    "mlp: give at least one width": lambda k: nn.mlp(),
    "serial: 2 layers need as many parameters, got 1": lambda k: nn.serial(nn.relu, nn.relu).apply(((),), jnp.ones(2)),
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors(message, key):
    pattern = message.translate({ord(c): "\\" + c for c in "()[]"})
    with pytest.raises(ValueError, match=pattern):
        ERRORS[message](key)


def kept_bytes(model, params, x):
    """Of what goes from forward to backward, arguments too."""
    pullback = jax.eval_shape(lambda params: jax.vjp(lambda p: model.apply(p, x), params)[1], params)
    return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(pullback))


def test_checkpointed_layers_keep_their_input_only(key):
    blocks = nn.transformer_encoder(3, 2, nn.gelu_feed_forward(32), dropout_rate=0.5)
    model = nn.serial(nn.dense(16), blocks, nn.residual(nn.dense(16), nn.tanh))
    again = nn.checkpointed(model)
    params = again.init(key, (12, 8))
    x = draw(1, 2, 12, 8)
    loss = lambda model: lambda params: (model.apply(params, x, key=key) ** 2).sum()
    close = lambda a, b: assert_close(a, b, "float32")
    jax.tree.map(close, *[jax.grad(loss(m))(params) for m in (again, model)])
    assert jax.tree.structure(params) == jax.tree.structure(model.init(key, (12, 8)))
    sizes = sum(a.size for a in jax.tree.leaves(params))
    inputs = x.size + 2 * 12 * 16 * 5  # of the dense layer; of three blocks, their norm, and the residual
    assert kept_bytes(again, params, x) <= 4 * (inputs + sizes)
    assert kept_bytes(model, params, x) > 4 * (inputs + sizes)


def test_what_is_no_layer_is_named():
    for combine in (nn.serial, nn.parallel, nn.concatenate, nn.residual, lambda *layers: nn.share(layers[-1], 2)):
        with pytest.raises(TypeError, match=r"is no layer; nn.function\(f\) makes one of a function"):
            combine(nn.dense(2), jnp.tanh)


@pytest.mark.parametrize("width", [0, -1, 2.5])
def test_a_width_is_a_whole_number(width, key):
    for layer, shape in (
        (nn.dense(width), (3,)),
        (nn.conv(width, 3), (8, 8, 1)),
        (nn.conv_transpose(width, 3), (8, 8, 1)),
    ):
        with pytest.raises(ValueError, match="a layer's outputs must be a whole number, 1 or more, got"):
            layer.init(key, shape)
