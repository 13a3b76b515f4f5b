"""Faults in functions that are hard to judge: stops of gradients, closures, constants, round numbers."""

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.audit_functions.fault import Fault, Rule, by_vjp, normal, positive

WRONG = frozenset({"wrong"})
ROW = normal((5,))


def lerp(a, b, c):
    return a + b * c


def shifted(x):
    """Σ eˣ, computed without intermediate overflow."""
    top = lax.stop_gradient(x.max())
    return jnp.exp(x - top).sum() * jnp.exp(top)


def root(factor):
    """√a by `lax.custom_root`, whose function closes over a; `factor` scales the tangent solve."""

    def settled(a):
        newton = lambda h, y: lax.fori_loop(0, 25, lambda _, y: y - h(y) / (2 * y), y)
        solve = lambda h, y: factor * y / h(jnp.ones_like(y))
        return lax.custom_root(lambda y: y * y - a, jnp.ones_like(a), newton, solve)

    return settled


def kept(divide):
    """√(x² + ε) with a constant ε, which is an input of the rule, with cotangent 0."""
    plain = lambda x, eps: jnp.sqrt(x * x + eps)
    f = jax.custom_vjp(plain)
    f.defvjp(lambda x, eps: (plain(x, eps), (x, plain(x, eps))), lambda r, dy: (dy * divide(*r), jnp.zeros_like(dy)))
    return lambda x: f(x, jnp.full_like(x, 1e-3))


LERP = Rule(
    by_vjp, lerp, lambda a, b, c, y, dy: (dy, dy * c, dy * b),
    tuple(jnp.asarray(x, jnp.float32) for x in ([1.0, 0.0], [2.0, 1.0], [0.5, 0.25])),
)  # fmt: skip
SHIFTED = Rule(by_vjp, shifted, lambda x, y, dy: jnp.exp(x) * dy, ROW)

FAULTS = (
    LERP.fault("c̄ = ȳ b / 2, at round numbers", "factor", lambda a, b, c, y, dy: (dy, dy * c, dy * b / 2)),
    SHIFTED.fault("behind a stop, 0.9 of it", "behind a stop", lambda x, y, dy: 0.9 * jnp.exp(x) * dy),
    SHIFTED.fault(
        "behind a stop, NaN where x is small",
        "behind a stop",
        lambda x, y, dy: jnp.where(x < 0, jnp.sqrt(x), 1) * jnp.exp(x) * dy,
        "non-finite",
        "wrong at second order",
    ),
    Fault("root: half of the total", "first-order implicit rule", root(1.0), root(0.5), positive(()), WRONG),
    Fault("norm: x in place of x / y", "missing term", kept(jnp.divide), kept(lambda x, y: x), ROW, WRONG),
)
