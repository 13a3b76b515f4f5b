"""Values, edge points and annotations of every operation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from beartype import beartype
from jaxtyping import jaxtyped

from jaxdl import ops
from jaxdl.ops.op_cases import cases, edges, in_forms
from tests.draws import draw
from tests.tolerance import assert_close


def test_every_op_has_cases():
    assert {case.op for case in cases()} == set(ops.all_ops().values())


@pytest.mark.parametrize("case", [*cases(), *in_forms(cases())], ids=str)
def test_the_rules_output_is_the_primals(case):
    args = case.make(1, jnp.float32)
    got, want = case.op(*args, **case.settings), case.op.primal(*args, **case.settings)
    assert jax.tree.structure(got) == jax.tree.structure(want)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert_close(a, b, "float32")


@pytest.mark.parametrize("case", cases(), ids=str)
def test_annotated_shapes_hold(case):
    checked = jaxtyped(typechecker=beartype)(case.op.primal)
    checked(*case.make(1, jnp.float32), **case.settings)


@pytest.mark.parametrize("edge", [*edges(), *in_forms(edges())], ids=str)
def test_cotangents_at_edges(edge):
    smooth = [i for i, a in enumerate(edge.args) if jnp.issubdtype(a.dtype, jnp.inexact)]

    def f(*x):
        full = list(edge.args)
        for i, value in zip(smooth, x, strict=True):
            full[i] = value
        return edge.op(*full, **edge.settings)

    y, pullback = jax.vjp(f, *[edge.args[i] for i in smooth])
    assert not jnp.isnan(y).any()
    for i, got in zip(smooth, pullback(jnp.ones_like(y)), strict=True):
        np.testing.assert_allclose(got, edge.expected[i], rtol=1e-5, atol=0)


def is_elementwise(case):
    """Whether the op maps one array of any shape to one of this shape."""
    try:
        shapes = [jax.eval_shape(lambda x: case.op(x, **case.settings), jnp.zeros(s)).shape for s in ((), (2, 3))]
    except (TypeError, ValueError, IndexError):
        return False
    return shapes == [(), (2, 3)]


@pytest.mark.parametrize("case", filter(is_elementwise, [*cases(), *in_forms(cases())]), ids=str)
def test_numbers_of_python_stay_weak(case):
    """So that they take the dtype of what they meet after the op, too, as with functions of `jax.nn`."""
    f = lambda x: case.op(x, **case.settings)
    for g in (f, jax.jit(f), jax.grad(f), lambda x: jax.value_and_grad(f)(x)[0]):
        assert jax.typeof(g(0.5)).weak_type
        assert not jax.typeof(g(jnp.float32(0.5))).weak_type


def test_lecture_numbers():
    """The gates of the lectures at points: sum, product, maximum, sigmoid, and (x + y)z at (−2, 5, −4)."""
    f = lambda x, y, z: ops.multiply(ops.add(x, y), z)
    at = (-2.0, 5.0, -4.0)
    assert f(*at) == -12
    assert jax.grad(f, (0, 1, 2))(*at) == (-4, -4, 3)
    assert jax.grad(ops.maximum, (0, 1))(3.0, 5.0) == (0, 1)
    assert jax.grad(ops.sigmoid)(0.0) == 0.25
    assert float(ops.logistic_loss(jnp.array([0.0]), jnp.array([1]))[0]) == pytest.approx(np.log(2))


@pytest.mark.parametrize("x", [[2.0, 0, 3, 5], [0.0, 0, 3, 5], [0.0, 0, 0, 2], [1.0, 2, -3, 4]], ids=str)
def test_products_with_zeros(x):
    """First and second derivatives are the products of the others, in both modes and under vmap."""
    x = jnp.array(x)
    without = lambda *left_out: float(np.prod([v for i, v in enumerate(x) if i not in left_out]))
    n = range(len(x))
    gradient = [without(i) for i in n]
    hessian = [[without(i, j) if i != j else 0 for j in n] for i in n]
    rows = jnp.stack([x, jnp.ones_like(x)])
    assert jax.grad(ops.prod)(x).tolist() == jax.jacfwd(ops.prod)(x).tolist() == gradient
    assert jax.vmap(jax.grad(ops.prod))(rows)[0].tolist() == gradient
    for f in (jax.hessian(ops.prod), jax.jacrev(jax.jacrev(ops.prod)), jax.jacfwd(jax.jacfwd(ops.prod))):
        assert f(x).tolist() == jax.vmap(f)(rows)[0].tolist() == hessian


# For 1,000 numbers in float32.
RESIDUAL_BYTES = {
    4000: "sigmoid tanh elu selu softplus silu gelu gelu_tanh quick_gelu exp log sqrt square prod softmax",
    1000: "relu leaky_relu",
    0: "negate step sum mean",
}


def test_residuals_are_few():
    """Each activation stores at most one array of its input's size; relu, dropout and max one byte per element."""
    x = jnp.ones(1000)

    def kept(f, *args):
        leaves = jax.tree.leaves(jax.eval_shape(lambda *a: jax.vjp(f, *a)[1], *args))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)

    for size, names in RESIDUAL_BYTES.items():
        for name in names.split():
            assert kept(getattr(ops, name), x) == size, name
    assert kept(ops.log_softmax, x) == 4000 + 2 * 4  # the input, its maximum and a sum
    assert kept(ops.max, x) == kept(ops.min, x) == 1000
    assert kept(lambda x: ops.dropout(x, jax.random.key(0), rate=0.5), x) == 1000
    assert kept(ops.maximum, x, x) == 1000
    assert kept(ops.add, x, x) == 0
    logits, labels = jnp.ones((10, 100)), jnp.zeros(10, int)
    assert kept(lambda z: ops.softmax_cross_entropy_with_integer_labels(z, labels), logits) <= 4000
    assert kept(lambda z: ops.logistic_loss(z, jnp.zeros(1000, int)), x) <= 4000


@pytest.mark.parametrize("label", [-1, 10, 300])
def test_impossible_labels_give_nan_never_a_number(label):
    loss = ops.softmax_cross_entropy_with_integer_labels
    logits = jnp.ones((2, 10))
    value, slope = jax.jit(jax.value_and_grad(lambda z, y: loss(z, y).sum()))(logits, jnp.array([3, label]))
    assert jnp.isnan(value)
    assert jnp.isnan(slope[1]).all()
    assert not jnp.isnan(slope[0]).any()
    assert jnp.isnan(ops.logistic_loss(jnp.ones(1), jnp.array([2]))).all()
    assert jnp.isnan(ops.embedding(logits, jnp.array([label]))).all()


def test_narrow_label_types_count_beyond_their_range():
    logits = draw(0, 2, 300)
    narrow, wide = jnp.array([5, 200], jnp.uint8), jnp.array([5, 200])
    loss = ops.softmax_cross_entropy_with_integer_labels
    assert_close(loss(logits, narrow), loss(logits, wide), "float32")
    assert_close(
        jax.grad(lambda t: ops.embedding(t, narrow).sum())(logits.T),
        jax.grad(lambda t: ops.embedding(t, wide).sum())(logits.T),
        "float32",
    )


def test_dropout_keeps_the_mean_and_the_mask():
    x, key = jnp.ones(100_000), jax.random.key(0)
    y, pullback = jax.vjp(lambda x: ops.dropout(x, key, rate=0.25), x)
    assert abs(float(y.mean()) - 1) < 0.01
    assert_close(pullback(jnp.ones_like(y))[0], y, "float32")
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}


def test_a_reduction_of_ones_own():
    weights = jnp.array([1.0, 2.0, 0.0])
    weighted = lambda losses: (losses * weights).sum()
    x = jnp.array([1.0, -1.0, 5.0])
    f = lambda x: ops.squared_error(x, jnp.zeros(3), reduce=weighted)
    assert f(x) == 3
    assert_close(jax.grad(f)(x), 2 * x * weights, "float32")


HEADS = jnp.ones((2, 5, 4, 3))
ROWS = jnp.ones((3, 4))
IMAGES, KERNEL = jnp.ones((8, 28, 28, 3)), jnp.ones((5, 5, 3, 16))
ERRORS = {
    "attention: .*4 heads of q cannot share 3": lambda: ops.attention(HEADS, HEADS[:, :, :3], HEADS[:, :, :3]),
    "attention: .*do not fit: q: (2, 5, 4, 3), k: (2, 5, 4, 2)": lambda: ops.attention(HEADS, HEADS[..., :2], HEADS),
    "attention: .*(examples, length, heads, width)": lambda: ops.attention(HEADS[0], HEADS[0], HEADS[0]),
    "attention: mask must broadcast against the scores, (2, 4, 5, 5), got (3, 5)": lambda: ops.attention(
        HEADS, HEADS, HEADS, jnp.ones((3, 5))
    ),
    "attention: mask must be booleans or numbers .*int32": lambda: ops.attention(
        HEADS, HEADS, HEADS, jnp.ones((5, 5), int)
    ),
    "linear_cross_entropy: .*do not fit: x: (3, 4), w: (3, 4)": lambda: ops.linear_cross_entropy(
        ROWS, ROWS, jnp.zeros(3, int)
    ),
    "linear_cross_entropy: reduce must give one number, got shape (3,)": lambda: ops.linear_cross_entropy(
        ROWS, ROWS.T, jnp.zeros(3, int), reduce=lambda losses: losses
    ),
    "contrastive_loss: .*got x: (3, 4), y: (4, 3), scale: ()": lambda: ops.contrastive_loss(ROWS, ROWS.T, jnp.ones(())),
    "contrastive_loss: the batch is empty": lambda: ops.contrastive_loss(ROWS[:0], ROWS[:0], jnp.ones(())),
    "gelu_feed_forward: .*do not fit: (3, 4), (4, 3), (4, 3)": lambda: ops.gelu_feed_forward(
        ROWS, ROWS.T, jnp.ones(3), ROWS.T, jnp.ones(3)
    ),
    "swiglu_feed_forward: .*do not fit": lambda: ops.swiglu_feed_forward(ROWS, ROWS, ROWS, ROWS.T),
    "batch_norm: scale must have x's last axis, (4,), got (3,)": lambda: ops.batch_norm(ROWS, jnp.ones(3), jnp.ones(4)),
    "batch_norm: the batch is empty": lambda: ops.batch_norm(ROWS[:0], jnp.ones(4), jnp.ones(4)),
    "local_response_norm: .*size must be 1 or more": lambda: ops.local_response_norm(ROWS, size=0),
    "conv2d: x has 3 channels, w expects 4 .*x: (8, 28, 28, 3), w: (5, 5, 4, 16)": lambda: ops.conv2d(
        IMAGES, jnp.ones((5, 5, 4, 16))
    ),
    "conv2d: x has 3 channels, w expects 6 in 2 groups": lambda: ops.conv2d(IMAGES, KERNEL, groups=2),
    "conv2d: a window of (5, 5) does not fit into (4, 4)": lambda: ops.conv2d(IMAGES[:, :4, :4], KERNEL),
    "conv2d: a window of (33, 33) does not fit": lambda: ops.conv2d(IMAGES, KERNEL, dilation=8),
    "conv2d: stride must be 1 or more, got (0, 0)": lambda: ops.conv2d(IMAGES, KERNEL, stride=0),
    "conv2d: padding must be .*pairs, got 'FULL'": lambda: ops.conv2d(IMAGES, KERNEL, padding="FULL"),
    "conv2d: padding must be .*got 2": lambda: ops.conv2d(IMAGES, KERNEL, padding=2),
    "conv2d: both arguments must have the same dtype, got float32 and bfloat16": lambda: ops.conv2d(
        IMAGES, KERNEL.astype(jnp.bfloat16)
    ),
    "conv2d: x must be images .*, got (28, 28)": lambda: ops.conv2d(IMAGES[0, :, :, 0], KERNEL),
    "conv_transpose2d: z has 3 channels, w expects 16": lambda: ops.conv_transpose2d(IMAGES, KERNEL),
    "conv_transpose2d: nothing is left": lambda: ops.conv_transpose2d(
        IMAGES[:, :1, :1], KERNEL.swapaxes(2, 3), padding=((3, 3), (3, 3))
    ),
    "conv2d_kernel_gradient: z must be (24, 24) pixels in size, got (28, 28)": lambda: ops.conv2d_kernel_gradient(
        IMAGES, IMAGES, window=5
    ),
    "conv2d_kernel_gradient: .*as many images .*, got (8, 28, 28, 3) and (2,": lambda: ops.conv2d_kernel_gradient(
        IMAGES, IMAGES[:2], window=1
    ),
    "dense: x .* do not fit: x: (3, 4), w: (5, 2), b: (2,)": lambda: ops.dense(
        jnp.ones((3, 4)), jnp.ones((5, 2)), jnp.ones(2)
    ),
    "matmul: .*got (3, 4) and (5, 2)": lambda: ops.matmul(jnp.ones((3, 4)), jnp.ones((5, 2))),
    "add: x and y must broadcast against each other, got (3,) and (4,)": lambda: ops.add(jnp.ones(3), jnp.ones(4)),
    "squared_error: .*same shape, got (3,) and (3, 1)": lambda: ops.squared_error(jnp.ones(3), jnp.ones((3, 1))),
    "squared_error: the batch is empty": lambda: ops.squared_error(jnp.ones((0, 2)), jnp.ones((0, 2)), reduce=jnp.mean),
    "softmax_cross_entropy_with_integer_labels: labels must have .*logits: (3, 4), labels: (2,)": (
        lambda: ops.softmax_cross_entropy_with_integer_labels(jnp.ones((3, 4)), jnp.zeros(2, int))
    ),
    "softmax_cross_entropy_with_integer_labels: labels must be integers, got float32": (
        lambda: ops.softmax_cross_entropy_with_integer_labels(jnp.ones((3, 4)), jnp.zeros(3))
    ),
    "softmax_cross_entropy_with_integer_labels: the batch is empty": (
        lambda: ops.softmax_cross_entropy_with_integer_labels(jnp.ones((0, 4)), jnp.zeros(0, int), reduce=jnp.sum)
    ),
    "logistic_loss: labels y must be integers or booleans, got float32": lambda: ops.logistic_loss(
        jnp.ones(3), jnp.ones(3)
    ),
    "embedding: indices must be integers, got float32": lambda: ops.embedding(jnp.ones((3, 2)), jnp.ones(3)),
    "dropout: rate must be in [0, 1), got 1.5": lambda: ops.dropout(jnp.ones(3), jax.random.key(0), rate=1.5),
    "mean: nothing to reduce: x has shape (0, 3), axis=0": lambda: ops.mean(jnp.ones((0, 3)), axis=0),
    "sum: axis 2 is outside the 1 axes of x, which has shape (3,)": lambda: ops.sum(jnp.ones(3), axis=2),
    "relu: x must be real, got complex64": lambda: ops.relu(jnp.ones(3, jnp.complex64)),
    "dense(x: .*missing a required argument: 'b'": lambda: ops.dense(jnp.ones((3, 4)), jnp.ones((4, 2))),
    "max_pool: x must be .*n, h, w, c), got shape (3, 3)": lambda: ops.max_pool(jnp.ones((3, 3)), window=2),
    "avg_pool: window (5, 5) does not fit into (3, 3)": lambda: ops.avg_pool(jnp.ones((1, 3, 3, 1)), window=5),
    "max_pool: stride must be 1 or more, got (0, 0)": lambda: ops.max_pool(jnp.ones((1, 3, 3, 1)), window=2, stride=0),
    "layer_norm: bias must have x's last axis, (4,), got (3,)": lambda: ops.layer_norm(
        jnp.ones((2, 4)), jnp.ones(4), jnp.ones(3)
    ),
    "max: nothing to reduce: x has shape (0,), axis=None": lambda: ops.max(jnp.ones(0)),
    "min: nothing to reduce: x has shape (0,), axis=None": lambda: ops.min(jnp.ones(0)),
    "prod: axis 1 is outside the 1 axes of x": lambda: ops.prod(jnp.ones(3), axis=1),
    "conv2d_by_loops: .*do not fit: x: (8, 28, 28, 3), w: (5, 5, 3, 16), b: (3,)": lambda: ops.conv2d_by_loops(
        IMAGES, KERNEL, jnp.ones(3)
    ),
    "conv2d_by_loops: a window of (5, 5) does not fit into (4, 4)": lambda: ops.conv2d_by_loops(
        IMAGES[:, :4, :4], KERNEL
    ),
}


@pytest.mark.parametrize("message", ERRORS)
def test_bad_input_is_named(message):
    pattern = message.translate({ord(c): "\\" + c for c in "()[]"})
    with pytest.raises((ValueError, TypeError), match=pattern):
        ERRORS[message]()


def test_max_pool_ties_and_nan():
    x = jnp.array([[1.0, 3.0], [3.0, 3.0]])[None, :, :, None]
    slope = jax.grad(lambda x: ops.max_pool(x, window=2).sum())(x)
    assert slope[0, :, :, 0].tolist() == [[0, 1], [0, 0]]  # the first of the equal maxima, row by row
    assert jnp.isnan(ops.max_pool(x.at[0, 1, 0, 0].set(jnp.nan), window=2)).all()
    masked = jnp.full((1, 2, 2, 1), -jnp.inf)
    assert ops.max_pool(masked, window=3, stride=1, padding="SAME").tolist() == masked.tolist()


@pytest.mark.parametrize("window", [(16, 16), (257, 1), (1, 257), (3, 100)])
def test_every_place_of_a_large_window_can_hold_the_maximum(window):
    """Places are numbered in one byte each where a window has 256 of them or less."""
    places = window[0] * window[1]
    x = jnp.eye(places).reshape(places, *window, 1)[jnp.array([0, 1, 254, 255, places - 1])]
    y, pullback = jax.vjp(lambda x: ops.max_pool(x, window=window), x)
    assert y.ravel().tolist() == [1] * 5
    np.testing.assert_array_equal(pullback(y)[0], x)


def test_pooling_by_hand():
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    assert ops.max_pool(x, window=2)[0, :, :, 0].tolist() == [[5, 7], [13, 15]]
    assert ops.avg_pool(x, window=2)[0, :, :, 0].tolist() == [[2.5, 4.5], [10.5, 12.5]]
    padded = ops.avg_pool(x, window=2, stride=2, padding=((1, 1), (1, 1)))[0, :, :, 0]
    assert padded.tolist() == [[0, 0.75, 0.75], [3, 7.5, 4.5], [3, 6.75, 3.75]]
    assert ops.global_avg_pool(x).tolist() == [[7.5]]


@pytest.mark.parametrize("name", ["layer_norm", "batch_norm", "rms_norm"])
@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5])
def test_norms_stay_accurate_under_large_offsets(name, offset):
    """No further from a float64 run than the automatic derivative; where a mean is taken off, a few ULP."""
    from jaxdl.measure import contrast

    x = draw(0, 8, 64) + offset
    parameters = [draw(i, 64) for i in range(1, 2 if name == "rms_norm" else 3)]
    normal = lambda *args: jax.tree.leaves(getattr(ops, name)(*args))[0]
    report = contrast(normal, x, *parameters, time=False, sites=False)
    for d in report.whole.differences:
        assert d.hand_ulp <= (max(1.5 * d.automatic_ulp, 8) if name == "rms_norm" else 8), d


@pytest.mark.parametrize("name", ["layer_norm", "rms_norm"])
def test_norms_of_constant_rows_are_finite(name):
    x, scale = jnp.full((2, 5), 7.0), jnp.ones(5)
    parameters = (scale, scale) if name == "layer_norm" else (scale,)
    y, pullback = jax.vjp(lambda x: getattr(ops, name)(x, *parameters), x)
    (dx,) = pullback(jnp.arange(10.0).reshape(2, 5))
    assert jnp.isfinite(y).all()
    assert jnp.isfinite(dx).all()


def test_infinite_logarithms_of_sums():
    """log(e^∞ + e) = ∞, as jax.nn.logsumexp has it; it was NaN."""
    x = jnp.array([[jnp.inf, 1.0], [-jnp.inf, 2.0], [-jnp.inf, -jnp.inf]])
    for f in (ops.logsumexp, ops.logsumexp.primal):
        np.testing.assert_array_equal(f(x, axis=-1), [jnp.inf, 2, -jnp.inf])
