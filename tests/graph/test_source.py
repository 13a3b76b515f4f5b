"""The derivative written as Python runs, and agrees with JAX's."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend.core import Primitive

from jaxdl import Op, nn, op, saving
from jaxdl.cli.graphing import EXAMPLES
from jaxdl.graph import source
from jaxdl.graph.codegen import expressions
from jaxdl.ops.cases import cases
from jaxdl.ops.windows import CEIL
from tests.draws import draw
from tests.nn.test_models import small_clip

ONE_OF_EACH = list({case.op: case for case in reversed(cases())}.values())


def executed(text):
    """The op that a module defines."""
    module = {}
    exec(compile(text, "<source>", "exec"), module)
    return next(x for x in module.values() if isinstance(x, Op))


def assert_same(f, *args):
    """Value, primal and all cotangents of what was written are f's."""
    leaves, tree = jax.tree.flatten(args)
    smooth = [i for i, x in enumerate(leaves) if jnp.issubdtype(x.dtype, jnp.inexact)]

    def moving(g, leaves):
        def of_moved(*moved):
            full = list(leaves)
            for i, x in zip(smooth, moved, strict=True):
                full[i] = x
            return g(*tree.unflatten(full))

        return of_moved

    written = executed(source(f, *args))
    types = jax.tree.leaves(jax.eval_shape(lambda: f(*args)))
    u = [_cotangent(i, t) for i, t in enumerate(types)]
    like = lambda y: jax.tree.structure(y).unflatten(u)

    @jax.jit  # in one program, for compiling takes the time
    def both(leaves):
        x = [leaves[i] for i in smooth]
        expected, pullback = jax.vjp(moving(f, leaves), *x)
        got, written_pullback = jax.vjp(moving(written, leaves), *x)
        primal = written.primal(*tree.unflatten(leaves))
        ours, its = [got, primal, written_pullback(like(got))], [expected, expected, pullback(like(expected))]
        return jax.tree.leaves(ours), jax.tree.leaves(its)

    def close(a, b):
        largest = float(jnp.abs(jnp.nan_to_num(b, posinf=0, neginf=0)).max(initial=0))
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * (1 + largest))

    jax.tree.map(close, *both(leaves))


def _cotangent(i, y):
    is_smooth = jnp.issubdtype(y.dtype, jnp.inexact)
    return draw(i, *y.shape, dtype=y.dtype) if is_smooth else np.zeros(y.shape, jax.dtypes.float0)


@pytest.mark.parametrize("name", EXAMPLES)
def test_of_the_lectures_examples(name):
    f, args = EXAMPLES[name]()
    assert_same(f, *args)


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
def test_of_every_operation(case):
    assert_same(lambda *args: case.op(*args, **case.settings), *case.make(1, "float32"))


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


A, B, V = draw(1, 3, 3) + 3 * jnp.eye(3), draw(2, 3, 2), draw(3, 3)
SHORT, FEW_BITS = jnp.array([55, 77, 103], jnp.int8), V.astype(jnp.bfloat16)
HOLES = jnp.array([complex(1, jnp.inf), complex(jnp.nan, 2), 3])
PLACED = jax.sharding.SingleDeviceSharding(jax.devices()[0])
KEY, KEYS = jax.random.key(3), jax.random.split(jax.random.key(3), 3)
PLACES, RAW = jnp.array([0, 2]), jnp.arange(4, dtype=jnp.uint32)
dot, special, linalg = jnp.dot, jax.scipy.special, lax.linalg
below = lambda v, **side: jnp.searchsorted(jnp.array([0.0, jnp.nan, jnp.nan]), v, **side)
# By what they have that others have not.
FORMS = {
    "cholesky": (lambda a: jnp.linalg.cholesky(dot(a, a.T)), A),
    "triangular solve": (lambda a, b: jax.scipy.linalg.solve_triangular(a, b, lower=True), A, B),
    "lu": (jnp.linalg.solve, A, B),
    "qr": (jnp.linalg.qr, A),
    "eigh": (lambda a: jnp.linalg.eigh(a + a.T), A),
    "svd": (lambda a: jnp.linalg.svd(a, full_matrices=False), A),
    "singular values": (lambda a: jnp.linalg.svd(a, compute_uv=False), A),
    "householder": (lambda v: linalg.householder_product(A, lax.stop_gradient(v)) * v[None], V),
    "sort": (jnp.sort, V),
    "sort with values": (lambda k, v: lax.sort((k, v), num_keys=1), V, draw(4, 3)),
    "top k": (lambda v: lax.top_k(v, 2), V),
    "set": (lambda v, b: v.at[PLACES].set(b), V, V[:2]),
    "multiply at": (lambda v, b: v.at[PLACES].multiply(b, unique_indices=True), V, V[:2]),
    "least at": (lambda v, b: v.at[PLACES].min(b), V, V[1:]),
    "largest at": (lambda v, b: v.at[PLACES].max(b), V, V[1:]),
    "max pooling of lax": (lambda v: lax.reduce_window(v, -jnp.inf, lax.max, (2,), (1,), "VALID"), V),
    "min pooling of lax": (lambda v: lax.reduce_window(v, jnp.inf, lax.min, (2,), (1,), "VALID"), V),
    "pooling of integers": (
        lambda v, i: v[1:] * lax.reduce_window(i, -(2**31), lax.max, (2,), (1,), "VALID").astype(v.dtype),
        V,
        jnp.arange(3),
    ),
    "pooling of truths": (
        lambda v: v[1:] * lax.reduce_window(v > 0, False, lax.max, (2,), (1,), "VALID").astype(v.dtype),
        V,
    ),
    "interpolation": (lambda v: jnp.interp(v, jnp.array([-1.0, 0.2, 1.0]), v), V),
    "order with NaN": (lambda v: v * (below(v) + below(v, side="right")).astype(v.dtype), V),
    "integer division": (lambda v, i: v * (lax.div(i, 2) + lax.rem(i, 3)).astype(v.dtype), V, jnp.int32(-5)),
    "shifts": (lambda v, i: v * ((i >> 1) + lax.population_count(i)).astype(v.dtype), V, jnp.int32(-5)),
    "Fourier": (lambda v: jnp.abs(jnp.fft.rfft(v)), V),
    "gamma": (lambda v: special.gammainc(v * v, v * v) + special.gammaincc(v * v, 2 * v * v), V),
    "digamma": (lambda v: special.digamma(v * v) + special.i0e(v) + special.i1e(v), V),
    "beta": (lambda v: special.betainc(2.0, 3.0, jax.nn.sigmoid(v)) + lax.reduce_precision(v, 8, 7), V),
    "variance": (jnp.var, V),  # a residual that is a number
    "tile": (lambda a: jnp.concatenate([*jnp.unstack(jnp.tile(a, (1, 2)), axis=1)]), A),
    "not a number": (lambda a: jnp.take(a, PLACES, 0) * jnp.array([[1.0, -2.0, jnp.inf]]), A),
    "random numbers": (lambda v, seed: v * jax.random.gamma(jax.random.key(seed, impl="rbg"), v * v), V, jnp.int32(3)),
    "raw keys": (lambda v, k: v * jax.random.normal(jax.random.wrap_key_data(k, impl="rbg"), (3,)), V, RAW),
    "many keys": (lambda v, k: v * jax.vmap(jax.random.normal)(jax.random.split(k, 3)), V, jax.random.key(1)),
    "keys of its own": (lambda v: v * jax.random.gamma(KEY, v * v), V),
    "several keys of its own": (
        lambda v: v * jax.vmap(jax.random.normal)(KEYS),
        V,
    ),
    "a key": (lambda k, v: v * jax.random.normal(k, (3,)), jax.random.key(1), V),
    "gamma in few bits": (lambda v: jax.random.gamma(KEY, v * v, dtype=jnp.bfloat16), FEW_BITS),
    "reshape in another order": (lambda a: a.reshape(9).reshape(3, 3, order="F").ravel(order="F") * jnp.arange(9.0), A),
    "product": (lambda a: a.prod(1), A),
    "nothing transposed": (lambda a: lax.transpose_p.bind(a, permutation=(0, 1)) * 2, A),
    "filled with one": (lambda v: v.at[jnp.array([1, 9, 2])].get(mode="fill", fill_value=1), V),
    "sums of short integers": (
        lambda v, i: v * (i.sum(dtype=i.dtype) + lax.reduce_prod(i, (0,))).astype(v.dtype),
        V,
        SHORT,
    ),
    "bits of integers": (
        lambda v, i: v * (lax.reduce_and(i, (0,)) + lax.reduce_or(i, (0,)) * lax.reduce_xor(i, (0,))).astype(v.dtype),
        V,
        SHORT,
    ),
    "numbers that are not finite": (lambda v: jnp.where(v > 9, HOLES.real * v, jnp.abs(HOLES) + v), V),
    "placed": (lambda v: lax.with_sharding_constraint(v * v, PLACED) + jax.device_put(v, PLACED), V),
    "conjugate gradients": (lambda a, v: jax.scipy.sparse.linalg.cg(lambda x: dot(a.T, dot(a, x)), v)[0], A, V),
}


@pytest.mark.parametrize("name", FORMS)
def test_of_other_operations(name):
    f, *args = FORMS[name]
    assert_same(f, *args)


def loop(x, rows):
    return lax.scan(lambda c, row: (jnp.sin(c * row), c + row), x, rows)


def branch(x, n):
    return lax.switch(n, [jnp.sin, lambda x: x * x, jnp.exp], x)


@jax.checkpoint
def remembered(x):
    return jnp.tanh(x) * jnp.sin(x)


def newton(x):
    """√2 from x, on values alone: the loop is not differentiated."""
    unlike = lambda y: jnp.abs(y * y - 2).max() > 1e-6
    return lax.while_loop(unlike, lambda y: (y + 2 / y) / 2, lax.stop_gradient(x)) * x


@pytest.mark.parametrize(
    ("f", "args"),
    [
        (loop, (draw(1), draw(2, 4))),
        (branch, (draw(1), jnp.int32(2))),
        (remembered, (draw(1, 3),)),
        (newton, (1 + draw(1) ** 2,)),
        (jax.vmap(newton), (1 + draw(3, 4, 2) ** 2,)),
    ],
    ids=["scan", "switch", "checkpoint", "while", "while under vmap"],
)  # fmt: skip
def test_of_loops_and_branches(f, args):
    assert_same(f, *args)


def test_how_it_reads():
    def f(x, w):
        return jnp.sin(x @ w)

    assert source(f, jnp.ones((2, 3)), jnp.ones((3, 4))).endswith(
        '''
@op
def f(x, w):
    """x: float32[2,3], w: float32[3,4]"""
    u1 = x @ w
    u2 = jnp.sin(u1)
    return u2


@f.rule
def f_rule(x, w):
    u1 = x @ w
    u2 = jnp.sin(u1)
    u3 = jnp.cos(u1)

    def pullback(x, w, u3, dy):
        v1 = dy * u3
        v2 = v1.T @ x
        v3 = v2.T
        v4 = v1 @ w.T
        return (v4, v3)

    return u2, saving(pullback, x, w, u3)
'''
    )


def test_what_a_rule_saves_for_nothing_is_not_saved_again():
    @op
    def double(x):
        return 2 * x

    @double.rule
    def double_rule(x):
        return 2 * x, saving(lambda x, dy: (2 * dy,), jnp.sin(x))

    assert source(double, V).endswith("return u1, saving(pullback)\n")
    assert "sin" not in source(double, V)


def test_settings_are_written_that_are_not_usual():
    once, often = (lambda v, b, u=u: v.at[PLACES].add(b, unique_indices=u) for u in (True, False))
    assert "unique_indices=True" in source(once, V, V[:2])
    assert "unique_indices" not in source(often, V, V[:2])


def test_constants_have_names_and_are_written_once():
    table = draw(5, 3, 20)
    f = lambda v: jnp.tanh(v @ table) @ table.T + (v * table.sum()).sum()
    assert_same(f, V)
    primal, rule = source(f, V).split(".rule")
    assert primal.count("jnp.asarray(") == 1
    assert rule.count("jnp.asarray(") == 1
    assert "jnp.asarray" not in source(lambda v: (v @ table, v * 2)[1], V)


# --- f's own arguments and result ------------------------------------------------------------------------


class Layer(NamedTuple):
    w: jax.Array
    b: jax.Array


@jax.tree_util.register_pytree_node_class
class Scale:
    """A container without a form in Python."""

    def __init__(self, s):
        self.s = s

    def tree_flatten(self):
        return (self.s,), None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


def rule_of(text):
    module = {}
    exec(compile(text, "<source>", "exec"), module)
    return next(x for name, x in module.items() if name.endswith("_rule"))


W, ROWS = draw(1, 3, 2), draw(2, 4, 3)
OWN = {
    "a dict": (lambda p, x: jnp.tanh(x @ p["w"] + p["b"][None]).sum(), {"w": W, "b": W[0]}, ROWS),
    "nested": (lambda p: [p[0]["a"] * p[1][0], {"y": (p[1][1],)}], [{"a": W}, (W + 1, W[0])]),
    "a named tuple": (lambda p, x: x @ p.w + p.b[None], Layer(W, W[0]), ROWS),
    "a container of one's own": (lambda p, x: x * p.s, Scale(W[0, 0]), ROWS),
    "None": (lambda x, mask, y: (x * y, None), W, None, W),
    "integers among them": (lambda p, x: x * p["n"].astype(x.dtype)[0], {"n": jnp.arange(2), "s": W}, ROWS),
    "a result of one": (lambda x: {"y": jnp.sin(x)}, W),
    "integers in the result": (lambda x: {"k": x.argmax(), "y": (x * x, [x.sum()])}, W),
    "many": (lambda *xs: sum(xs), W, W + 1),
    "names that are taken": (lambda u1, u1_tree, lax, dy: u1[0] * u1_tree + lax * dy, (W,), W, W + 1, W + 2),
    "a leaf's name that is taken": (lambda p, p_0: p[0] * p_0, (W,), W + 1),
}


@pytest.mark.parametrize("name", OWN)
def test_it_takes_the_arguments_of_f_and_gives_its_result(name):
    f, *args = OWN[name]
    assert_same(f, *args)
    text = source(f, *args)
    y, pullback = rule_of(text)(*args)
    expected, its = jax.vjp(f, *args)
    assert jax.tree.structure(y) == jax.tree.structure(expected)
    one = lambda y: jnp.ones_like(y) if jnp.issubdtype(y.dtype, jnp.inexact) else np.zeros(y.shape, jax.dtypes.float0)
    dy = jax.tree.map(one, expected)
    for ours, theirs in zip(pullback(dy), its(dy), strict=True):
        pairs = zip(*(jax.tree.leaves(c, is_leaf=lambda x: x is None) for c in (ours, theirs)), strict=True)
        for a, b in pairs:
            if a is None:
                assert b is None or b.dtype == jax.dtypes.float0
            else:
                np.testing.assert_allclose(a, b, rtol=1e-5)


def test_other_containers_of_results_are_named():
    text = source(lambda x: Scale(x * x), W)
    assert "returns the arrays of a Scale as a tuple" in text
    np.testing.assert_allclose(executed(text)(W)[0], W * W)


def test_arrays_by_keyword():
    f = lambda x, *, w, b: x @ w + b[None]
    written = executed(source(f, ROWS, w=W, b=W[0]))
    np.testing.assert_allclose(written(ROWS, w=W, b=W[0]), f(ROWS, w=W, b=W[0]), rtol=1e-6)
    slope = lambda f: jax.grad(lambda w: f(ROWS, b=W[0], w=w).sum())(W)
    np.testing.assert_allclose(slope(written), slope(f), rtol=1e-5)


def test_numbers():
    f = lambda x, n, s: x**n * s
    text = source(f, W, 2, 0.5)
    written = executed(text)
    for n, s in ((2, 0.5), (3, -1.5)):  # arguments like any others
        np.testing.assert_allclose(written(W, n, s), f(W, n, s), rtol=1e-5)
        assert jax.grad(lambda s, n=n: written(W, n, s).sum())(s) == pytest.approx(float((W**n).sum()), rel=1e-5)
    y, pullback = rule_of(text)(W, 2, 0.5)
    np.testing.assert_allclose(pullback(y)[0], W * y, rtol=1e-5)


def test_what_f_needs_as_it_is_is_a_setting_of_that_value():
    f = lambda x, axis, how, activation: activation(x.sum(axis) if how == "sum" else x)
    text = source(f, W, 1, "sum", jnp.tanh)
    written = executed(text)
    np.testing.assert_allclose(written(W), jnp.tanh(W.sum(1)), rtol=1e-6)
    np.testing.assert_allclose(written(W, axis=1, how="sum"), jnp.tanh(W.sum(1)), rtol=1e-6)
    for other in ({"axis": 0}, {"how": "max"}):
        with pytest.raises(ValueError, match=r"(axis|how) must be"):
            written(W, **other)
    assert "fixed: activation: tanh" in text
    with pytest.raises(TypeError):
        written(W, activation=jnp.sin)


def test_a_fixed_part_is_documented():
    text = source(lambda p, x: x * p["w"] if p["on"] else x, {"w": W[0, 0], "on": True, "s": 'a"""\\'}, ROWS)
    assert "fixed: p: True" in text
    y, pullback = rule_of(text)({"w": W[0, 0], "on": True, "s": ""}, ROWS)
    assert pullback(y)[0]["w"] == pytest.approx(float((ROWS * y).sum()), rel=1e-5)


def test_what_was_none_is_no_array():
    written = executed(source(lambda x, mask: x * x, W, None))
    with pytest.raises(ValueError, match="mask must not contain arrays"):
        written(W, W)


def test_keys_inside():
    f = lambda x, key: x * jax.random.uniform(jax.random.fold_in(key, 3), x.shape)
    seven = jax.random.key(7)
    assert_same(lambda x: f(x, jax.random.key(7)), W)
    assert_same(lambda x: f(x, seven), W)  # held as a constant
    assert_same(lambda x: x * jax.random.normal(jax.random.PRNGKey(3), x.shape), W)


def test_a_function_without_a_derivative_is_refused():
    with pytest.raises(ValueError, match=r"source: the function has no derivative in its arguments: .*igamma_grad_a"):
        source(lambda x: jax.lax.igamma_grad_a(x, x), jnp.ones(2))


def test_primitives_of_other_libraries_are_refused_by_name():
    foreign = Primitive("their_own_solve")
    foreign.def_impl(lambda x: x)
    foreign.def_abstract_eval(lambda x: x)
    with pytest.raises(ValueError, match=r"source: their_own_solve .at .*test_source.py.* has no form in Python"):
        source(lambda x: foreign.bind(lax.stop_gradient(x)) * x, W)
    foreign.name = "sin"
    with pytest.raises(ValueError, match=r"source: sin .at .*, which is not JAX's of that name"):
        source(lambda x: foreign.bind(lax.stop_gradient(x)) * x, W)


def test_errors():
    table = jnp.arange(2000.0)
    with pytest.raises(ValueError, match=r"closes over a constant float32\[2000\]; make it an argument"):
        source(lambda x: x * table, jnp.ones(2000))
    with pytest.raises(ValueError, match="source: <lambda> returned no array"):
        source(lambda x: None, V)
    with pytest.raises(ValueError, match="source: there is no array among the arguments"):
        source(lambda name: jnp.ones(3), "x")
    with pytest.raises(ValueError, match=r"scatter .at .*test_source.py.*x.at\[i\].apply\(f\), has no form in Python"):
        source(lambda x: x * lax.stop_gradient(x).at[PLACES].apply(jnp.sin), V)
    with pytest.raises(ValueError, match=r"schur has no form in Python"):
        source(lambda a: jax.scipy.linalg.schur(a)[0], A)
    with pytest.raises(ValueError, match=r"debug_print .at .*test_source.py.* calls back into Python.*; remove it"):
        source(lambda x: (jax.debug.print("{}", x), x * x)[1], V)


def test_a_parameter_that_no_form_reads(monkeypatch):
    """As a newer JAX may give one to an operation, or to a loop."""
    total = lambda x: lax.scan(lambda c, v: (c + v, c), 0.0, x)[0]
    for name, f in (("rev", lambda x: lax.rev(x, (0,)) * 2), ("scan", total)):
        unknown = lambda eqn, name=name: ("way", 2) if eqn.primitive.name == name else None
        monkeypatch.setattr(expressions.jx, "unknown_parameter", unknown)
        with pytest.raises(ValueError, match=rf"source: {name} .at .*test_source.py.* with way=2 has no form"):
            source(f, V)
