"""Training: it learns, it repeats, it stops when it must."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import automatic, nn, ops
from jaxdl.train import Diverged, fit, gradient_descent
from tests.tolerance import assert_close

RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 3)).astype(np.float32)
Y = X @ np.array([[1.0], [-2.0], [0.5]], np.float32)
LINE = nn.serial(nn.dense(1))


def run(key, optimizer=None, epochs=30, data=(X, Y), model=LINE, **kwargs):
    return fit(model, ops.squared_error, data, optimizer or gradient_descent(0.1), epochs, key, batch=20, **kwargs)


def test_it_finds_the_line(key):
    trained = run(key)
    assert_close(trained.params[0]["w"], [[1.0], [-2.0], [0.5]], "bfloat16")
    assert trained.history[-1]["loss"] < 1e-4 < trained.history[0]["loss"]
    assert [row["epoch"] for row in trained.history] == list(range(1, 31))


def test_the_same_key_gives_the_same_run_and_another_another(key):
    first, again, other = run(key, epochs=2), run(key, epochs=2), run(jax.random.key(1), epochs=2)
    assert jnp.array_equal(first.params[0]["w"], again.params[0]["w"])
    assert not jnp.array_equal(first.params[0]["w"], other.params[0]["w"])


def test_an_epoch_is_the_loop_written_out(key):
    """One epoch of full batches by hand: W ← W − η ∂ℓ/∂W."""
    trained = fit(LINE, ops.squared_error, (X, Y), gradient_descent(0.1), 3, key, batch=100)
    params = LINE.init(jax.random.split(key, 3)[0], (3,))
    for _ in range(3):
        gradients = jax.grad(lambda p: ops.squared_error(LINE.apply(p, X), jnp.asarray(Y)).mean())(params)
        params = jax.tree.map(lambda w, g: w - 0.1 * g, params, gradients)
    assert_close(trained.params[0]["w"], params[0]["w"], "float32")


def test_gradient_descent_agrees_with_optax_sgd(key):
    by_hand, by_optax = run(key, gradient_descent(0.05)), run(key, optax.sgd(0.05))
    assert_close(by_hand.params[0]["w"], by_optax.params[0]["w"], "float32")


def test_every_example_is_seen_once_an_epoch(key):
    seen = []

    def loss(output, y):
        jax.debug.callback(lambda y: seen.append(np.sort(np.asarray(y).ravel())), y)
        return output.mean()

    numbers = np.arange(100, dtype=np.float32)[:, None]
    fit(LINE, loss, (X, numbers), gradient_descent(0.0), 2, key, batch=25)
    jax.effects_barrier()
    assert len(seen) == 8
    for epoch in (seen[:4], seen[4:]):
        assert np.array_equal(np.sort(np.concatenate(epoch)), numbers.ravel())
    assert not np.array_equal(seen[0], seen[4])


def test_metrics_and_watch(key):
    watched = {}
    trained = run(
        key, epochs=3, test=(X[:10], Y[:10]), metrics={"worst": lambda o, y: jnp.abs(o - y).max()},
        watch=watched.__setitem__,
    )  # fmt: skip
    assert list(watched) == [0, 1, 2, 3]
    for params, epoch in ((LINE.init(jax.random.split(key, 3)[0], X.shape[1:]), 0), (trained.params, 3)):
        jax.tree.map(np.testing.assert_array_equal, watched[epoch], params)  # they stay valid
    last = trained.history[-1]
    errors = np.abs(np.asarray(LINE.apply(trained.params, X[:10])) - Y[:10])
    assert last["worst"] == pytest.approx(errors.max(), rel=1e-4)
    assert last["test_loss"] == pytest.approx((errors**2).mean(), rel=1e-3)


def test_dropout_is_on_in_training_and_off_in_testing(key):
    model = nn.serial(nn.dropout(0.5), nn.dense(1))
    trained = run(key, model=model, epochs=60, test=(X, Y))
    last = trained.history[-1]
    assert last["test_loss"] == pytest.approx(float(ops.squared_error(model.apply(trained.params, X), Y).mean()))
    assert last["loss"] > 1.2 * last["test_loss"]


def test_dropout_is_drawn_anew_in_every_epoch(key):
    model = nn.serial(nn.dropout(0.5), nn.dense(1))
    alike = np.ones_like(X), np.zeros_like(Y)  # so that the order of the examples changes nothing
    trained = fit(model, ops.squared_error, alike, gradient_descent(0.0), 3, key, batch=100)
    assert len({row["loss"] for row in trained.history}) == 3


def test_it_stops_at_the_first_loss_that_is_not_finite(key):
    with pytest.raises(
        Diverged, match=r"the loss is (nan|inf) at step \d of 5 in epoch [2-9][0-9]*: try a smaller"
    ) as stop:
        run(key, gradient_descent(3.0), epochs=50)
    trained = stop.value.trained
    assert len(trained.history) >= 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(trained.params))


def test_impossible_labels_stop_it_at_once(key):
    loss = ops.softmax_cross_entropy_with_integer_labels
    message = "100 of 100 labels are outside 0 … 3: the first is label 7 of example 0"
    for named in (loss, jax.jit(loss), functools.partial(loss), automatic(loss)):
        with pytest.raises(ValueError, match=message):
            fit(nn.mlp(4), named, (X, np.full(100, 7)), gradient_descent(0.1), 1, key, batch=100)
    with pytest.raises(Diverged, match="the loss is nan at step 1 of 1 in epoch 1"):
        fit(nn.mlp(4), lambda p, y: loss(p, y).mean(), (X, np.full(100, 7)), gradient_descent(0.1), 1, key, batch=100)


ERRORS = {
    "x and y must have the same number of examples, got 100 and 99": {"data": (X, Y[:-1])},
    "there are no examples": {"data": (X[:0], Y[:0])},
    "must be floating point, got uint16": {"data": (X.astype(np.uint16), Y)},
    "1 of 100 examples have NaN": {"data": (np.where(np.arange(100)[:, None] == 3, np.nan, X), Y)},
    "epochs must be 0 or more": {"epochs": -1},
    "epochs must be a whole number, got nan": {"epochs": float("nan")},
    "epochs must be a whole number, got 1.5": {"epochs": 1.5},
    "accumulate must be a whole number, got 2.0": {"accumulate": 2.0},
    "loss is a column of the history": {"metrics": {"loss": lambda output, y: 0.0}},
    "data must be .x, y. or jaxdl.data.records": {"data": X},
    r"data\[0\]\[0\] is float, not an array": {"data": ([1.0, 2.0], Y)},
    r"data\[0\] has shape \(100, 0\): its examples have size 0": {"data": (X[:, :0], Y)},
    r"an example of x in test has shape \(2,\), in data \(3,\)": {"test": (X[:, :2], Y)},
    r"an example of y in test has shape \(2,\), in data \(1,\)": {"test": (X, X[:, :2])},
    "x and y must have the same number of examples, got 100 and 7": {"test": (X, Y[:7])},
    "test holds no examples": {"test": (X[:0], Y[:0])},
    "test must be .x, y., got ndarray": {"test": X},
}


@pytest.mark.parametrize("message", ERRORS)
def test_bad_input(message, key):
    with pytest.raises((ValueError, TypeError), match=message):
        run(key, **ERRORS[message])


def test_pytrees_and_tokens(key):
    """Inputs are pairs of images and tokens, shuffled together; the tokens stay integers."""
    tokens = np.array([[i % 5, 9, 0] for i in range(40)])
    images = np.eye(5, dtype=np.float32)[tokens[:, 0]]

    words, bias = nn.embedding(10, 5), jnp.zeros(())

    def apply(params, x, *, key=None):
        images, tokens = x
        return words.apply(params["words"], tokens[:, :1])[:, 0] * images + params["bias"]

    model = nn.Layer(lambda key, shape: {"words": words.init(key, shape[1]), "bias": bias}, apply)
    loss = lambda output, y: ops.squared_error(output, y)
    # The table learns −2 at each image's one only if images and tokens stay together.
    with jax.numpy_dtype_promotion("standard"):
        trained = fit(model, loss, ((images, tokens), -2 * images), optax.adam(0.1), 60, key, batch=20, quiet=True)
    assert trained.history[-1]["loss"] < 0.01
    table = trained.params["words"]["table"]
    assert np.allclose(np.diag(np.asarray(table)[:5]), -2, atol=0.2)
    with pytest.raises(ValueError, match="x and y must have the same number of examples, got 40 and 39"):
        fit(model, loss, ((images, tokens[:39]), images), optax.adam(0.1), 1, key)
