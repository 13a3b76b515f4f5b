"""Every operation has a source, with the same values and derivatives."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from jaxdl import ops
from jaxdl.ops.op_cases import cases
from tests.draws import draw
from tests.graph.written_source import assert_same

ONE_OF_EACH = list({case.op: case for case in reversed(cases())}.values())


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=str)
def test_of_every_operation(case):
    assert_same(lambda *args: case.op(*args, **case.settings), *case.make(1, "float32"))


TANGENTS = {
    "jvp": lambda x: jax.jvp(ops.silu, (x,), (jnp.cos(x),))[1],
    "linearize": lambda x: jax.linearize(ops.softmax, x)[1](jnp.sin(x)),
    "vmap": lambda x: jax.vmap(lambda x: jax.jvp(ops.tanh, (x,), (2 * x,))[1])(x),
    "vmap inside": lambda x: jax.jvp(jax.vmap(lambda a: ops.logsumexp(a * x)), (x,), (x,))[1],
}


@pytest.mark.parametrize("name", TANGENTS)
def test_of_tangents_of_operations(name):
    assert_same(TANGENTS[name], draw(1, 3))


A, B, V = draw(1, 3, 3) + 3 * jnp.eye(3), draw(2, 3, 2), draw(3, 3)
SHORT, FEW_BITS = jnp.array([55, 77, 103], jnp.int8), V.astype(jnp.bfloat16)
HOLES = jnp.array([complex(1, jnp.inf), complex(jnp.nan, 2), 3])
PLACED = jax.sharding.SingleDeviceSharding(jax.devices()[0])
KEY, KEYS = jax.random.key(3), jax.random.split(jax.random.key(3), 3)
PLACES, RAW = jnp.array([0, 2]), jnp.arange(4, dtype=jnp.uint32)
dot, special, linalg = jnp.dot, jax.scipy.special, lax.linalg
below = lambda v, **side: jnp.searchsorted(jnp.array([0.0, jnp.nan, jnp.nan]), v, **side)
# By what is special in each.
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
