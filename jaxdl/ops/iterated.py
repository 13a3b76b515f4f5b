"""Functions applied repeatedly, with memory that does not grow with the number of times.

The functions are settings: they must be pure. What they depend on should be in their parameters.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from jaxdl.ops.precision import is_differentiable, like, upcast
from jaxdl.rule import hoisted, op, saving


@op
def reversible(
    x: Float[Array, "..."],
    y: Float[Array, "..."],
    f_params: Any,
    g_params: Any,
    f_shared: Any = None,
    g_shared: Any = None,
    *,
    f: Callable[..., Any],
    g: Callable[..., Any],
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Reversible blocks x ← x + f(p, y), y ← y + g(q, x) (Gomez et al. 2017).

    Only the output is stored, for any number of blocks; the backward pass inverts each block. The inversion rounds, so
    that cotangents lose about a digit where x or y shrink by much in a block. Values that f and g close over are shared
    by all blocks.

    Args:
        x: Array of any shape.
        y: Array of any shape.
        f_params: The parameters p of each block, as a pytree of arrays whose first axis is the block.
        g_params: The parameters q of each block, in the same form.
        f_shared: Parameters that all blocks share; if they are given, f is called as f(f_shared, p, y).
        g_shared: The same for g.
        f: A function f(p, y) that returns the change of x.
        g: A function g(q, x) that returns the change of y.

    Returns:
        x and y after the last block.

    Raises:
        ValueError: The parameters have not the same number of blocks.

    Examples:
        >>> x, params = jnp.ones(3), jnp.ones((8, 3))  # of 8 blocks
        >>> branch = lambda p, x: jnp.sin(p * x) / 4
        >>> y, z = reversible(x, x, params, params, f=branch, g=branch)
    """
    f, g = _in_shared(f, f_shared), _in_shared(g, g_shared)

    def block(state, params):
        (x, y), (p, q) = state, params
        x = x + f(f_shared, p, y)
        return (x, y + g(g_shared, q, x)), None

    _check_blocks(f_params, g_params)
    return lax.scan(block, (x, y), (f_params, g_params))[0]


@reversible.rule
def reversible_rule(x, y, f_params, g_params, f_shared, g_shared, *, f, g):
    """Back from the last block:  y ← y − g(q, x),  x ← x − f(p, y),  and, before each of the two,

    q̄ and a summand of x̄ from ȳ through g;   p̄ and a summand of ȳ from x̄ through f.

    16-bit states are stored in 32 bits.

    Gain: recomputes the states between the blocks from the last one instead of storing them.
    """
    _check_blocks(f_params, g_params)
    x_type, y_type, shared_types = jax.typeof(x), jax.typeof(y), jax.tree.map(jax.typeof, (f_shared, g_shared))
    f, g = _in_shared(f, f_shared), _in_shared(g, g_shared)

    def do(state, params):
        (x, y), (p, q) = state, params
        x = x + upcast(f(f_shared, p, like(y_type, y)))
        return (x, y + upcast(g(g_shared, q, like(x_type, x)))), None

    def pullback(x, y, f_params, g_params, f_shared, g_shared, cotangents):
        def undo(state, params):
            (x, y, dx, dy, df, dg), (p, q) = state, params
            change, through_g = jax.vjp(g, g_shared, q, like(x_type, x))
            dg_more, dq, more = through_g(like(y_type, dy))
            y, dx = y - upcast(change), dx + upcast(more)
            change, through_f = jax.vjp(f, f_shared, p, like(y_type, y))
            df_more, dp, more = through_f(like(x_type, dx))
            state = x - upcast(change), y, dx, dy + upcast(more), _sum(df, df_more), _sum(dg, dg_more)
            return state, (dp, dq)

        nothing = jax.tree.map(_nothing, (f_shared, g_shared))
        state = x, y, *upcast(cotangents), *nothing
        (_, _, dx, dy, *shared), (dp, dq) = lax.scan(undo, state, (f_params, g_params), reverse=True)
        shared = jax.tree.map(lambda t, d: like(t, d) if is_differentiable(t.dtype) else None, shared_types, (*shared,))
        return like(x_type, dx), like(y_type, dy), dp, dq, *shared

    x, y = lax.scan(do, (upcast(x), upcast(y)), (f_params, g_params))[0]
    residuals = x, y, f_params, g_params, f_shared, g_shared
    return (like(x_type, x), like(y_type, y)), saving(pullback, *residuals)


@reversible.hoist
def reversible_closing(x, y, f_params, g_params, f_shared, g_shared, *, f, g):
    """The values that f and g close over are shared by all blocks."""
    _check_blocks(f_params, g_params)
    first = lambda params: jax.tree.map(lambda a: a[0], params)
    f, f_captured = hoisted(_in_shared(f, f_shared), f_shared, first(f_params), y)
    g, g_captured = hoisted(_in_shared(g, g_shared), g_shared, first(g_params), x)
    f_shared, g_shared = (f_captured, f_shared), (g_captured, g_shared)
    return reversible(x, y, f_params, g_params, f_shared, g_shared, f=_in_both(f), g=_in_both(g))


def _in_shared(f, shared):
    """f as a function of shared parameters, even where there are none."""
    return f if shared is not None else lambda _, p, x: f(p, x)


def _in_both(f):
    return lambda shared, p, x: f(*shared, p, x)


def _nothing(x):
    """The zero to which the cotangents of a shared parameter are added; integers have float0."""
    return jnp.zeros_like(upcast(x)) if is_differentiable(x.dtype) else np.zeros(x.shape, jax.dtypes.float0)


def _sum(total, more):
    add = lambda a, b: a + upcast(b) if is_differentiable(a.dtype) else a
    return jax.tree.map(add, total, more)


class FixedPoint(NamedTuple):
    """The result of `fixed_point`.

    Attributes:
        value: The fixed point; NaN if the iteration did not converge.
        converged: Whether it did.
    """

    value: Any
    converged: Bool[Array, ""]


@op
def fixed_point(
    params: Any, start: Any, *, f: Callable[..., Any], tolerance: float | None = None, max_steps: int = 1000
) -> FixedPoint:
    """The fixed point x = f(params, x), by iterating f; its derivative is the implicit one, of any order.

    The iteration has converged when no entry of x changes by more than `tolerance` times the largest entry (or 1 if
    that is smaller). The iteration for the adjoint has converged when no entry changes by more than `tolerance` times
    the largest entry of the cotangent; an adjoint that does not converge is NaN. Memory does not grow with the steps,
    while the derivative of a plain iteration stores every step.

    Args:
        params: What f depends on, any pytree of arrays.
        start: The first x, any pytree of arrays.
        f: A function f(params, x) that returns a pytree like x.
        tolerance: The relative tolerance; by default 10 times the machine epsilon.
        max_steps: The largest number of steps.

    Returns:
        The fixed point, and whether the iteration converged.

    Raises:
        ValueError: max_steps is less than 1.
        TypeError: f does not return a pytree like `start`.

    Examples:
        >>> root = lambda a: fixed_point(a, jnp.ones_like(a), f=lambda a, x: (x + a / x) / 2).value
        >>> round(float(root(2.0)), 4), round(float(jax.grad(root)(2.0)), 4)
        (1.4142, 0.3536)
    """
    _check_steps(f, params, start, max_steps)
    x = lax.scan(lambda x, _: (f(params, x), None), start, None, max_steps)[0]
    return _fixed_point(x, _has_converged(x, f(params, x), tolerance))


@fixed_point.hoist
def fixed_point_closing(params, start, *, f, **settings):
    """The values that f closes over become parameters."""
    hoisted_f, captured = hoisted(f, params, start)
    of_both = lambda p, x: hoisted_f(p[0], p[1], x)
    return fixed_point((captured, params), start, f=of_both, **settings)


@fixed_point.rule
def fixed_point_rule(params, start, *, f, tolerance, max_steps):
    """With A = ∂f/∂x and u = x̄ + Aᵀ u:   params̅ = (∂f/∂params)ᵀ u,   start̅ = 0

    Gain: stops when converged, and stores no step of the iteration.
    """
    _check_steps(f, params, start, max_steps)
    iterate = lambda step, x, scale: _iterate(step, x, tolerance, max_steps, scale)

    def solved(operator, b):
        """u with operator(u) = b, where operator is I − A for some A: by u ← u − operator(u) + b."""

        def solve(operator, b):
            step = lambda u: jax.tree.map(lambda u, v, b: u - v + b, u, operator(u), b)
            u, converged = iterate(step, b, _largest(b))
            return _fixed_point(u, converged).value

        return lax.custom_linear_solve(operator, b, solve, solve)

    def found(params, start):
        residual = lambda x: jax.tree.map(jnp.subtract, x, f(params, x))
        root = lambda residual, x: iterate(lambda x: jax.tree.map(jnp.subtract, x, residual(x)), x, 1)[0]
        x = lax.custom_root(residual, start, root, solved)
        return x, _has_converged(x, f(params, x), tolerance)

    def pullback(params, x, cotangent):
        _, through_f = jax.vjp(f, params, x)
        u = solved(lambda u: jax.tree.map(jnp.subtract, u, through_f(u)[1]), cotangent.value)
        return through_f(u)[0], jax.tree.map(jnp.zeros_like, x)

    x, converged = found(params, start)
    return _fixed_point(x, converged), saving(pullback, params, x)


def _iterate(step, x, tolerance, max_steps, scale: float | Array):
    """Applies step until it converges, at most max_steps times. Returns x, and whether it converged."""

    def continues(state):
        _, steps, converged = state
        return ~converged & (steps < max_steps)

    def once(state):
        x, steps, _ = state
        y = step(x)
        return y, steps + 1, _has_converged(x, y, tolerance, scale)

    y = step(x)
    x, _, converged = lax.while_loop(continues, once, (y, 1, _has_converged(x, y, tolerance, scale)))
    return x, converged


def _has_converged(x, y, tolerance, scale: float | Array = 1):
    """Whether no entry changes by more than the tolerance times the largest of y, or of `scale` if that is larger."""

    def is_close(a, b):
        allowed = 10 * float(jnp.finfo(a.dtype).eps) if tolerance is None else tolerance
        size = jnp.maximum(jnp.asarray(scale, b.real.dtype), jnp.abs(b).max(initial=0))
        return jnp.abs(a - b).max(initial=0) <= allowed * size

    return functools.reduce(jnp.logical_and, map(is_close, jax.tree.leaves(x), jax.tree.leaves(y)))


def _largest(x):
    """The size of the largest entry of all arrays; small arrays have rounding errors of the size of the large ones'."""
    sizes = [jnp.abs(a).max(initial=0) for a in jax.tree.leaves(x)]
    widest = max((s.dtype for s in sizes), key=lambda dtype: dtype.itemsize)
    return functools.reduce(jnp.maximum, [s.astype(widest) for s in sizes])


def _fixed_point(x, converged):
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
        raise TypeError(f"fixed_point: f must return arrays like start, {types(start)}, got {made}")
