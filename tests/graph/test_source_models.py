"""Every model has a source, with the same values and derivatives."""

import jax
import jax.numpy as jnp
import pytest

from jaxdl import nn
from jaxdl.example_calls import EXAMPLES
from jaxdl.ops.windows import CEIL
from tests.draws import draw
from tests.graph.written_source import assert_same
from tests.nn.test_models import small_clip


@pytest.mark.parametrize("name", EXAMPLES)
def test_of_the_lectures_examples(name):
    f, args = EXAMPLES[name]()
    assert_same(f, *args)


# As small as they can be.
MODELS = {
    "McCulloch-Pitts": (nn.mcculloch_pitts([1, -1], 1), (2,)),
    "perceptron": (nn.perceptron(), (2,)),
    "logistic regression": (nn.logistic_regression(), (2,)),
    "linear classifier": (nn.linear_classifier(3), (4,)),
    "linear network": (nn.linear_network(4, 3), (5,)),
    "XOR network": (nn.xor_network(), (2,)),
    "six ReLUs": (nn.six_relus(), (1,)),
    "interpolation by ReLUs": (nn.relu_interpolation(jnp.sin, -1.0, 3.0, 4), (1,)),
    "mlp": (nn.mlp(8, 3), (4,)),
    "shared layer": (nn.residual(nn.share(nn.serial(nn.dense(5), nn.tanh), 3)), (5,)),
    "linear autoencoder": (nn.linear_autoencoder((4, 4, 1), 3), (4, 4, 1)),
    "dense autoencoder": (nn.denoising(nn.dense_autoencoder((4, 4, 1), 3, (7, 5)), 0.5), (4, 4, 1)),
    "convolutional autoencoder": (nn.conv_autoencoder(4), (28, 28, 1)),
    "LeNet": (nn.lenet5(3), (28, 28, 1)),
    "small convnet": (nn.small_convnet(3), (4, 4, 1)),
    "normalised convolution": (nn.serial(nn.conv(3, 3), nn.batch_norm(), nn.relu), (6, 6, 2)),
    "fully convolutional": (nn.fully_convolutional(3), (8, 10, 1)),
    "NiN, CIFAR-10": (nn.nin_cifar10(3), (8, 8, 3)),
    "NiN, ImageNet": (nn.nin_imagenet(3), (51, 51, 3)),
    "AlexNet, one tower": (nn.alexnet(3), (63, 63, 3)),
    "AlexNet, two towers": (nn.alexnet(3, grouped=True), (67, 67, 3)),
    "GoogLeNet's parts": (  # the whole takes 20 seconds to compile
        nn.serial(
            nn.conv(4, 7, stride=2, padding="SAME"),
            nn.max_pool(3, 2, CEIL),
            nn.local_response_norm(size=5, k=1.0, alpha=1e-4, beta=0.75),
            nn.inception(4, (3, 4), (2, 3), 2),
            nn.global_avg_pool,
        ),
        (16, 16, 3),
    ),
    "swiglu transformer": (nn.transformer_encoder(1, 2, nn.swiglu_feed_forward(8), causal=True), (5, 8)),
    "vision transformer": (nn.vit(3, patch=4, width=8, depth=2, heads=2), (8, 8, 1)),
}


def thin(params):
    """A sixteenth of each layer's width; kernels are as large as before."""
    narrow = lambda n: n if n <= 11 else n // 16
    return jax.tree.map(lambda p: 0.3 * draw(p.size, *map(narrow, p.shape)), params)


@pytest.mark.parametrize("name", MODELS)
def test_of_models(name, key):
    model, shape = MODELS[name]
    params = jax.eval_shape(lambda: model.init(key, shape))
    is_wide = nn.parameter_count(params) > 500_000
    assert_same(model.apply, thin(params) if is_wide else model.init(key, shape), draw(1, 2, *shape))


TOKENS = jnp.array([[4, 9, 3, 0, 0], [1, 2, 5, 6, 7]])


def test_of_models_of_texts(key):
    model = nn.sentiment_classifier(20, width=8)
    assert_same(model.apply, model.init(key, (5,)), TOKENS)
    model = small_clip()
    assert_same(model.apply, model.init(key, ((8, 8, 1), (5,))), (draw(0, 2, 8, 8, 1), TOKENS))


def test_of_dropout_and_noise(key):
    model = nn.denoising(nn.serial(nn.dense(4), nn.dropout(0.5)), 0.5)
    assert_same(lambda p, x, key: model.apply(p, x, key=key), model.init(key, (3,)), draw(1, 2, 3), key)
