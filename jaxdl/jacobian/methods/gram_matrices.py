"""Gram matrices of Jacobians: diagonals and blocks of the Gauss-Newton matrix, and the neural tangent kernel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxdl.jacobian.analysis.modes import linearize
from jaxdl.jacobian.methods.arguments import Argnums, bind_arguments
from jaxdl.jacobian.methods.base import P
from jaxdl.jacobian.methods.products import chunk_size, in_chunks, scalar_function

Loss = Callable[[Any], Any]


def gauss_newton_diagonal(
    f: Callable[P, Any], loss: Loss | None = None, argnums: Argnums = 0, *, chunk: int | None = None
) -> Callable[P, Any]:
    """The exact diagonal of the Gauss-Newton matrix Jᵀ H J, with J of f and H the Hessian of `loss` at f's output.

    By a sweep for each input, or one (without a loss) or two for each output, whichever are fewer. No matrix of the
    size of J is stored.

    Args:
        f: The model.
        loss: A scalar function of f's output; without one H is the identity: the squared norms of J's columns.
        argnums: Which arguments of f to differentiate.
        chunk: How many sweeps to compute at a time; see `diagonal`.

    Returns:
        A function of f's arguments that returns the diagonal, like the differentiated arguments.

    Raises:
        ValueError: When called, if the loss is no scalar.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> jacobian.gauss_newton_diagonal(lambda x: x.sum() * x)(jnp.ones(2)).tolist()
        [10.0, 10.0]
    """

    def at(*args: P.args, **kwargs: P.kwargs) -> Any:
        g, x = bind_arguments("gauss_newton_diagonal", f, argnums, args, kwargs)
        x, unravel = ravel_pytree(x)
        y, push, times_h = _linearized("gauss_newton_diagonal", lambda x: g(unravel(x)), x, loss)
        size = chunk_size(chunk, x)
        if x.size <= y.size:
            column = lambda i: (lambda v: v @ times_h(v))(push(jax.nn.one_hot(i, x.size, dtype=x.dtype)))
            return unravel(in_chunks(column, x.size, size))
        pull = lambda u: jax.linear_transpose(push, x)(u)[0]

        def of_row(i):
            u = jax.nn.one_hot(i, y.size, dtype=y.dtype)
            row = pull(u)
            return row * (row if loss is None else pull(times_h(u)))

        starts = jnp.arange(0, y.size, size)  # one-hot vectors beyond the last row are 0
        sums = jax.lax.map(lambda start: jax.vmap(of_row)(start + jnp.arange(min(size, y.size))).sum(0), starts)
        return unravel(sums.sum(0))

    return at


def gauss_newton_blocks(f: Callable[P, Any], loss: Loss | None = None, argnums: Argnums = 0) -> Callable[P, Any]:
    """The diagonal blocks of the Gauss-Newton matrix Jᵀ H J, one for each array among the arguments.

    J is computed by rows, or by columns if these are fewer.

    Args:
        f: The model.
        loss: A scalar function of f's output; without one H is the identity.
        argnums: Which arguments of f to differentiate.

    Returns:
        A function of f's arguments that returns, in the structure of the differentiated arguments, a block of shape
        leaf.shape + leaf.shape for each array.

    Raises:
        ValueError: When called, if the loss is no scalar.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> f = lambda p: p["w"] * p["b"].sum()
        >>> blocks = jacobian.gauss_newton_blocks(f)({"w": jnp.ones(2), "b": jnp.ones(3)})
        >>> blocks["w"].shape, blocks["b"].shape
        ((2, 2), (3, 3))
    """

    def at(*args: P.args, **kwargs: P.kwargs) -> Any:
        g, x = bind_arguments("gauss_newton_blocks", f, argnums, args, kwargs)
        y, _, times_h = _linearized("gauss_newton_blocks", g, x, loss)
        rows = _rows(g, x)
        hessian = None if loss is None else jax.vmap(times_h)(jnp.eye(y.size, dtype=y.dtype))

        def block(leaf, of_leaf):
            j = of_leaf.reshape(y.size, leaf.size)
            return (j.T @ (j if hessian is None else hessian @ j)).reshape(leaf.shape + leaf.shape)

        return jax.tree.map(block, x, rows)

    return at


def neural_tangent_kernel(f: Callable[..., Any], *, chunk: int | None = None) -> Callable[..., jax.Array]:
    """The empirical neural tangent kernel J(x₁) J(x₂)ᵀ between two batches, with J in the parameters.

    Args:
        f: The model of one example, called as f(params, x).
        chunk: How many examples of the first batch to compute at a time; by default all. J of the second batch is
            stored.

    Returns:
        A function (params, first, second=None) of the parameters and of batches of x, along the first axis of each
        array; without a second batch it is the first. It returns an array of shape (N₁, N₂, m, m), with the m entries
        of f's output.

    Raises:
        TypeError: When called, if parameters cannot be differentiated.
        ValueError: If `chunk` is not positive.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> kernel = jacobian.neural_tangent_kernel(lambda w, x: jnp.tanh(x @ w))
        >>> kernel(jnp.ones((3, 2)), jnp.ones((4, 3)), jnp.ones((5, 3))).shape
        (4, 5, 2, 2)
    """
    if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
        raise ValueError(f"jacobian.neural_tangent_kernel: chunk must be a positive integer, got {chunk!r}")

    def kernel(params: Any, first: Any, second: Any = None) -> jax.Array:
        def rows(x):
            g, at = bind_arguments("neural_tangent_kernel", f, 0, (params, x), {})
            return _rows(g, at)

        others = jax.vmap(rows)(first if second is None else second)

        def with_others(x):
            products = [
                jnp.einsum("ap,jbp->jab", a.reshape(a.shape[0], -1), b.reshape(*b.shape[:2], -1))
                for a, b in zip(jax.tree.leaves(rows(x)), jax.tree.leaves(others), strict=True)
            ]
            return sum(products[1:], products[0])

        if chunk is None:
            return jax.vmap(with_others)(first)
        return jax.lax.map(with_others, first, batch_size=chunk)

    return kernel


def _linearized(
    name: str, g: Callable[..., Any], x: Any, loss: Loss | None
) -> tuple[jax.Array, Callable[..., Any], Callable[..., Any]]:
    """The output y as a vector, v ↦ J v, and u ↦ H u with the Hessian of the loss at y; J v and u as vectors."""
    y, push = linearize(g, x)
    vector, unravel = ravel_pytree(y)
    times_h = (lambda u: u) if loss is None else linearize(jax.grad(scalar_function(name, loss)), y)[1]
    as_vector = lambda tree: ravel_pytree(tree)[0]
    return vector, lambda v: as_vector(push(v)), lambda u: as_vector(times_h(unravel(u)))


def _rows(g: Callable[..., Any], x: Any) -> Any:
    """The Jacobian with all outputs along the first axis, by rows or by columns."""
    of_vector = lambda x: ravel_pytree(g(x))[0]
    n = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(x))
    return (jax.jacrev if jax.eval_shape(of_vector, x).size <= n else jax.jacfwd)(of_vector)(x)
