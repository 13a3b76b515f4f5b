"""Fused losses, feed-forward parts and norms: against their plain forms, on extreme inputs, in blocks."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxdl import automatic, ops
from jaxdl.ops import fused_losses
from tests.draws import draw
from tests.platforms import as_on
from tests.tolerance import assert_close

CROSS_ENTROPY = ops.softmax_cross_entropy_with_integer_labels


def errors(f, args, dy=1.0, platform=None):
    """For each cotangent: the distance of hand and automatic from float64, over its largest entry."""
    pulled = lambda f: (
        lambda *args: (lambda y, back: back(jax.tree.map(lambda v: dy * jnp.ones_like(v), y)))(*jax.vjp(f, *args))
    )
    run = lambda f, args: jax.tree.leaves((as_on(platform, pulled(f)) if platform else pulled(f))(*args))
    with jax.enable_x64(True):
        truth = [np.asarray(t) for t in run(automatic(f), [a.astype(jnp.float64) for a in args])]
    for hand, plain, true in zip(run(f, args), run(automatic(f), args), truth, strict=True):
        scale = max(float(np.abs(true).max()), 1e-30)
        yield tuple(float(np.abs(np.asarray(a, np.float64) - true).max()) / scale for a in (hand, plain))


@pytest.mark.parametrize("platform", ["cpu", "cuda"])
@pytest.mark.parametrize("rows", [1, 4, 5, 100])
def test_blocks_of_rows_make_no_difference(rows, platform, monkeypatch):
    monkeypatch.setattr(fused_losses, "LARGE_BLOCK", 1)
    monkeypatch.setattr(fused_losses, "LEAST_ROWS", rows)
    monkeypatch.setattr(fused_losses, "CACHE", 4 * 7 * rows)
    monkeypatch.setattr(fused_losses, "NEAR_CACHE", 8 * 7 * rows)
    monkeypatch.setattr(fused_losses, "FEWEST_ROWS", 1)
    jax.clear_caches()
    x, w, labels = draw(0, 9, 4), draw(1, 4, 7), jnp.arange(9) % 7
    for reduce in (jnp.mean, jnp.sum, lambda losses: losses @ jnp.linspace(0, 1, 9)):
        fused = lambda x, w, reduce=reduce: ops.linear_cross_entropy(x, w, labels, reduce=reduce)
        plain = lambda x, w, reduce=reduce: CROSS_ENTROPY.primal(x @ w, labels, reduce=reduce)
        run = lambda f: as_on(platform, jax.value_and_grad(f, (0, 1)))(x, w)
        for got, want in zip(run(fused), run(plain), strict=True):
            for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
                assert_close(a, b, "float32")
    jax.clear_caches()


def test_logits_are_never_whole_in_memory():
    n, d, c = 512, 8, 8192
    x, w, labels = draw(0, n, d), draw(1, d, c), jnp.arange(n)
    step = lambda x, w: jax.value_and_grad(lambda x, w: ops.linear_cross_entropy(x, w, labels), (0, 1))(x, w)
    assert jax.jit(step).lower(x, w).compile().memory_analysis().temp_size_in_bytes < n * c * 4 * 0.7


def test_impossible_labels_give_nan():
    x, w = draw(0, 3, 4), draw(1, 4, 5)
    for label in (-1, 5):
        loss, (dx, _) = jax.value_and_grad(
            lambda x, w, label=label: ops.linear_cross_entropy(x, w, jnp.array([0, label, 1])), (0, 1)
        )(x, w)
        assert jnp.isnan(loss)
        assert jnp.isnan(dx[1]).all()
        assert jnp.isfinite(dx[0]).all()


def test_cross_entropy_confident_and_wrong():
    x = jnp.array([[1e4, 0.0], [-1e4, 0.0], [0.0, 40.0]])
    w = jnp.array([[1.0, -1.0], [0.0, 1.0]])
    f = lambda x, w: ops.linear_cross_entropy(x, w, jnp.array([0, 0, 1]))
    loss, (dx, dw) = jax.value_and_grad(f, (0, 1))(x, w)
    assert float(loss) == pytest.approx(2e4 / 3)
    assert jnp.isfinite(dx).all()
    assert jnp.isfinite(dw).all()
    assert float(dx[2, 1]) == pytest.approx(-4.248354e-18 / 3, rel=1e-5)


def test_contrastive_loss_is_the_mean_of_both_directions():
    x, y = draw(0, 6, 4), draw(1, 6, 4)
    logits = 3 * x @ y.T
    rows = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.arange(6)).mean()
    columns = optax.softmax_cross_entropy_with_integer_labels(logits.T, jnp.arange(6)).mean()
    assert_close(ops.contrastive_loss(x, y, jnp.float32(3)), (rows + columns) / 2, "float32")


def test_contrastive_loss_of_huge_logits():
    """The largest logit less itself is 0, also where a compiler fuses the product with the difference."""
    args = [1e4 * draw(i, *shape) for i, shape in enumerate(((3, 4), (3, 4), ()))]
    y, slopes = jax.jit(jax.value_and_grad(ops.contrastive_loss, (0, 1, 2)))(*args)
    assert all(bool(jnp.isfinite(v).all()) for v in (y, *slopes))


def test_feed_forward_parts_keep_only_arguments():
    args = draw(0, 5, 4), draw(1, 4, 16), draw(2, 16), draw(3, 16, 4), draw(4, 4)
    leaves = jax.tree.leaves(jax.eval_shape(lambda *a: jax.vjp(ops.gelu_feed_forward, *a)[1], *args))
    assert sorted(leaf.shape for leaf in leaves) == sorted(a.shape for a in args[:4])
    args = draw(0, 5, 4), draw(1, 4, 16), draw(2, 4, 16), draw(3, 16, 4)
    leaves = jax.tree.leaves(jax.eval_shape(lambda *a: jax.vjp(ops.swiglu_feed_forward, *a)[1], *args))
    assert sorted(leaf.shape for leaf in leaves) == sorted(a.shape for a in args)


LABELS = jnp.arange(64) % 8
ON_ROWS = {
    "softmax": ops.softmax,
    "log_softmax": ops.log_softmax,
    "logsumexp": lambda x: ops.logsumexp(x, axis=-1, keepdims=True),
    "cross_entropy": lambda x: CROSS_ENTROPY(x, LABELS, reduce=None)[:, None],
    "linear_cross_entropy": lambda x: ops.linear_cross_entropy(x, jnp.eye(8, dtype=x.dtype), LABELS),
    "layer_norm": lambda x: ops.layer_norm(x, jnp.ones(8, x.dtype), jnp.zeros(8, x.dtype)),
    "rms_norm": lambda x: ops.rms_norm(x, jnp.ones(8, x.dtype)),
    "batch_norm": lambda x: ops.batch_norm(x, jnp.ones(8, x.dtype), jnp.zeros(8, x.dtype))[0],
    "local_response_norm": lambda x: ops.local_response_norm(x, alpha=0.1),
}
ROWS = {
    "random": draw(0, 64, 8),
    "offset": draw(0, 64, 8) + 1e4,
    "large": draw(0, 64, 8) * 1e4,
    "tiny": draw(0, 64, 8) * 1e-20,
    "constant": jnp.full((64, 8), 3.0),
    "zero": jnp.zeros((64, 8)),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("name", ON_ROWS)
def test_as_close_to_float64_as_the_automatic_derivative(name, rows, dtype):
    weights = draw(1, 64, 8)
    for hand, plain in errors(lambda x: ON_ROWS[name](x) * weights.astype(x.dtype), [ROWS[rows].astype(dtype)]):
        assert np.isfinite(hand)
        assert hand <= max(1.5 * plain, 4 * float(jnp.finfo(dtype).eps))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("name", ["linear_cross_entropy", "layer_norm", "rms_norm"])
def test_as_close_to_float64_on_a_gpu(name, rows, dtype):
    """The forms of the ops that have another there, but in the arithmetic of this machine."""
    weights = draw(1, 64, 8)
    f = lambda x: ON_ROWS[name](x) * weights.astype(x.dtype)
    for hand, plain in errors(f, [ROWS[rows].astype(dtype)], platform="cuda"):
        assert np.isfinite(hand)
        assert hand <= max(1.5 * plain, 4 * float(jnp.finfo(dtype).eps))


def test_batch_norm_gives_the_statistics_for_later():
    x, scale, bias = draw(0, 4, 5, 5, 3) * 2 + 1, draw(1, 3), draw(2, 3)
    y, mean, variance = ops.batch_norm(x, scale, bias)
    assert_close(mean, x.mean((0, 1, 2)), "float32")
    assert_close(variance, x.var((0, 1, 2)), "float32")
    assert_close(y, ops.batch_norm_inference(x, scale, bias, mean, variance), "float32")


def test_local_response_norm_by_hand():
    x = jnp.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    sums = np.array([1 + 4 + 9, 1 + 4 + 9 + 16, 55, 4 + 9 + 16 + 25 + 36, 9 + 16 + 25 + 36, 16 + 25 + 36])
    want = np.array(x) * (2 + 0.5 * sums) ** -0.75
    assert_close(ops.local_response_norm(x, alpha=0.5), want, "float32")
