"""In compiled loops on a CPU the convolutions of any model have the order of axes for which XLA has libraries there."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from jaxdl import automatic, data, nn, ops, stock
from jaxdl import jaxpr as jx
from jaxdl.train import compiled_epoch, fit, step_runners, training_step
from jaxdl.train.compiled_loops import fast_in_loops
from tests.draws import draw
from tests.tolerance import assert_close
from tests.train.small_run import assert_same_bits

IMAGE = (8, 8, 3)
X, Y = np.asarray(draw(0, 32, *IMAGE)), np.arange(32, dtype=np.int32) % 4
CROSS_ENTROPY = ops.softmax_cross_entropy_with_integer_labels
CONVNET = nn.serial(nn.conv(16, 3), nn.tanh, nn.conv(16, 3), nn.flatten, nn.dense(4))


def stock_layer(channels, inputs, numbers, **settings):
    """A layer of `lax.conv_general_dilated` in any order of axes."""
    shape = {"O": channels, "I": inputs, "H": 3, "W": 3}

    def init(key, _):
        return 0.2 * jax.random.normal(key, [shape[axis] for axis in numbers[1]])

    def apply(w, x, *, key=None):
        return lax.conv_general_dilated(x, w, dimension_numbers=numbers, window_strides=(1, 1), padding="SAME")

    return nn.Layer(init, apply)


channels_first = nn.Layer(lambda key, shape: (), lambda params, x, *, key=None: jnp.moveaxis(x, 3, 1))
NCHW = ("NCHW", "OIHW", "NCHW")
MODELS = {
    "automatic": nn.with_function(CONVNET, automatic),
    "stock": nn.with_function(CONVNET, stock),
    "channels first": nn.serial(
        channels_first, stock_layer(16, 3, NCHW), nn.relu, stock_layer(16, 16, NCHW), nn.flatten, nn.dense(4)
    ),
    "checkpointed": nn.with_function(
        CONVNET, lambda apply: jax.checkpoint(automatic(apply), policy=jax.checkpoint_policies.dots_saveable)
    ),
}


def trained(model, key, **settings):
    settings = {"batch": 8, "quiet": True, "data": (X, Y), "epochs": 1} | settings
    return fit(model, CROSS_ENTROPY, settings.pop("data"), optax.sgd(0.05), settings.pop("epochs"), key, **settings)


def convolutions(jaxpr, inside=False):
    """(record, numbers in the kernel) of each convolution in the loops of a jaxpr."""
    found = []
    for eqn in jx.opened(jaxpr).eqns:
        if inside and eqn.primitive.name == "conv_general_dilated":
            found.append((jx.convolution(eqn), eqn.invars[1].aval.size))
        for body in jx.inner_jaxprs(eqn):
            found += convolutions(body, inside or eqn.primitive.name in ("scan", "while"))
    return found


def is_canonical(c):
    images, kernel = jx.library_axes(len(c.strides))
    return (c.lhs, c.rhs, c.out) == (images, kernel, images)


def are_fast(jaxpr):
    """Whether there are convolutions in loops, and those with large kernels have the library's order of axes."""
    found = convolutions(jaxpr)
    return bool(found) and all(is_canonical(c) for c, size in found if size >= 300)


@pytest.fixture
def programs(monkeypatch):
    """The jaxprs of the programs that `fit` compiles."""
    found = []

    def recorded(steps, platform):
        fast = fast_in_loops(steps, platform)

        def noted(*args):
            found.append(jax.make_jaxpr(fast)(*args))
            return fast(*args)

        return noted

    monkeypatch.setattr(step_runners, "fast_in_loops", recorded)
    return found


@pytest.mark.parametrize("name", MODELS)
def test_fit_s_convolutions_have_the_order_of_the_library(name, programs, key):
    trained(MODELS[name], key)
    (program,) = programs
    assert len(convolutions(program)) >= 5
    assert are_fast(program)


@pytest.mark.parametrize("name", MODELS)
def test_the_steps_are_those_taken_one_by_one(name, key):
    model, rows = MODELS[name], np.arange(32).reshape(4, 8)
    optimizer, params = optax.sgd(0.05), model.init(key, IMAGE)
    state, step = optimizer.init(params), jax.jit(training_step(model, CROSS_ENTROPY, optimizer))
    epoch = compiled_epoch(model, CROSS_ENTROPY, optimizer)
    assert are_fast(jax.make_jaxpr(epoch)(params, state, X, Y, rows, key))
    in_loop, _, losses = epoch(params, state, X, Y, rows, key)
    for i, its_key in enumerate(jax.random.split(key, 4)):
        params, state, loss = step(params, state, X[rows[i]], Y[rows[i]], its_key)
        assert_close(losses[i], loss, "float32")
    jax.tree.map(lambda a, b: assert_close(a, b, "float32"), in_loop, params)


GEOMETRIES = {
    "stride": {"window_strides": (2, 1)},
    "padding": {"padding": ((2, 0), (-1, 3))},
    "dilated kernel": {"rhs_dilation": (1, 2)},
    "dilated image": {"lhs_dilation": (2, 1), "padding": ((1, 1), (0, 2))},
    "two groups": {"feature_group_count": 2},
    "many groups": {"feature_group_count": 16},
    "bfloat16": {"dtype": jnp.bfloat16},
}


@pytest.mark.parametrize("order", [("NHWC", "HWIO", "NHWC"), NCHW, ("CWNH", "IWOH", "WNCH")])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_geometry_has_the_same_value_and_derivatives(name, order):
    settings = {"window_strides": (1, 1), "padding": "SAME"} | GEOMETRIES[name]
    dtype, groups = settings.pop("dtype", jnp.float32), settings.get("feature_group_count", 1)
    sizes = {"N": 4, "C": 16, "H": 5, "W": 6, "O": 16, "I": 16 // groups}
    x = draw(1, *[sizes[axis] for axis in order[0]], dtype=dtype)
    w = draw(2, *[sizes[axis] if axis in "IO" else 3 for axis in order[1]], dtype=dtype)
    f = lambda x, w: lax.conv_general_dilated(x, w, dimension_numbers=order, **settings)

    def both(x, w):
        y, pullback = jax.vjp(f, x, w)
        return y, *pullback(jnp.cos(y))

    def looped(x, w):
        zeros = jax.tree.map(jnp.zeros_like, both(x, w))
        return lax.fori_loop(0, 2, lambda i, total: jax.tree.map(jnp.add, total, both(x, w)), zeros)

    fast = fast_in_loops(looped, "cpu")
    found = convolutions(jax.make_jaxpr(fast)(x, w))
    if groups == 1:
        assert len(found) == 3
        assert all(is_canonical(c) for c, _ in found)
    for got, want in zip(fast(x, w), looped(x, w), strict=True):
        assert_close(got, want, dtype)


@pytest.mark.parametrize("space", [1, 3])
def test_other_numbers_of_axes(space):
    image, kernel = (4, 16, *[6] * space), (32, 16, *[3] * space)
    f = lambda x, w: lax.conv_general_dilated(x, w, window_strides=[1] * space, padding="VALID")
    x, w = draw(1, *image), draw(2, *kernel)
    looped = lambda x, w: lax.map(lambda x: f(x, w), x[None])
    fast = fast_in_loops(looped, "cpu")
    ((found, _),) = convolutions(jax.make_jaxpr(fast)(x, w))
    assert is_canonical(found)
    assert_close(fast(x, w), looped(x, w), "float32")


def same_padded(x, w, **settings):
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", **settings)


def in_loop(f):
    return lambda x, w: lax.map(lambda x: f(x, w), x[None])


def test_what_no_library_makes_faster_stays(key):
    x, w = draw(1, 4, 64, 6, 6), draw(2, 64, 64, 3, 3)
    assert not same_text(in_loop(same_padded), x, w)
    assert same_text(in_loop(same_padded), x, draw(2, 1, 64, 2, 2))
    depthwise = lambda x, w: same_padded(x, w, feature_group_count=64)
    assert same_text(in_loop(depthwise), x, draw(2, 64, 1, 3, 3))
    assert same_text(in_loop(lambda x, w: same_padded(x.astype(int), w.astype(int))), x, w)
    for outside_loops in (same_padded, jax.jit(same_padded)):
        assert same_text(outside_loops, x, w)
    assert fast_in_loops(same_padded, "cuda") is same_padded


def test_a_loop_with_a_condition():
    def until_large(x, w):
        return lax.while_loop(lambda x: jnp.abs(same_padded(x, w)).max() < 100, lambda x: same_padded(x, w), x)

    x, w = draw(1, 4, 16, 6, 6), draw(2, 16, 16, 3, 3)
    fast = fast_in_loops(until_large, "cpu")
    program = jax.make_jaxpr(fast)(x, w)
    assert are_fast(program)
    assert len(convolutions(program)) == 2
    assert_close(fast(x, w), until_large(x, w), "float32")


def same_text(f, *args):
    """Whether a program stays as it is."""
    text = lambda f: jax.jit(f).lower(*args).as_text().split("\n", 1)[1]  # below the function's name
    return text(fast_in_loops(f, "cpu")) == text(f)


@pytest.mark.parametrize(("model", "shape"), [(nn.lenet5(10), (28, 28, 1)), (nn.conv_autoencoder(8), (28, 28, 1))])
def test_hand_written_rules_have_the_order_from_the_start(model, shape, key):
    params = jax.eval_shape(lambda: model.init(key, shape))
    gradient = jax.grad(lambda params, x: model.apply(params, x).sum())
    found = [*jx.equations(jax.make_jaxpr(gradient)(params, jnp.zeros((16, *shape))))]
    assert "conv_general_dilated" in {eqn.primitive.name for eqn in found}
    assert not any(map(jx.with_library_axes, found))


def test_hand_written_convolutions_and_networks_without_stay_as_they_are(monkeypatch, key):
    for model in (CONVNET, nn.mlp(8, 4)):
        fast = trained(model, key)
        with monkeypatch.context() as patched:
            patched.setattr(step_runners, "fast_in_loops", lambda steps, platform: steps)
            assert_same_bits(trained(model, key).params, fast.params)


def test_a_model_is_traced_no_more_often(monkeypatch, key):
    def traces():
        count = 0

        def counting(apply):
            def counted(*args, **kwargs):
                nonlocal count
                count += 1
                return apply(*args, **kwargs)

            return counted

        trained(nn.with_function(nn.mlp(8, 4), counting), key)
        return count

    fast = traces()
    monkeypatch.setattr(step_runners, "fast_in_loops", lambda steps, platform: steps)
    assert fast == traces()


def test_a_step_in_parts_of_streamed_data(programs, key):
    records = data.Records("pictures", len(X), lambda rows: (X[rows], Y[rows]), "0")
    in_parts = trained(MODELS["automatic"], key, data=records, accumulate=2)
    assert are_fast(programs[0])
    whole = trained(MODELS["automatic"], key, data=records)
    assert not convolutions(programs[-1])  # no loop
    jax.tree.map(lambda a, b: assert_close(a, b, "float32"), in_parts.params, whole.params)


def test_on_several_devices(programs, key):
    mesh = jax.make_mesh((4,), ("devices",))
    spread = trained(MODELS["automatic"], key, mesh=mesh)
    assert are_fast(programs[0])
    one = trained(MODELS["automatic"], key)
    jax.tree.map(lambda a, b: assert_close(a, b, "float32"), spread.params, one.params)


def test_a_run_goes_on_to_the_bit(key, tmp_path):
    whole = trained(MODELS["automatic"], key, epochs=2)
    trained(MODELS["automatic"], key, checkpoint=tmp_path)
    assert_same_bits(trained(MODELS["automatic"], key, checkpoint=tmp_path, epochs=2).params, whole.params)


def test_what_is_computed_again_stays_apart(key):
    """The compiler merges the backward pass of a checkpoint with the forward pass unless it is marked."""
    params = MODELS["checkpointed"].init(key, IMAGE)
    gradient = jax.grad(lambda params, x: MODELS["checkpointed"].apply(params, x).sum())
    looped = lambda params, x: lax.map(lambda x: gradient(params, x), x[None])
    checkpoints = lambda f: [
        [jx.parameters(e)[name] for name in ("differentiated", "prevent_cse", "policy")]
        for e in jx.equations(jax.make_jaxpr(f)(params, X))
        if e.primitive.name in jx.CHECKPOINTS
    ]
    assert checkpoints(fast_in_loops(looped, "cpu")) == checkpoints(looped)
    assert any(differentiated for differentiated, *_ in checkpoints(looped))
