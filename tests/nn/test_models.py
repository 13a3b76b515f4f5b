"""The lectures' models: published parameter counts and shapes, and the numbers that the lectures give."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import automatic, data, nn, ops
from tests.draws import draw
from tests.tolerance import assert_close

IMAGE = (224, 224, 3)
# Model, shape of an input, published number of parameters, shape of an output.
PUBLISHED = {
    "LeNet-5": (nn.lenet5(), (28, 28, 1), 61_706, (10,)),
    "AlexNet, two towers": (nn.alexnet(grouped=True), (227, 227, 3), 60_965_224, (1000,)),
    "AlexNet, one tower": (nn.alexnet(), IMAGE, 61_100_840, (1000,)),
    "NiN, ImageNet": (nn.nin_imagenet(), IMAGE, 7_595_176, (1000,)),
    "NiN, CIFAR-10": (nn.nin_cifar10(), (32, 32, 3), 966_986, (10,)),
    "GoogLeNet": (nn.googlenet(), IMAGE, 6_998_552, (1000,)),
    "convolutional autoencoder": (nn.conv_autoencoder(), (28, 28, 1), 112_457, (28, 28, 1)),
    "ViT-B/16": (nn.vit_b16(), IMAGE, 86_567_656, (1000,)),
    "fully convolutional": (nn.fully_convolutional(), (8, 8, 1), 13_706, (1, 1, 10)),
}
SMALL_VIT = nn.vit(10, patch=4, width=16, depth=2, heads=2)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name, key):
    model, shape, count, out = PUBLISHED[name]
    params = jax.eval_shape(lambda k: model.init(k, shape), key)
    assert nn.parameter_count(params) == count
    assert jax.eval_shape(model.apply, params, jax.ShapeDtypeStruct((2, *shape), jnp.float32)).shape == (2, *out)


def test_clips_count(key):
    model = nn.clip_vit_b32()
    params = jax.eval_shape(lambda k: model.init(k, (IMAGE, (77,))), key)
    assert nn.parameter_count(params) == 151_277_313
    inputs = jax.ShapeDtypeStruct((2, *IMAGE), jnp.float32), jax.ShapeDtypeStruct((2, 77), jnp.int32)
    image, text, scale = jax.eval_shape(model.apply, params, inputs)
    assert image.shape == text.shape == (2, 512)
    assert scale.shape == ()


def test_googlenets_auxiliary_heads(key):
    model = nn.googlenet(7, auxiliary=True)
    params = jax.eval_shape(lambda k: model.init(k, IMAGE), key)
    x = jax.ShapeDtypeStruct((2, *IMAGE), jnp.float32)
    assert [y.shape for y in jax.eval_shape(model.apply, params, x)] == [(2, 7)] * 3
    heads = nn.parameter_count(params) - nn.parameter_count(
        jax.eval_shape(lambda k: nn.googlenet(7).init(k, IMAGE), key)
    )
    each = lambda channels: (channels * 128 + 128) + (4 * 4 * 128 * 1024 + 1024) + (1024 * 7 + 7)
    assert heads == each(512) + each(528)


def test_the_autoencoders_sizes(key):
    """28 → 24 → 20 → 9 → 4 → 1 and back, as the lecture's table has them."""

    def sizes(model, shape):
        params = jax.eval_shape(lambda k: model.init(k, shape), key)
        jaxpr = jax.make_jaxpr(model.apply)(params, jax.ShapeDtypeStruct((77, *shape), jnp.float32))
        images = [v.aval.shape for equation in jaxpr.eqns for v in equation.outvars if v.aval.shape[0] == 77]
        return list(dict.fromkeys([shape[0], *(image[1] for image in images)]))

    assert sizes(nn.conv_encoder(8), (28, 28, 1)) == [28, 24, 20, 9, 4, 1]
    assert sizes(nn.conv_decoder(), (1, 1, 8)) == [1, 4, 9, 20, 24, 28]


GRADIENTS = {
    "lenet5": (nn.lenet5(), (28, 28, 1)),
    "mlpconv": (nn.nin_cifar10(), (8, 8, 3)),
    "inception": (nn.inception(4, (3, 4), (2, 3), 2), (6, 6, 5)),
    "fully convolutional": (nn.fully_convolutional(), (8, 10, 1)),
    "convolutional autoencoder": (nn.conv_autoencoder(4), (28, 28, 1)),
    "vit": (SMALL_VIT, (8, 8, 1)),
    "residual and share": (nn.residual(nn.share(nn.serial(nn.dense(5), nn.tanh), 3)), (5,)),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_are_the_automatic_ones(name, key):
    model, shape = GRADIENTS[name]
    params, x = model.init(key, shape), draw(0, 2, *shape)
    dy = draw(1, *jax.eval_shape(model.apply, params, x).shape)
    gradient = lambda f: jax.jit(jax.grad(lambda p: (f(p, x) * dy).sum()))(params)
    for got, want in zip(*(jax.tree.leaves(gradient(f)) for f in (model.apply, automatic(model.apply))), strict=True):
        assert_close(got, want, "float32")


# --- the lectures' numbers --------------------------------------------------------------------------


def test_mcculloch_pitts_neurons_are_gates():
    x, xor = data.xor()
    neuron = lambda w, t: nn.mcculloch_pitts(w, t)
    run = lambda model, x: model.apply(model.init(None, (x.shape[1],)), x)[:, 0]
    both, either = run(neuron([1, 1], 2), x), run(neuron([1, 1], 1), x)
    assert both.tolist() == [0, 0, 0, 1]
    assert either.tolist() == [0, 1, 1, 1]
    assert run(neuron([-1], 0), x[:, :1]).tolist() == [1, 0, 1, 0]
    assert run(neuron([1, -1], 1), jnp.stack([either, both], 1)).tolist() == xor.tolist()


def test_perceptron_rule_by_hand(key):
    """On (1, 2) → 0: the neuron, all zeros, fires, and is wrong: w = −(1, 2), b = −1. Then (3, 1) → 1 is wrong too."""
    params = nn.perceptron().init(key, (2,))
    x, y = jnp.array([[1.0, 2.0], [3.0, 1.0]]), jnp.array([0, 1])
    params, mistakes = nn.perceptron_rule(params, x, y)
    assert mistakes == 2
    assert params[0]["w"][:, 0].tolist() == [2, -1]
    assert params[0]["b"].tolist() == [0]


def test_the_perceptron_converges_within_novikoffs_bound(key):
    x, y = data.separated(200, 0.1, 0)
    params, total, mistakes = nn.perceptron().init(key, (2,)), 0, 1
    while mistakes:
        params, mistakes = nn.perceptron_rule(params, jnp.asarray(x), jnp.asarray(y))
        total += int(mistakes)
    assert 0 < total <= 2 / 0.1**2  # R² = 1 + 1 with the bias
    assert np.array_equal(nn.perceptron().apply(params, x)[:, 0], y)


def test_xor_is_not_linear_but_in_the_feature_space():
    x, y = data.xor()
    with_bias = lambda x: np.concatenate([x, np.ones((4, 1))], 1)
    fit = lambda x: np.linalg.lstsq(with_bias(x), y, rcond=None)
    w, *_ = fit(x)
    assert np.allclose(w, [0, 0, 0.5])
    features = np.asarray(nn.xor_features(jnp.asarray(x)))
    assert features.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]]
    w, *_ = fit(features)
    assert np.allclose(w, [1, 1, -2, 0])


def test_gradient_descent_finds_the_linear_fit_of_xor(key):
    """The lecture's optimum, w = 0 and b = ½, by the gradient of the mean squared error."""
    x, y = map(jnp.asarray, data.xor())
    model = nn.linear_network(1)
    loss = lambda p: ops.squared_error(model.apply(p, x)[:, 0], y.astype(jnp.float32)).mean()
    params = model.init(key, (2,))
    step = jax.jit(lambda p: jax.tree.map(lambda p, g: p - 0.5 * g, p, jax.grad(loss)(p)))
    for _ in range(300):
        params = step(params)
    assert jnp.allclose(params[0]["w"], 0, atol=1e-5)
    assert jnp.allclose(params[0]["b"], 0.5, atol=1e-5)


def test_a_linear_network_collapses(key):
    deep = nn.linear_network(4, 3, 2)
    params = jax.tree.map(lambda p: draw(p.size, *p.shape), deep.init(key, (5,)))
    x = draw(0, 6, 5)
    assert_close(nn.linear_network(2).apply(nn.collapsed(params), x), deep.apply(params, x), "float32")


def test_the_relu_network_solves_xor():
    x, y = data.xor()
    model = nn.xor_network()
    params = model.init(None, (2,))
    assert model.apply(params, x)[:, 0].tolist() == [0, 1, 1, 0] == y.tolist()
    hidden = nn.relu.apply((), nn.dense(2).apply(params[1], x))
    assert hidden.tolist() == [[0, 0], [1, 0], [1, 0], [2, 1]]


def test_the_logistic_heads_loss_is_softplus(key):
    model = nn.logistic_regression()
    params = ((), {"w": jnp.array([[2.0], [-1.0]]), "b": jnp.array([0.5])})
    assert jax.tree.structure(model.init(key, (2,))) == jax.tree.structure(params)
    x, y = jnp.array([[1.0, 1.0], [0.0, 2.0]]), jnp.array([1, 0])
    z = model.apply(params, x)
    assert z.tolist() == [1.5, -1.5]
    assert_close(ops.logistic_loss(z, y, reduce=None), ops.softplus((1 - 2 * y.astype(jnp.float32)) * z), "float32")


def test_six_relus():
    model = nn.six_relus()
    params = model.init(None, (1,))
    at = lambda x: model.apply(params, jnp.array([[x]]))[0, 0].item()
    relu = lambda x: max(x, 0)
    for x in (-2.0, -1.2, 0.3, 1.5):
        n = [-5 * x - 7.7, -1.2 * x - 1.3, 1.2 * x + 1, 1.2 * x - 0.2, 2 * x - 1.1, 5 * x - 5]
        want = sum(sign * relu(v) for sign, v in zip((-1, -1, -1, 1, 1, 1), n, strict=True))
        assert at(x) == pytest.approx(want, abs=1e-5)
        assert abs(at(x) - (x**3 + x**2 - x - 1)) < 0.6


def test_relu_interpolation_has_its_bound():
    f, errors = jnp.sin, []
    x = jnp.linspace(-1, 3, 2001)[:, None]
    for width in (8, 16, 32):
        model = nn.relu_interpolation(f, -1.0, 3.0, width)
        params = model.init(None, (1,))
        errors.append(float(jnp.abs(model.apply(params, x) - f(x)).max()))
        assert errors[-1] <= (4 / width) ** 2 / 8 * 1.001 + 1e-6
        assert params[1]["w"].shape == (1, width)
    assert errors[2] < errors[0] / 14
    with pytest.raises(ValueError, match=r"relu_interpolation: width must be 1 or more and a < b, got 3, \[2, 1\]"):
        nn.relu_interpolation(f, 2, 1, 3)


# --- convolutional and attention models ---------------------------------------------------------------


def test_fully_convolutional_is_the_classifier_in_every_window(key):
    model = nn.fully_convolutional(3)
    params, x = model.init(key, (8, 8, 1)), draw(0, 2, 12, 14, 1)
    scores = model.apply(params, x)
    assert scores.shape == (2, 3, 4, 3)
    for i in range(3):
        for j in range(4):
            window = x[:, 2 * i : 2 * i + 8, 2 * j : 2 * j + 8]
            assert_close(scores[:, i, j], model.apply(params, window)[:, 0, 0], "float32")


def test_a_dense_head_as_a_convolution(key):
    features = nn.serial(nn.conv(4, 3), nn.relu)
    dense = nn.serial(features, nn.flatten, nn.dense(5))
    params = dense.init(key, (6, 7, 2))
    head = nn.convolutional_head(params[2], (4, 5))
    convolutional = nn.serial(features, nn.conv(5, (4, 5)))
    x = draw(0, 3, 6, 7, 2)
    assert_close(convolutional.apply((params[0], head), x)[:, 0, 0], dense.apply(params, x), "float32")
    assert convolutional.apply((params[0], head), draw(0, 1, 8, 8, 2)).shape == (1, 3, 2, 5)
    with pytest.raises(ValueError, match="convolutional_head: 80 inputs are not a multiple of 3 × 4"):
        nn.convolutional_head(params[2], (3, 4))


def test_encoder_and_decoder_are_the_autoencoder(key):
    model = nn.dense_autoencoder((4, 4, 1), code=3, widths=(7, 5))
    params, x = model.init(key, (4, 4, 1)), draw(0, 2, 4, 4, 1)
    code = nn.dense_encoder(3, (7, 5)).apply(params[0], x)
    assert code.shape == (2, 3)
    assert (nn.dense_decoder((4, 4, 1), (5, 7)).apply(params[1], code) == model.apply(params, x)).all()


def test_denoising_adds_noise_in_training_only(key):
    inner = nn.linear_autoencoder((4,), 2)
    model = nn.denoising(inner, 0.5)
    params, x = model.init(key, (4,)), draw(0, 500, 4)
    assert (model.apply(params, x) == inner.apply(params[1], x)).all()
    noise = nn.gaussian_noise(0.5).apply((), x, key=key) - x
    assert float(noise.std()) == pytest.approx(0.5, rel=0.05)
    assert not jnp.allclose(model.apply(params, x, key=key), model.apply(params, x))


def test_denoising_takes_any_corruption(key):
    inner, x = nn.linear_autoencoder((4,), 2), draw(0, 5, 4)
    model = nn.denoising(inner, lambda key, x: jnp.where(jax.random.bernoulli(key, 0.5, x.shape), -1, x))
    params = model.init(key, (4,))
    (first_key, _) = jax.random.split(key)  # of serial's two layers
    erased = jnp.where(jax.random.bernoulli(first_key, 0.5, x.shape), -1, x)
    assert (model.apply(params, x, key=key) == inner.apply(params[1], erased)).all()
    assert (model.apply(params, x) == inner.apply(params[1], x)).all()


def test_denoising_refuses_what_is_no_corruption(key):
    inner = nn.linear_autoencoder((4,), 2)
    with pytest.raises(TypeError, match="got Layer; a layer is put in front by serial"):
        nn.denoising(inner, nn.dropout(0.3))
    model = nn.denoising(inner, lambda key, x: x[:, :3])
    with pytest.raises(ValueError, match=r"of x, float32\[2, 4\], but gave float32\[2, 3\]"):
        model.apply(model.init(key, (4,)), draw(0, 2, 4), key=key)


def test_padding_is_not_seen(key):
    model = nn.sentiment_classifier(50, width=8)
    params = model.init(key, (6,))
    short, other = (
        jnp.array([[4, 9, 0, 0, 0, 0]]),
        params | {"words": {"table": params["words"]["table"].at[0].add(9.0)}},
    )
    assert_close(model.apply(params, short), model.apply(other, short), "float32")
    weights = nn.sentiment_attention(params, short)
    assert weights.shape == (1, 1, 6, 6)
    assert (weights[..., 2:] == 0).all()
    assert_close(weights.sum(-1), jnp.ones((1, 1, 6)), "float32")
    with pytest.raises(ValueError, match=r"sentiment_classifier: tokens must be \(\*n, 6\)"):
        model.apply(params, short[:, :5])


def test_attention_weights_make_the_attention(key):
    layer = nn.attention(2)
    params, x = layer.init(key, (5, 8)), draw(0, 3, 5, 8)
    mask = jnp.arange(5)[None, None, None] < 4
    weights = nn.attention_weights(params, x, 2, mask)
    v = (x @ params["v"]["w"] + params["v"]["b"][None, None]).reshape(3, 5, 2, 4)
    o = jnp.einsum("nhlm,nmhe->nlhe", weights, v).reshape(3, 5, 8)
    assert_close(layer.apply(params, x, mask=mask), o @ params["out"]["w"], "float32")


def test_a_transformers_block_by_hand(key):
    block = nn.transformer_block(2, nn.feed_forward(12, ops.relu))
    params, x = block.init(key, (5, 8)), draw(0, 3, 5, 8)
    norm = nn.layer_norm()
    h = x + nn.attention(2).apply(params["attention"], norm.apply(params["attention_norm"], x))
    p, z = params["feed_forward"], norm.apply(params["feed_forward_norm"], h)
    y = h + jnp.maximum(z @ p["w_in"], 0) @ p["w_out"]
    assert_close(block.apply(params, x), y, "float32")
    encoder = nn.transformer_encoder(1, 2, nn.feed_forward(12, ops.relu))
    whole = {"blocks": (params,), "norm": norm.init(None, (5, 8))}
    assert_close(encoder.apply(whole, x), norm.apply(whole["norm"], y), "float32")


def test_a_vit_has_no_order_but_its_positions(key):
    params = SMALL_VIT.init(key, (8, 8, 1))
    params = (*params[:-1], {"w": draw(1, 16, 10), "b": draw(2, 10)})  # the head starts at 0
    x = draw(0, 2, 8, 8, 1)
    swapped = jnp.concatenate([x[:, :, 4:], x[:, :, :4]], 2)
    assert not jnp.allclose(SMALL_VIT.apply(params, x), SMALL_VIT.apply(params, swapped), atol=1e-3)
    tokens = params[0] | {"positions": jnp.zeros_like(params[0]["positions"])}
    blind = (tokens, *params[1:])
    assert_close(SMALL_VIT.apply(blind, x), SMALL_VIT.apply(blind, swapped), "float32")
    with pytest.raises(ValueError, match=r"image_tokens: images of shape \(8, 12, 1\) have 6 patches.* for 4"):
        SMALL_VIT.apply(params, draw(0, 2, 8, 12, 1))
    with pytest.raises(ValueError, match="image_tokens: images must be cut into patches of 4 × 4"):
        SMALL_VIT.init(key, (9, 8, 1))


def small_clip():
    return nn.clip(
        nn.image_tower(6, patch=4, width=8, depth=1, heads=2),
        nn.text_tower(6, vocabulary=20, width=8, depth=1, heads=2),
    )


def test_clips_features_and_temperature(key):
    model = small_clip()
    params = model.init(key, ((8, 8, 1), (5,)))
    tokens = jnp.array([[1, 2, 19, 0, 0], [3, 4, 5, 6, 19]])
    image, text, scale = model.apply(params, (draw(0, 2, 8, 8, 1), tokens))
    assert_close((image**2).sum(-1), jnp.ones(2), "float32")
    assert_close((text**2).sum(-1), jnp.ones(2), "float32")
    assert float(scale) == pytest.approx(1 / 0.07, rel=1e-5)
    assert model.apply(params | {"log_scale": jnp.asarray(9.0)}, (draw(0, 2, 8, 8, 1), tokens))[2] == 100
    after_the_end = tokens.at[0, 3].set(7)
    assert_close(model.apply(params, (draw(0, 2, 8, 8, 1), after_the_end))[1], text, "float32")
    before_the_end = tokens.at[0, 1].set(7)
    assert jnp.abs(model.apply(params, (draw(0, 2, 8, 8, 1), before_the_end))[1] - text)[0].max() > 0.01
    assert nn.zero_shot(text, text).tolist() == [0, 1]
    with pytest.raises(ValueError, match=r"text_tower: tokens must be \(\*n, 5\)"):
        model.apply(params, (draw(0, 2, 8, 8, 1), tokens[:, :4]))


def test_clip_learns_pairs(key):
    model = small_clip()
    images, tokens = draw(0, 4, 8, 8, 1), jnp.array([[i, 19, 0, 0, 0] for i in range(1, 5)])
    params = model.init(key, ((8, 8, 1), (5,)))
    loss = jax.jit(jax.value_and_grad(lambda p: ops.contrastive_loss(*model.apply(p, (images, tokens)))))
    optimizer = optax.adam(0.01)
    state, (first, _) = optimizer.init(params), loss(params)
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(40):
            value, gradient = loss(params)
            updates, state = optimizer.update(gradient, state)
            params = optax.apply_updates(params, updates)
    assert value < first / 3


def test_combinators(key):
    one, two = nn.dense(2), nn.dense(3)
    params, x = nn.parallel(one, two).init(key, (4,)), draw(0, 5, 4)
    a, b = nn.parallel(one, two).apply(params, x)
    assert (nn.concatenate(one, two).apply(params, x) == jnp.concatenate([a, b], 1)).all()
    with pytest.raises(ValueError, match=r"residual: .* keep the shape of their input, \(5, 4\), but gave \(5, 2\)"):
        nn.residual(one).apply((params[0],), x)
    shared = nn.share(nn.dense(4), 3)
    weights = shared.init(key, (4,))
    once = lambda x: nn.dense(4).apply(weights, x)
    assert_close(shared.apply(weights, x), once(once(once(x))), "float32", "share")
    words = nn.serial(nn.embedding(9, 4), nn.flatten, nn.dense(2))
    tokens = jax.ShapeDtypeStruct((3,), jnp.int32)
    assert words.apply(words.init(key, tokens), jnp.ones((2, 3), jnp.int32)).shape == (2, 2)
