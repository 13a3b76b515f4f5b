"""Functions with hand-written derivative rules, one for each form that JAX and jaxdl have, and the same without rules.

`hand.cube` has a rule; `hand.WITHOUT.cube` computes the same without one. The rules of `WRONG_RULES` are deliberately
not the derivative, so that results show which derivative was used.
"""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from jaxdl import op, saving

WRONG_RULES = ("halving", "reversing", "leaking")


def is_zero(x):
    return isinstance(x, SymbolicZero)


def dense(x):
    """The array of a tangent or cotangent that may be a symbolic zero."""
    return jnp.zeros(x.shape, x.dtype) if is_zero(x) else x


# --- custom_jvp ------------------------------------------------------------------------------------


@jax.custom_jvp
def cube(x):
    return x**3


cube.defjvps(lambda x_dot, y, x: 3 * x**2 * x_dot)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def scaled(n, x):
    return jnp.sin(n * x)


@scaled.defjvp
def _(n, primals, tangents):
    (x,), (x_dot,) = primals, tangents
    return scaled(n, x), n * jnp.cos(n * x) * x_dot


@jax.custom_jvp
def pair(tree):
    return {"product": tree["a"] * tree["b"], "sine": jnp.sin(tree["a"])}


@pair.defjvp
def _(primals, tangents):
    (t,), (d,) = primals, tangents
    return pair(t), {"product": t["a"] * d["b"] + t["b"] * d["a"], "sine": jnp.cos(t["a"]) * d["a"]}


@jax.custom_jvp
def sparing(a, b):
    return a * jnp.cos(b)


def _sparing_jvp(primals, tangents):
    (a, b), (a_dot, b_dot) = primals, tangents
    parts = [] if is_zero(a_dot) else [a_dot * jnp.cos(b)]
    parts += [] if is_zero(b_dot) else [-a * jnp.sin(b) * b_dot]
    return sparing(a, b), sum(parts[1:], parts[0]) if parts else jnp.zeros_like(a * b)


sparing.defjvp(_sparing_jvp, symbolic_zeros=True)


@jax.custom_jvp
def triple(x):
    return 3 * x


triple.defjvp(lambda primals, tangents: (triple(*primals), triple(*tangents)))  # linear: its tangent is itself


@jax.custom_jvp
def nested(x):
    return jax.nn.silu(cube(x))


@nested.defjvp
def _(primals, tangents):
    (x,), (x_dot,) = primals, tangents
    u = cube(x)
    s = jax.nn.sigmoid(u)
    return u * s, (s + u * s * (1 - s)) * 3 * x**2 * x_dot


# --- custom_vjp ------------------------------------------------------------------------------------


@jax.custom_vjp
def product(a, b):
    return a * b


product.defvjp(lambda a, b: (a * b, (a, b)), lambda kept, dy: (dy * kept[1], dy * kept[0]))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def powered(x, n):
    return jnp.sin(x) ** n


powered.defvjp(
    lambda x, n: (powered(x, n), x), lambda n, x, dy: (dy * n * jnp.sin(x) ** (n - 1) * jnp.cos(x),)
)  # fmt: skip


@jax.custom_vjp
def careful(a, b):
    return jnp.sin(a) * b, jnp.tanh(b)


def _careful_forward(a, b):
    y = careful(a.value, b.value)
    return y, (a.value if b.perturbed else None, a.value, b.value)


def _careful_backward(kept, dy):
    _, a, b = kept
    first, second = map(dense, dy)
    da, db = first * jnp.cos(a) * b, first * jnp.sin(a) + second * (1 - jnp.tanh(b) ** 2)
    return da.astype(a.dtype), db.astype(b.dtype)  # the two may have different dtypes


careful.defvjp(_careful_forward, _careful_backward, symbolic_zeros=True)


@jax.custom_vjp
def picked(x, i):
    return jnp.take(jnp.sin(x), i, axis=0, mode="clip")


picked.defvjp(
    lambda x, i: (picked(x, i), (x, i)),
    lambda kept, dy: (jax.vjp(lambda x: jnp.take(jnp.sin(x), kept[1], axis=0, mode="clip"), kept[0])[1](dy)[0], None),
)


@jax.custom_vjp
def rebuilt(x):
    return jnp.exp(jnp.sin(x))


rebuilt.defvjp(
    lambda x: (jnp.exp(jnp.sin(x)), (x,)), lambda kept, dy: (dy * jnp.exp(jnp.sin(kept[0])) * jnp.cos(kept[0]),),
    optimize_remat=True,
)  # fmt: skip


@jax.custom_gradient
def graded(x):
    y = jnp.exp(-(x**2))
    return y, lambda dy: -2 * x * y * dy


# --- jaxdl.op --------------------------------------------------------------------------------------


@op
def waved(x, w, *, rate=2.0):
    return jnp.sin(rate * x) * w


@waved.rule
def _(x, w, *, rate):
    def pullback(x, w, dy):
        return dy * w * rate * jnp.cos(rate * x), dy * jnp.sin(rate * x)

    return jnp.sin(rate * x) * w, saving(pullback, x, w)


# --- wrong rules -----------------------------------------------------------------------------------


@jax.custom_jvp
def halving(x):
    return jnp.sin(x)


halving.defjvps(lambda x_dot, y, x: 0.5 * jnp.cos(x) * x_dot)


@jax.custom_vjp
def reversing(x):
    return jnp.tanh(x)


reversing.defvjp(lambda x: (jnp.tanh(x), x), lambda x, dy: (-dy * (1 - jnp.tanh(x) ** 2),))


@op
def leaking(x):
    return jnp.where(x > 0, x, 0.1 * x)


leaking.rule(lambda x: (jnp.where(x > 0, x, 0.1 * x), saving(lambda dy: (3 * dy,))))


WITHOUT = SimpleNamespace(
    cube=lambda x: x**3,
    scaled=lambda n, x: jnp.sin(n * x),
    pair=lambda tree: {"product": tree["a"] * tree["b"], "sine": jnp.sin(tree["a"])},
    sparing=lambda a, b: a * jnp.cos(b),
    triple=lambda x: 3 * x,
    nested=lambda x: x**3 * jax.nn.sigmoid(x**3),
    product=lambda a, b: a * b,
    powered=lambda x, n: jnp.sin(x) ** n,
    careful=lambda a, b: (jnp.sin(a) * b, jnp.tanh(b)),
    picked=lambda x, i: jnp.take(jnp.sin(x), i, axis=0, mode="clip"),
    rebuilt=lambda x: jnp.exp(jnp.sin(x)),
    graded=lambda x: jnp.exp(-(x**2)),
    waved=lambda x, w, *, rate=2.0: jnp.sin(rate * x) * w,
    halving=jnp.sin,
    reversing=jnp.tanh,
    leaking=lambda x: jnp.where(x > 0, x, 0.1 * x),
)
