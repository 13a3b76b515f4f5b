"""Functions applied again and again, with a memory that does not grow with how often.

The functions are settings: they must be pure, and take what they depend on as parameters.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxdl.ops.precision import like, widened
from jaxdl.rule import op, saving


@op
def reversible(
    x: Float[Array, "..."], y: Float[Array, "..."], f_params: Any, g_params: Any, *, f: Callable, g: Callable
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Blocks x ← x + f(p, y), y ← y + g(q, x), one for each entry (p, q) of the parameters' first axes.

    What is kept is the output alone, of any number of blocks: backward each is undone (Gomez et al. 2017).
    Undoing rounds, so that cotangents lose a digit or so where x or y shrink by much in a block.
    """

    def block(state, params):
        (x, y), (p, q) = state, params
        x = x + f(p, y)
        return (x, y + g(q, x)), None

    _check_blocks(f_params, g_params)
    return lax.scan(block, (x, y), (f_params, g_params))[0]


@reversible.rule
def reversible_rule(x, y, f_params, g_params, *, f, g):
    """Back from the last block:  y ← y − g(q, x),  x ← x − f(p, y),  and, before each of the two,

    q̄, and x̄ more, from ȳ through g;   p̄, and ȳ more, from x̄ through f.   16-bit states are kept in 32 bits.

    Gain: the states between the blocks are not kept but made again from the last.
    """
    _check_blocks(f_params, g_params)
    x_type, y_type = jax.typeof(x), jax.typeof(y)

    def do(state, params):
        (x, y), (p, q) = state, params
        x = x + widened(f(p, like(y_type, y)))
        return (x, y + widened(g(q, like(x_type, x)))), None

    def undo(state, params):
        (x, y, dx, dy), (p, q) = state, params
        change, through_g = jax.vjp(g, q, like(x_type, x))
        dq, more = through_g(like(y_type, dy))
        y, dx = y - widened(change), dx + widened(more)
        change, through_f = jax.vjp(f, p, like(y_type, y))
        dp, more = through_f(like(x_type, dx))
        return (x - widened(change), y, dx, dy + widened(more)), (dp, dq)

    def pullback(x, y, f_params, g_params, cotangents):
        state, (dp, dq) = lax.scan(undo, (x, y, *widened(cotangents)), (f_params, g_params), reverse=True)
        return like(x_type, state[2]), like(y_type, state[3]), dp, dq

    x, y = lax.scan(do, (widened(x), widened(y)), (f_params, g_params))[0]
    return (like(x_type, x), like(y_type, y)), saving(pullback, x, y, f_params, g_params)


class FixedPoint(NamedTuple):
    """Where the iteration came to rest: `value` (NaN if it did not), and whether it did."""

    value: Any
    converged: Bool[Array, ""]


@op
def fixed_point(
    params: Any, start: Any, *, f: Callable, tolerance: float | None = None, max_steps: int = 1000
) -> FixedPoint:
    """x = f(params, x), found by iterating f from start; its derivative is the implicit one, of any order.

    x is any pytree of arrays. The iteration has converged when no entry of x moves further than `tolerance`
    times the largest entry (or 1 if that is smaller); by default 10 units of rounding. If that takes more
    than max_steps, value is NaN and converged False. An adjoint is at rest when no entry moves further than
    `tolerance` times the largest of the cotangent; one that does not come to rest is NaN, too. Memory does not
    grow with the steps, where the derivative of the plain iteration keeps every one of them.
    """
    _check_steps(f, params, start, max_steps)
    x = lax.scan(lambda x, _: (f(params, x), None), start, None, max_steps)[0]
    return _reported(x, _is_at_rest(x, f(params, x), tolerance))


@fixed_point.rule
def fixed_point_rule(params, start, *, f, tolerance, max_steps):
    """With A = ∂f/∂x and u = x̄ + Aᵀ u:   params̅ = (∂f/∂params)ᵀ u,   start̅ = 0

    Gain: it stops when at rest, and no step of the iteration is kept.
    """
    _check_steps(f, params, start, max_steps)
    iterate = lambda step, x, scale=1: _iterate(step, x, tolerance, max_steps, scale)

    def solved(operator, b):
        """u with operator(u) = b, where operator is I − A for some A: by u ← u − operator(u) + b."""

        def solve(operator, b):
            step = lambda u: jax.tree.map(lambda u, v, b: u - v + b, u, operator(u), b)
            u, converged = iterate(step, b, _largest(b))
            return _reported(u, converged).value

        return lax.custom_linear_solve(operator, b, solve, solve)

    def found(params, start):
        residual = lambda x: jax.tree.map(jnp.subtract, x, f(params, x))
        root = lambda residual, x: iterate(lambda x: jax.tree.map(jnp.subtract, x, residual(x)), x)[0]
        x = lax.custom_root(residual, start, root, solved)
        return x, _is_at_rest(x, f(params, x), tolerance)

    def pullback(params, x, cotangent):
        _, through_f = jax.vjp(f, params, x)
        u = solved(lambda u: jax.tree.map(jnp.subtract, u, through_f(u)[1]), cotangent.value)
        return through_f(u)[0], jax.tree.map(jnp.zeros_like, x)

    x, converged = found(params, start)
    return _reported(x, converged), saving(pullback, params, x)


def _iterate(step, x, tolerance, max_steps, scale):
    """step applied until it is at rest, at most max_steps times; and whether it is."""

    def moves(state):
        _, steps, at_rest = state
        return ~at_rest & (steps < max_steps)

    def once(state):
        x, steps, _ = state
        y = step(x)
        return y, steps + 1, _is_at_rest(x, y, tolerance, scale)

    y = step(x)
    x, _, at_rest = lax.while_loop(moves, once, (y, 1, _is_at_rest(x, y, tolerance, scale)))
    return x, at_rest


def _is_at_rest(x, y, tolerance, scale=1):
    """Whether no entry moves further than the tolerance times the largest of y, or times `scale` if that is larger."""

    def is_close(a, b):
        allowed = 10 * float(jnp.finfo(a.dtype).eps) if tolerance is None else tolerance
        size = jnp.maximum(jnp.asarray(scale, b.real.dtype), jnp.abs(b).max(initial=0))
        return jnp.abs(a - b).max(initial=0) <= allowed * size

    return functools.reduce(jnp.logical_and, map(is_close, jax.tree.leaves(x), jax.tree.leaves(y)))


def _largest(x):
    """The size of the largest entry of all arrays; one for all, as the small ones carry the rounding of the large."""
    sizes = [jnp.abs(a).max(initial=0) for a in jax.tree.leaves(x)]
    widest = max((s.dtype for s in sizes), key=lambda dtype: dtype.itemsize)
    return functools.reduce(jnp.maximum, [s.astype(widest) for s in sizes])


def _reported(x, converged):
    return FixedPoint(jax.tree.map(lambda a: jnp.where(converged, a, jnp.nan), x), converged)


def _check_blocks(f_params, g_params):
    lengths = {leaf.shape[:1] for leaf in jax.tree.leaves((f_params, g_params))}
    if len(lengths) != 1 or lengths == {()}:
        raise ValueError(
            f"reversible: all parameters must have the number of blocks as their first axis, got {sorted(lengths)}"
        )


def _check_steps(f, params, start, max_steps):
    if max_steps < 1:
        raise ValueError(f"fixed_point: max_steps must be 1 or more, got {max_steps}")
    types = lambda tree: jax.tree.map(lambda a: (a.shape, a.dtype), jax.eval_shape(lambda: tree))
    made = jax.tree.map(lambda a: (a.shape, a.dtype), jax.eval_shape(f, params, start))
    if made != types(start):
        raise TypeError(f"fixed_point: f must return what start is, {types(start)}, got {made}")
