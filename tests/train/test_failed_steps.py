"""Non-finite steps: they stop a run, are saved for inspection, or are skipped."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import nn, ops
from jaxdl.data import in_memory
from jaxdl.train import (
    Checkpoint,
    Diverged,
    load_failed_step,
    training_step,
)
from tests.train.small_run import MODEL, X, Y, assert_same_bits, kept, run, without_seconds


def test_a_step_that_is_not_finite_is_kept_and_can_be_replayed(key, tmp_path):
    poisoned = Y.copy()
    poisoned[17] = np.inf
    with pytest.raises(
        Diverged, match=r"at step . of 3 in epoch 1: .*; the step is saved in .*/nonfinite/step-."
    ) as stop:
        run(key, tmp_path, data=(X, poisoned))
    before = load_failed_step(stop.value.path, stop.value.trained.params)
    assert np.isinf(before.y).any()
    assert all(np.isfinite(p).all() for p in jax.tree.leaves(before.params))
    assert_same_bits(before.params, stop.value.trained.params)
    assert_same_bits(before._replace(key=None), stop.value.before._replace(key=None))
    loss = lambda key: ops.squared_error(MODEL.apply(before.params, before.x, key=key), before.y).mean()
    assert not np.isfinite(loss(before.key))


def test_such_steps_can_be_left_out(key, tmp_path):
    poisoned = Y.copy()
    poisoned[17] = np.nan
    settings = {"data": (X, poisoned), "skip_nonfinite": True, "test": None}
    trained = run(key, Checkpoint(tmp_path, every=1), epochs=4, **settings)
    assert [row["skipped"] for row in trained.history] == [1, 1, 1, 1]
    assert all(np.isfinite(row["loss"]) for row in trained.history)
    assert all(np.isfinite(p).all() for p in jax.tree.leaves(trained.params))
    assert len(list((tmp_path / "nonfinite").iterdir())) == 4
    shutil.rmtree(tmp_path / "12")
    again = run(key, Checkpoint(tmp_path, every=1), epochs=12, **settings)  # the notes have a loss that is NaN
    assert without_seconds(again.history[:4]) == without_seconds(trained.history)
    assert [row["skipped"] for row in again.history] == [1] * 12
    assert len(list((tmp_path / "nonfinite").iterdir())) == 10  # no more are saved


def test_left_out_are_finite_losses_with_other_gradients_too(key):
    loss = lambda output, y: jnp.sqrt(0 * (output**2).sum())  # 0, and its derivative 0 · ∞
    step = training_step(nn.dense(1), loss, optax.sgd(0.1), skip_nonfinite=True)
    params = nn.dense(1).init(key, (3,))
    after, _, value = step(params, optax.sgd(0.1).init(params), X[:4], Y[:4], key)
    assert value == 0
    assert_same_bits(after, params)


def test_left_out_where_data_are_read_as_where_they_are_in_memory(key, tmp_path):
    poisoned = Y.copy()
    poisoned[17] = np.nan
    settings = {"skip_nonfinite": True, "test": None, "epochs": 2}
    whole = run(key, data=(X, poisoned), **settings)
    read = run(key, tmp_path, data=in_memory(X, poisoned), **settings)  # saved, so the steps are taken twice
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), read.params, whole.params)


def no_slope(output, y):
    """0, whose derivative is 0 · ∞ where the outputs are 0."""
    return jnp.sqrt(0 * (output**2).sum()) + ((output - y) ** 2).mean()


def test_a_finite_loss_with_a_gradient_that_is_not(key, tmp_path):
    with pytest.raises(Diverged, match="but the new parameters are not finite, at step 1 of 3 in epoch 1") as stop:
        kept(key, tmp_path, loss=no_slope)
    assert all(np.isfinite(p).all() for p in jax.tree.leaves(stop.value.trained.params))
    before = load_failed_step(stop.value.path, stop.value.trained.params)
    assert before.step == 0
    assert not any(path.name.isdigit() for path in tmp_path.iterdir())  # no checkpoint


def test_where_every_step_is_left_out_it_says_so(key):
    hidden = {"loss": no_slope, "optimizer": optax.chain(optax.zero_nans(), optax.sgd(0.05))}  # the updates are finite
    for settings in ({"loss": no_slope}, {"optimizer": optax.sgd(float("nan"))}, hidden):
        with pytest.raises(Diverged, match="are not all finite at any step of epoch 1"):
            kept(key, None, skip_nonfinite=True, **settings)
