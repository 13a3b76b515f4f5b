"""Functions whose backward passes are planned, each with its arguments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import nn, ops

FUNCTIONS = {}


def with_arguments(*args):
    def add(f):
        FUNCTIONS[f.__name__] = f, args
        return f

    return add


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng([seed, *shape]).standard_normal(shape), jnp.float32)


@with_arguments({"w": [normal(8, 8), normal(8, 8, seed=1)], "b": normal(8)}, normal(4, 8))
def layers(params, x):
    for w in params["w"]:
        x = jnp.tanh(x @ w + params["b"][None]) * jnp.sin(x)
    return jax.nn.log_softmax(x).sum()


@with_arguments(normal(3, 6, 6), normal(4, 6), normal(6))
def scanned(w, x, b):
    def body(x, w):
        h = jnp.sin(x @ w + b[None])
        return h * jax.nn.gelu(x), jnp.exp(-h).sum()

    x, losses = jax.lax.scan(body, x, w)
    return x.sum() + (losses**2).sum()


@with_arguments(normal(4, 4), normal(3, 4))
def nested_scans(w, x):
    def inner(h, x):
        h = jnp.tanh(h @ w + x)
        return h, jnp.sin(h)

    def outer(h, x):
        h, y = jax.lax.scan(inner, h, jnp.stack([x, 2 * x]), reverse=True)
        return jnp.cos(h), y.sum()

    h, y = jax.lax.scan(outer, x[0], x)
    return h.sum() * y.sum()


@with_arguments(normal(6, 16), normal(5, 2))
def recurrent(w, xs):
    """A long short-term memory, whose last state has no cotangent."""

    def cell(state, x):
        h, c = state
        i, f, g, o = jnp.split(jnp.concatenate([x, h]) @ w, 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    return (jax.lax.scan(cell, (jnp.zeros(4), jnp.zeros(4)), xs)[1] ** 2).sum()


@with_arguments(normal(3, 3), normal(13, 3))
def long_scans(w, xs):
    """A scan that is not a whole number of segments, in both directions."""
    step = lambda h, x: (jnp.tanh(h @ w + x), jnp.sin(h) * x)
    first, y = jax.lax.scan(step, xs[0], xs)
    last, z = jax.lax.scan(step, first, y, reverse=True)
    return (z * xs).sum() + last.sum()


@with_arguments(normal(5, 6), jax.random.key(3))
def dropped_out(x, key):
    for k in jax.random.split(key):
        x = jnp.where(jax.random.bernoulli(k, 0.7, x.shape), jnp.sin(x) / 0.7, 0.0)
    return jnp.sum(x**2)


@with_arguments(normal(3, 5, 5), normal(4, 5), jax.random.key(3))
def dropped_out_in_scan(w, x, key):
    def body(x, inputs):
        w, key = inputs
        return jnp.where(jax.random.bernoulli(key, 0.7, x.shape), jnp.tanh(x @ w), x), None

    return jax.lax.scan(body, x, (w, jax.random.split(key, 3)))[0].sum()


@with_arguments(normal(4), jnp.int32(3))
def branches_and_loops(x, n):
    y = jax.lax.cond(n > 2, jnp.sin, lambda x: x * jnp.exp(x), jnp.cos(x))
    steps = jax.lax.while_loop(lambda i: i < n, lambda i: i + 1, 0)
    return (y * steps).sum(), {"n": n + 1, "y": jnp.tanh(y)}


@jax.custom_vjp
def doubled_gradient(x):
    return jnp.sin(x)


doubled_gradient.defvjp(lambda x: (jnp.sin(x), jnp.cos(x)), lambda c, dy: (2 * c * dy,))


@with_arguments(normal(5))
def custom_rules(x):
    return jax.nn.relu(doubled_gradient(jnp.exp(x)) - 0.1) @ jax.nn.silu(x)


@with_arguments(normal(5), jnp.arange(5), normal(5) > 0)
def of_integers(x, i, mask):
    return jnp.where(mask, jnp.sin(x)[i], 0.0).sum(), i + 1


@with_arguments(normal(6, 4), normal(4, 4))
def with_checkpoints(x, w):
    part = jax.checkpoint(lambda x: jnp.sin(jnp.tanh(x @ w)))
    return part(part(x)).sum()


@with_arguments(normal(4).astype(jnp.complex64) * (1 + 2j))
def of_complex(z):
    return jnp.abs(jnp.sin(z) * jnp.exp(z)).sum()


@with_arguments(normal(2, 6, 8))
def of_ops(x):
    block = nn.transformer_block(2, nn.gelu_feed_forward(16), causal=True)
    params = block.init(jax.random.key(0), (6, 8))
    return ops.softmax(block.apply(params, x)).max()


@with_arguments(jnp.float32(0.7))
def of_scalar(x):
    return jax.nn.relu(jnp.sin(jnp.exp(jnp.tanh(x))))


@with_arguments(normal(4, 3))
def jitted_parts(x):
    part = jax.jit(lambda x, n: jnp.sin(x) ** n, static_argnums=1)
    return functools.reduce(lambda x, n: part(x, n), (1, 2, 3), x).mean()
