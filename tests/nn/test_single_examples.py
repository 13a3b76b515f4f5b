"""Layers and models take one example, or any leading axes, and give what they give for a batch."""

import jax
import jax.numpy as jnp
import pytest

from jaxdl import automatic, nn, ops
from tests.draws import draw
from tests.tolerance import assert_close

IMAGE, WINDOWS = (6, 5, 4), {"stride": 2, "padding": "SAME"}
SEQUENCES = {
    "attention": nn.attention(2, kv_heads=1),
    "transformer_encoder": nn.transformer_encoder(1, 2, nn.swiglu_feed_forward(6), causal=True),
    "feed_forward": nn.feed_forward(6, ops.relu),
    "layer_norm": nn.layer_norm(),
    "rms_norm": nn.rms_norm(),
}
IMAGES = {
    "conv": nn.conv(2, 3, groups=2, **WINDOWS),
    "conv_transpose": nn.conv_transpose(2, 3, **WINDOWS),
    "max_pool": nn.max_pool(2, **WINDOWS),
    "avg_pool": nn.avg_pool(2, **WINDOWS),
    "global_avg_pool": nn.global_avg_pool,
    "local_response_norm": nn.local_response_norm(),
    "inception": nn.inception(2, (2, 2), (2, 2), 2),
    "flatten, no vector": nn.serial(nn.flatten, nn.leaky_relu(), nn.dropout(0.5), nn.dense(2)),
    "reshape": nn.serial(nn.reshape(30, 4), nn.dense(2), nn.reshape(3, 20)),
    "dense autoencoder": nn.dense_autoencoder(IMAGE, 3, (5,)),
    "linear autoencoder": nn.linear_autoencoder(IMAGE, 3),
    "logistic regression": nn.logistic_regression(),
    "tokens": nn.image_tokens(1, 3),
}
VECTORS = {
    "mlp": nn.mlp(3, 2),
    "linear network": nn.linear_network(3, 2),
    "perceptron": nn.perceptron(),
    "residual": nn.residual(nn.share(nn.dense(4), 2)),
    "parallel": nn.parallel(nn.dense(2), nn.tanh),
}
CASES = {
    **{name: (layer, (5, 4)) for name, layer in SEQUENCES.items()},
    **{name: (layer, IMAGE) for name, layer in IMAGES.items()},
    **{name: (layer, (4,)) for name, layer in VECTORS.items()},
    "mlp of one number": (nn.mlp(3, 2), (1,)),
    "six ReLUs": (nn.six_relus(), (1,)),
    "lenet5": (nn.lenet5(), (28, 28, 1)),
    "small_convnet": (nn.small_convnet(), (4, 4, 1)),
    "convolutional autoencoder": (nn.conv_autoencoder(), (28, 28, 1)),
    "fully convolutional": (nn.fully_convolutional(), (8, 8, 1)),
    "vit": (nn.vit(3, patch=2, width=4, depth=1, heads=2), (4, 4, 1)),
    "sentiment": (nn.sentiment_classifier(5, width=4, heads=2), jax.ShapeDtypeStruct((3,), jnp.int32)),
    "text tower": (
        nn.text_tower(2, vocabulary=5, width=4, depth=1, heads=2), jax.ShapeDtypeStruct((3,), jnp.int32)
    ),
}  # fmt: skip
LARGE = {
    "AlexNet": (nn.alexnet(), (224, 224, 3)),
    "AlexNet, two towers": (nn.alexnet(grouped=True), (227, 227, 3)),
    "NiN": (nn.nin_cifar10(), (32, 32, 3)),
    "GoogLeNet": (nn.googlenet(auxiliary=True), (224, 224, 3)),
    "CLIP": (nn.image_tower(8, patch=32, width=8, depth=1, heads=1), (224, 224, 3)),
}


def inputs(shape, *lead):
    if isinstance(shape, jax.ShapeDtypeStruct):
        return jnp.arange(1, 1 + 6 * 3).reshape(6, 3)[: jnp.zeros(lead).size].reshape(*lead, 3) % 5
    return draw(0, *lead, *shape)


@pytest.mark.parametrize("name", CASES)
def test_any_leading_axes(name, key):
    model, shape = CASES[name]
    params, x = model.init(key, shape), inputs(shape, 6)
    apply = jax.jit(model.apply)
    by_batch = apply(params, x)
    close = lambda got, want: assert_close(got, want, "float32")
    jax.tree.map(close, apply(params, x[0]), jax.tree.map(lambda y: y[0], by_batch))
    if name not in ("reshape", "flatten, no vector"):
        two_axes = apply(params, x.reshape(2, 3, *x.shape[1:]))
        jax.tree.map(close, two_axes, jax.tree.map(lambda y: y.reshape(2, 3, *y.shape[1:]), by_batch))


@pytest.mark.parametrize("name", LARGE)
def test_one_example_of_large_models(name, key):
    model, shape = LARGE[name]
    params = jax.eval_shape(lambda k: model.init(k, shape), key)
    of = lambda *lead: jax.eval_shape(model.apply, params, jax.ShapeDtypeStruct((*lead, *shape), jnp.float32))
    assert [(2, *y.shape) for y in jax.tree.leaves(of())] == [y.shape for y in jax.tree.leaves(of(2))]


OPS = {
    "conv2d": ops.conv2d,
    "conv2d in another form": ops.conv2d.in_form("eigen"),
    "conv_transpose2d": lambda x, w: ops.conv_transpose2d(x, w.mT, stride=2),
    "conv2d_kernel_gradient": lambda x, w: ops.conv2d_kernel_gradient(x, ops.conv2d(x, w), window=2),
    "max_pool": lambda x, w: ops.max_pool(x, window=3, stride=2),
    "avg_pool": lambda x, w: ops.avg_pool(x, window=3, stride=2),
    "global_avg_pool": lambda x, w: ops.global_avg_pool(x),
}


@pytest.mark.parametrize("name", OPS)
def test_values_and_cotangents_of_ops(name):
    """One image, and two leading axes, give what a batch gives; so do their derivatives by hand and automatic."""
    x, w = draw(0, 1, *IMAGE), draw(1, 2, 2, 4, 3)
    loss = lambda f: lambda x: jnp.sin(f(x, w)).sum()
    both = lambda f: jax.jit(jax.value_and_grad(loss(f)))
    value, dx = both(OPS[name])(x)
    for f in (OPS[name], automatic(OPS[name])):
        for lead in ((), (1, 1)):
            again, of_one = both(f)(x.reshape(*lead, *IMAGE))
            assert_close(again, value, "float32")
            assert_close(of_one, dx.reshape(*lead, *IMAGE), "float32")
