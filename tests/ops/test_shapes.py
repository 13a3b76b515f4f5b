"""Cotangents have their argument's shape and value, whatever is broadcast or reduced."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

from jaxdl import ops
from tests.tolerance import assert_close

small = settings(max_examples=10, deadline=None)


def same_gradients(f, g, *arrays):
    every = tuple(range(len(arrays)))
    ours, theirs = (jax.grad(lambda *a, h=h: jnp.sin(h(*a)).sum(), every)(*arrays) for h in (f, g))
    for a, b in zip(ours, theirs, strict=True):
        assert_close(a, b, "float32")


@small
@given(mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3))
def test_broadcast_arithmetic(shapes):
    x, y = (np.random.default_rng(i).uniform(0.5, 2, s).astype(np.float32) for i, s in enumerate(shapes.input_shapes))
    with jax.numpy_rank_promotion("allow"):
        same_gradients(ops.multiply, jnp.multiply, x, y)
        same_gradients(ops.divide, jnp.divide, x, y)


@small
@given(st.data(), st.integers(1, 3), st.booleans())
def test_reductions_over_any_axes(data, ndim, keepdims):
    shape = data.draw(st.tuples(*[st.integers(1, 3)] * ndim))
    axis = data.draw(st.one_of(st.none(), st.integers(-ndim, ndim - 1), st.permutations(range(ndim)).map(tuple)))
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    pairs = {
        ops.sum: jnp.sum, ops.prod: jnp.prod, ops.mean: jnp.mean, ops.max: jnp.max, ops.min: jnp.min,
        ops.logsumexp: jax.nn.logsumexp,
    }  # fmt: skip
    for ours, theirs in pairs.items():
        same_gradients(*(partial(f, axis=axis, keepdims=keepdims) for f in (ours, theirs)), x)


@small
@given(st.lists(st.integers(1, 3), max_size=3), st.integers(1, 4), st.integers(1, 4))
def test_dense_on_any_batch(batch, i, o):
    rng = np.random.default_rng(0)
    x, w, b = (rng.normal(size=s).astype(np.float32) for s in ((*batch, i), (i, o), (o,)))
    with jax.numpy_rank_promotion("allow"):
        same_gradients(ops.dense, lambda x, w, b: x @ w + b, x, w, b)
