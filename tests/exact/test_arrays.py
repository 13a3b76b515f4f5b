"""Indexing, reductions, products, windows, control flow, and primitives that JAX itself evaluates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxdl import exact, op, ops, saving
from tests.exact.test_primitives import agree, double, single

DRAWS = np.random.default_rng(0)
X = single([-2.0, -0.5, 0.0, 0.3, 1.0, 4.0])
M = single(DRAWS.normal(size=(3, 4)))
IMAGES = single(DRAWS.normal(size=(2, 5, 6, 4)))
KERNEL = single(DRAWS.normal(size=(3, 2, 2, 6)))


def conv(**settings):
    return lambda x, w: lax.conv_general_dilated(x, w, dimension_numbers=("NHWC", "HWIO", "NHWC"), **settings)


def pooled(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 3, 1), (1, 2, 1, 1), "SAME")


def pooled_slope(x):
    """The transpose of max pooling: select_and_scatter_add."""
    return jax.vjp(pooled, x)[1](pooled(x))[0]


def pooled_tangent(x):
    """Its derivative: select_and_gather_add, or a gather."""
    return jax.jvp(pooled, (x,), (x * 2,))[1]


def nan_max(x):
    return lax.reduce_max(jnp.where(x > 3, jnp.nan, x), axes=(0,))


# Indexing and sums of a few numbers, in which JAX has an error of a few units in the last place of float32.
AS_JAX = {
    "gather out of range": lambda x: x.at[jnp.array([0, 5, 9, -1])].get(mode="fill", fill_value=7.0),
    "gather NaN": lambda x: x.at[jnp.array([0, 9])].get(mode="fill"),
    "gather clipped": lambda x: x[jnp.array([0, 9])],
    "searchsorted": lambda x: jnp.searchsorted(jnp.array([-1.0, 0.3, 2.0]), x, side="right"),
    "interpolation": lambda x: jnp.interp(x, jnp.array([-1.0, 0.25, 2.0]), jnp.array([0.5, 1.0, -1.0])),
    "scatter": lambda x: x.at[1:3].set(5.0),
    "scatter-add": lambda x: x.at[jnp.array([0, 0, 9])].add(2.0),
    "scatter-add clipped": lambda x: x.at[jnp.array([0, 9])].add(2.0, mode="clip"),
    "scatter-add promised": lambda x: x.at[jnp.array([0, 9])].add(2.0, mode="promise_in_bounds"),
    "scatter of a function": lambda x: x.at[jnp.array([1, 1, 4])].apply(lambda v: 3 * v + 1),
    "scatter-mul": lambda x: x.at[jnp.array([1, 1, 2])].multiply(3.0),
    "scatter-min": lambda x: x.at[jnp.array([1, 5, 2])].min(0.25),
    "scatter-max": lambda x: x.at[jnp.array([1, 5, 2])].max(0.25),
    "dynamic slice": lambda x: lax.dynamic_slice(x, (4,), (3,)),
    "dynamic update": lambda x: lax.dynamic_update_slice(x, x[:2], (5,)),
    "pad": lambda x: lax.pad(x, 3.0, [(1, -2, 2)]),
    "reverse": lambda x: x[::-2],
    "concatenate": lambda x: jnp.concatenate([x, x[:2]]),
    "split": lambda x: jnp.split(x, 3),
    "stack": lambda x: jnp.unstack(jnp.stack([x, 2 * x], axis=1)),
    "tile": lambda x: jnp.tile(x, 2),
    "transpose": lambda x: jnp.einsum("ij->ji", x.reshape(2, 3))[:, None],
    "select by number": lambda x: lax.select_n(jnp.arange(6) % 3, x, 2 * x, 4 * x),
    "sort": lambda x: jnp.sort(jnp.where(jnp.abs(x) == 2, jnp.nan, -x)),
    "sort two": lambda x: lax.sort((jnp.abs(x) // 1, x), num_keys=2),
    "argsort": lambda x: jnp.argsort(jnp.abs(x)),
    "top_k": lambda x: lax.top_k(jnp.abs(x) // 1, 4),
    "argmax": lambda x: (jnp.argmax(x), jnp.argmin(x), jnp.argmax(jnp.where(x == 0, jnp.nan, x))),
    "max": lambda x: (x.max(), x.min(), nan_max(x)),
    "cumulative": lambda x: (lax.cummax(x, reverse=True), lax.cummin(x), lax.cumsum(x), lax.cumprod(x - 1)),
    "reduce by a function": lambda x: lax.reduce(x, 1.0, lambda a, b: a * 2 + b, (0,)),
    "window by a function": lambda x: lax.reduce_window(x, 1.0, lambda a, b: a * b, (2,), (2,), ((1, 0),)),
    "window sum": lambda x: lax.reduce_window(x, 0.0, lax.add, (2,), (1,), "SAME", window_dilation=(2,)),
    "switch": lambda x: lax.switch(jnp.int32(7), [lambda x: x, lambda x: x * 2], x),
    "cond": lambda x: lax.cond(x[0] < 0, lambda x: -x, lambda x: x, x),
    "scan": lambda x: lax.scan(lambda c, a: (c * a + 1, c), 1.0, x, reverse=True),
    "empty scan": lambda x: lax.scan(lambda c, a: (c, a), 1.0, x[:0]),
    "while": lambda x: lax.while_loop(lambda c: c[0] < 10, lambda c: c * 2, x + 3),
    "batched while": jax.vmap(lambda x: lax.while_loop(lambda c: c < 10, lambda c: c * 2 + 3, x)),
    "checkpoint": jax.checkpoint(lambda x: x * 2),
    "random": lambda x: x * jax.random.uniform(jax.random.key(0), x.shape),
    "bits": lambda x: lax.bitcast_convert_type(x, jnp.int32) + 1,
    "next": lambda x: lax.nextafter(x, jnp.ones_like(x)),
    "gradient inside": jax.grad(lambda x: jnp.sum(x**3)),
    "op": lambda x: ops.relu(x),
    "empty": lambda x: (x[:0].sum(), x[:0].prod(), x[:0] @ x[:0]),
}


@pytest.mark.parametrize("name", AS_JAX)
def test_as_jax(name):
    got, expected = exact.evaluate(AS_JAX[name])(jnp.asarray(X)), AS_JAX[name](jnp.asarray(X))
    for y, e in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        e = np.asarray(e)
        assert y.shape == e.shape
        np.testing.assert_allclose(y.astype(e.dtype), e, rtol=3e-7)


def convolved(x, w, strides=(1, 1), padding=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
    """yₙᵢⱼₒ by loops."""
    x, w = double(x), double(w)
    x = np.pad(x, ((0, 0), *padding, (0, 0)))
    spans = [(k - 1) * d + 1 for k, d in zip(w.shape, dilation, strict=False)]
    sizes = [(n - k) // s + 1 for n, k, s in zip(x.shape[1:], spans, strides, strict=False)]
    y = np.zeros((len(x), *sizes, w.shape[-1]))
    for i, j, o in np.ndindex(*y.shape[1:]):
        rows, columns = (
            slice(a * s, a * s + k, d) for a, s, k, d in zip((i, j), strides, spans, dilation, strict=True)
        )
        channels = x.shape[-1] // groups
        first = o * groups // w.shape[-1] * channels
        y[:, i, j, o] = np.einsum("nabc,abc->n", x[:, rows, columns, first : first + channels], w[..., o])
    return y


def test_products_and_windows():
    agree(exact.evaluate(lambda a, b: lax.dot_general(a, b, (((0,), (1,)), ((), ()))))(M, M.T), double(M).T @ double(M))
    batched = exact.evaluate(lambda a, b: jnp.einsum("bij,bkj->bik", a, b))(IMAGES[0], IMAGES[0])
    agree(batched, np.einsum("bij,bkj->bik", double(IMAGES[0]), double(IMAGES[0])), 1e-12)
    agree(exact.evaluate(lambda x: x @ x.T)(single(M) * 1j), -(double(M) @ double(M).T) + 0j)
    agree(exact.evaluate(lax.cumlogsumexp)(X), np.logaddexp.accumulate(double(X)))
    agree(exact.evaluate(lambda x: jnp.prod(x, axis=0))(M), double(M).prod(0))
    agree(exact.evaluate(jnp.var)(M), double(M).var())


@pytest.mark.parametrize(
    ("strides", "padding", "dilation"),
    [
        ((2, 1), ((1, 0), (2, 1)), (1, 1)),
        ((1, 2), ((0, 1), (1, 0)), (2, 1)),
    ],
)
def test_convolution(strides, padding, dilation):
    f = conv(window_strides=strides, padding=padding, rhs_dilation=dilation, feature_group_count=2)
    agree(exact.evaluate(f)(IMAGES, KERNEL), convolved(IMAGES, KERNEL, strides, padding, dilation, 2), 1e-11)


def test_convolutions_that_derivatives_need():
    """With dilated inputs and batch groups."""
    spread = conv(window_strides=(1, 1), padding=((2, 1), (1, -1)), lhs_dilation=(1, 2), feature_group_count=2)
    by_batch = conv(window_strides=(1, 1), padding="VALID", batch_group_count=2)
    for f, x in (spread, IMAGES), (by_batch, IMAGES[..., :2]):
        expected = f(x, KERNEL)
        np.testing.assert_allclose(exact.evaluate(f, 20)(x, KERNEL).astype(np.float32), expected, rtol=1e-4, atol=1e-5)
    for f in pooled, pooled_slope, pooled_tangent:
        np.testing.assert_allclose(exact.evaluate(f, 20)(IMAGES).astype(np.float32), f(IMAGES), rtol=1e-6)


def test_select_and_gather():
    agree(exact.evaluate(pooled_tangent, 20)(IMAGES), 2 * double(np.asarray(pooled(IMAGES))))


def test_rules_are_not_used():
    """Ops and custom rules are evaluated by their primals."""

    @op
    def cubed(x):
        return x**3

    @cubed.rule
    def _(x):
        return x * 0, saving(lambda dy: (dy,))

    wrong = jax.custom_vjp(lambda x: x**3)
    wrong.defvjp(lambda x: (x * 0, None), lambda _, dy: (dy,))
    wrong_too = jax.custom_jvp(lambda x: x**3)
    wrong_too.defjvp(lambda x, t: (x[0] * 0, t[0]))
    for f in cubed, wrong, wrong_too, jax.jit(wrong), jax.vmap(cubed):
        agree(exact.evaluate(f)(X), double(X) ** 3)
        agree(exact.derivative(f)(X).value, 3 * double(X) ** 2)


def test_an_ops_derivative_inside():
    """The derivative of an op inside a function is that of the op's rule, with its polynomials where it has them."""
    y = exact.evaluate(jax.grad(lambda x: jnp.sum(ops.tanh(x))))(X)
    agree(y, 1 / np.cosh(double(X)) ** 2)
    y = exact.evaluate(jax.grad(lambda x: jnp.sum(ops.sigmoid(x))))(X)
    e = np.exp(-double(X))
    np.testing.assert_allclose(np.array(y, float), e / (1 + e) ** 2, rtol=1e-8)  # a polynomial for float32


def test_endless_loops_are_ended(monkeypatch):
    monkeypatch.setattr("jaxdl.exact.interpreter.MOST_STEPS", 50)
    with pytest.raises(ArithmeticError, match=r"while loop at .*test_arrays.py:.* does not end within 50 steps"):
        exact.evaluate(lambda x: lax.while_loop(lambda c: c > 0, lambda c: c / 2, x))(np.float32(1))


@pytest.mark.parametrize("digits", [0, -3, 2.5])
def test_digits(digits):
    for of in (exact.evaluate, exact.derivative):
        with pytest.raises(ValueError, match="exact: digits must be a whole number, 1 or more, got"):
            of(jnp.sin, digits=digits)(1.0)
