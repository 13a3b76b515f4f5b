"""Rules as users write them: what `jax.custom_vjp` and `jax.custom_jvp` allow, with constants of one format inside."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

X = jnp.asarray(np.random.default_rng(0).standard_normal((6, 5)), jnp.float32)
RULES: dict[str, Callable[[], tuple[Callable[..., Any], tuple[Any, ...]]]] = {}


def listed(make):
    RULES[make.__name__.replace("_", " ")] = make
    return make


def with_rule(f, forward, backward, **settings):
    f = functools.wraps(f)(jax.custom_vjp(f))
    f.defvjp(forward, backward, **settings)
    return f


@listed
def a_residual_that_is_an_output():
    def forward(x):
        y = jnp.tanh(x)
        return y + 1.0, y

    return with_rule(lambda x: jnp.tanh(x) + 1.0, forward, lambda y, dy: (dy * (1 - y * y),)), (X,)


@listed
def an_integer_residual():
    f = lambda x: (x * 0.5).max(-1)
    hot = lambda i, x: jax.nn.one_hot(i, x.shape[-1], dtype=x.dtype)
    backward = lambda kept, dy: (0.5 * dy[:, None] * hot(*kept),)
    return with_rule(f, lambda x: (f(x), (x.argmax(-1), x)), backward), (X,)


@listed
def a_random_key():
    def f(key, x):
        return jnp.where(jax.random.bernoulli(key, 0.7, x.shape), x / 0.7, 0.0)

    return with_rule(f, lambda key, x: (f(key, x), key), lambda key, dy: (None, f(key, dy))), (jax.random.key(1), X)


@listed
def an_old_random_key():
    def f(key, x):
        return jnp.where(jax.random.bernoulli(key, 0.7, x.shape), x / 0.7, 0.0)

    none = lambda key: np.zeros(key.shape, jax.dtypes.float0)
    backward = lambda key, dy: (none(key), f(key, dy))
    return with_rule(f, lambda key, x: (f(key, x), key), backward), (jax.random.PRNGKey(1), X)


@listed
def python_numbers_as_residuals():
    f = lambda x: 3.0 * jnp.sin(x)
    return with_rule(f, lambda x: (f(x), (x, 3.0, 2)), lambda kept, dy: (kept[1] * dy * jnp.cos(kept[0]),)), (X,)


@listed
def a_pytree_of_residuals():
    def f(params, x):
        return 0.1 * jnp.exp(x @ params["w"] + params["b"])

    def forward(params, x):
        y = f(params, x)
        return y, {"params": params, "x": x, "y": [y, None]}

    def backward(kept, dy):
        u = dy * kept["y"][0]
        return {"w": kept["x"].T @ u, "b": u.sum(0, keepdims=True)}, u @ kept["params"]["w"].T

    return with_rule(f, forward, backward), ({"w": jnp.full((5, 3), 0.1), "b": jnp.ones((1, 3))}, X)


@listed
def nondiff_argnums():
    @functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
    def f(x, n, g):
        return 0.25 * g(x) ** n

    f.defvjp(lambda x, n, g: (f(x, n, g), x), lambda n, g, x, dy: (dy * 0.25 * n * g(x) ** (n - 1) * jnp.cos(x),))
    return lambda x: f(x, 3, jnp.sin), (X,)


@listed
def custom_jvp():
    f = jax.custom_jvp(lambda x: jnp.log1p(jnp.exp(x)) + 0.5)
    f.defjvp(lambda x, x_dot: (f(*x), x_dot[0] * jax.nn.sigmoid(x[0])))
    return f, (X,)


@listed
def custom_jvp_by_argument():
    f = jax.custom_jvp(lambda x, y: x * y * 2.0)
    f.defjvps(lambda x_dot, _, x, y: 2.0 * x_dot * y, lambda y_dot, _, x, y: 2.0 * y_dot * x)
    return f, (X, X + 1)


@listed
def stop_gradient():
    f = lambda x: x - lax.stop_gradient(x.max(-1, keepdims=True)) + 0.5
    return with_rule(f, lambda x: (f(x), None), lambda _, dy: (dy,)), (X,)


@listed
def a_weak_number():
    f = lambda x, c: x * c
    rule = with_rule(f, lambda x, c: (x * c, (x, c)), lambda kept, dy: (dy * kept[1], (dy * kept[0]).sum()))
    return lambda x: rule(x, 1.5), (X,)


@listed
def arrays_of_the_surroundings():
    w, w_host = jnp.full((5, 3), 0.3), np.full((5, 3), 0.2, np.float32)
    f = lambda x: lax.dot(x, w) + lax.dot(x, w_host)
    return with_rule(f, lambda x: (f(x), None), lambda _, dy: (dy @ w.T + dy @ w_host.T,)), (X,)


@listed
def a_rule_in_a_scan():
    f = lambda c, x: c * 0.9 + jnp.sin(x)
    rule = with_rule(f, lambda c, x: (f(c, x), jnp.cos(x)), lambda slope, dy: (0.9 * dy, dy * slope))
    return lambda x: lax.scan(lambda c, x: (rule(c, x), c * 1.5), jnp.zeros(5), x), (X,)


@listed
def a_scan_in_a_rule():
    sums = lambda x, **way: lax.scan(lambda c, x: (c * 0.5 + x, c), jnp.zeros(5), x, **way)[1]
    return with_rule(sums, lambda x: (sums(x), None), lambda _, dy: (sums(dy, reverse=True),)), (X,)


@listed
def a_branch_in_a_rule():
    f = lambda x: lax.cond(x.sum() > 0, lambda x: x * 2.0, lambda x: x * 3.0, x)
    backward = lambda kept, dy: (jnp.where(kept, 2.0, 3.0).astype(dy.dtype) * dy,)
    return with_rule(f, lambda x: (f(x), x.sum() > 0), backward), (X,)


@listed
def a_wider_format_inside():
    f = lambda x: (x.astype(jnp.float32) * 2.0).astype(x.dtype) + 1
    return with_rule(f, lambda x: (f(x), None), lambda _, dy: (2 * dy,)), (X.astype(jnp.bfloat16),)


@listed
def complex_values_inside():
    half = lambda x: jnp.fft.fft(x) * 0.5
    f = lambda x: half(x).real ** 2 + half(x).imag ** 2
    return with_rule(
        f, lambda x: (f(x), half(x)), lambda z, dy: (jnp.fft.fft(lax.complex(dy, 0 * dy) * jnp.conj(z)).real,)
    ), (X,)


@listed
def symbolic_zeros():
    f = lambda x, y: x * y + 1.0
    forward = lambda x, y: (f(x.value, y.value), (x.value, y.value))
    return with_rule(f, forward, lambda kept, dy: (dy * kept[1], dy * kept[0]), symbolic_zeros=True), (X, X + 1)


@listed
def a_rule_in_a_rule():
    g = jax.custom_jvp(lambda x: jnp.exp(x) * 0.1)
    g.defjvps(lambda x_dot, y, x: x_dot * y)
    rule = with_rule(lambda x: g(x) + 2.0, lambda x: (g(x) + 2.0, g(x)), lambda y, dy: (dy * y,))
    return jax.jit(rule), (X,)


@listed
def an_integer_argument():
    f = lambda x, i: x[i] * 2.0
    backward = lambda kept, dy: (jnp.zeros_like(kept[0]).at[kept[1]].add(2.0 * dy), None)
    return with_rule(f, lambda x, i: (f(x, i), (x, i)), backward), (X, jnp.array([0, 2, 2]))


@listed
def vmapped():
    f = lambda x: jnp.tanh(x).sum() + 1.0
    return jax.vmap(with_rule(f, lambda x: (f(x), x), lambda x, dy: (dy * (1 - jnp.tanh(x) ** 2),))), (X,)


@listed
def checkpointed():
    f = jax.checkpoint(lambda x: jnp.sin(x) * 2.0)
    rule = with_rule(lambda x: f(x), lambda x: (f(x), x), lambda x, dy: (2.0 * dy * jnp.cos(x),))
    return jax.checkpoint(rule), (X,)


@listed
def a_direct_solve():
    f = lambda a, b: jnp.linalg.solve(a, b) + 1.0

    def backward(kept, dy):
        u = jnp.linalg.solve(kept[0].T, dy)
        return -jnp.outer(u, kept[1]), u

    return with_rule(f, lambda a, b: (f(a, b), (a, f(a, b) - 1.0)), backward), (jnp.eye(5) * 3 + X[:5], X[0])


@listed
def an_iterated_solve():
    f = lambda b: jax.scipy.sparse.linalg.cg(lambda v: 2.0 * v + v.mean(), b, tol=1e-6)[0]
    return with_rule(f, lambda b: (f(b), None), lambda _, dy: (f(dy),)), (X[0],)
