"""Products with Jacobians and Hessians, and what can be computed from products without the matrix.

Each function takes f and argnums and returns a function of f's arguments, which returns a linear map or the result.
Vectors and results have the structure of the differentiated arguments, or of the output.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.modes import linearize
from jaxdl.jacobian.methods.arguments import Argnums, bind_arguments
from jaxdl.jacobian.methods.base import P

LinearMap = Callable[[Any], Any]

POINTS_AT_ONCE = 32


def pushforward(f: Callable[P, Any], argnums: Argnums = 0) -> Callable[P, LinearMap]:
    """Products J v with the Jacobian: f is linearized once, for any number of v.

    Args:
        f: The function to differentiate.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.

    Returns:
        A function of f's arguments that returns v ↦ J v, with v like the differentiated arguments and J v like the
        output.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> x = jnp.zeros(3)
        >>> Jv = jacobian.pushforward(jnp.sin)(x)(jnp.ones(3))
    """

    def at(*args: P.args, **kwargs: P.kwargs) -> LinearMap:
        return linearize(*bind_arguments("pushforward", f, argnums, args, kwargs))[1]

    return at


def pullback(f: Callable[P, Any], argnums: Argnums = 0) -> Callable[P, LinearMap]:
    """Products uᵀ J with the Jacobian: one forward pass for any number of u.

    Args:
        f: The function to differentiate.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.

    Returns:
        A function of f's arguments that returns u ↦ uᵀ J, with u like the output and uᵀ J like the differentiated
        arguments.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> jacobian.pullback(jnp.sin)(jnp.zeros(3))(jnp.ones(3)).tolist()
        [1.0, 1.0, 1.0]
    """

    def at(*args: P.args, **kwargs: P.kwargs) -> LinearMap:
        pull = jax.vjp(*bind_arguments("pullback", f, argnums, args, kwargs))[1]
        return lambda u: pull(u)[0]

    return at


def hvp(f: Callable[P, Any], argnums: Argnums = 0) -> Callable[P, LinearMap]:
    """Products H v with the Hessian of a scalar function, forward over reverse (Pearlmutter 1994).

    Args:
        f: The function to differentiate twice.
        argnums: Which arguments to differentiate, as in `jax.hessian`.

    Returns:
        A function of f's arguments that returns v ↦ H v; v and H v are like the differentiated arguments.

    Raises:
        ValueError: When called, if f's output is no scalar.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> jacobian.hvp(lambda x: (x**3).sum())(jnp.array([1.0, 2.0]))(jnp.ones(2)).tolist()
        [6.0, 12.0]
    """

    def at(*args: P.args, **kwargs: P.kwargs) -> LinearMap:
        g, x = bind_arguments("hvp", f, argnums, args, kwargs)
        return linearize(jax.grad(scalar_function("hvp", g)), x)[1]

    return at


def gauss_newton(f: Callable[P, Any], loss: Callable[[Any], Any], argnums: Argnums = 0) -> Callable[P, LinearMap]:
    """Products with the Gauss-Newton matrix Jᵀ H J, with J of f and H the Hessian of `loss` at f's output.

    It is positive semidefinite for a convex loss; the Hessian of loss(f(x)) need not be (Schraudolph 2002).

    Args:
        f: The model.
        loss: A scalar function of f's output.
        argnums: Which arguments of f to differentiate.

    Returns:
        A function of f's arguments that returns v ↦ Jᵀ H J v; both vectors are like the differentiated arguments.

    Raises:
        ValueError: When called, if the loss is no scalar.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> f, loss = lambda w: 3 * w, lambda y: (y**2).sum() / 2
        >>> jacobian.gauss_newton(f, loss)(jnp.ones(2))(jnp.array([1.0, 2.0])).tolist()
        [9.0, 18.0]
    """

    def at(*args: P.args, **kwargs: P.kwargs) -> LinearMap:
        g, x = bind_arguments("gauss_newton", f, argnums, args, kwargs)
        y, push = linearize(g, x)
        pull = jax.linear_transpose(push, x)
        hessian = linearize(jax.grad(scalar_function("gauss_newton", loss)), y)[1]
        return lambda v: pull(hessian(push(v)))[0]

    return at


def hessian_diagonal(f: Callable[P, Any], argnums: Argnums = 0, *, chunk: int | None = None) -> Callable[P, Any]:
    """The exact diagonal of the Hessian of a scalar function; see `diagonal`.

    Args:
        f: The function to differentiate twice.
        argnums: Which arguments to differentiate, as in `jax.hessian`.
        chunk: How many Hessian-vector products to compute at a time; see `diagonal`.

    Returns:
        A function of f's arguments that returns the diagonal, like the differentiated arguments.

    Raises:
        ValueError: When called, if f's output is no scalar.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> jacobian.hessian_diagonal(lambda x: (x**3).sum())(jnp.array([1.0, 2.0])).tolist()
        [6.0, 12.0]
    """

    def at(*args: P.args, **kwargs: P.kwargs) -> Any:
        g, x = bind_arguments("hessian_diagonal", f, argnums, args, kwargs)
        return diagonal(jax.grad(scalar_function("hessian_diagonal", g)), chunk=chunk)(x)

    return at


def diagonal(f: Callable[P, Any], argnums: Argnums = 0, *, chunk: int | None = None) -> Callable[P, Any]:
    """The exact diagonal of a square Jacobian, by one forward sweep for each entry.

    The matrix is never stored: memory grows with chunk · n. For a sparse Jacobian `sparse` needs fewer sweeps.

    Args:
        f: The function to differentiate, with as many outputs as differentiated inputs.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        chunk: How many sweeps to compute at a time; by default 32, or under vmap as many as are 32 points in all.

    Returns:
        A function of f's arguments that returns the diagonal, like the differentiated arguments.

    Raises:
        ValueError: When called, if the Jacobian is not square.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> jacobian.diagonal(jnp.sin)(jnp.zeros(3)).tolist()
        [1.0, 1.0, 1.0]
    """

    def at(*args: P.args, **kwargs: P.kwargs) -> Any:
        push, x, unravel = square_jacobian("diagonal", *bind_arguments("diagonal", f, argnums, args, kwargs))
        entry = lambda i: push(jax.nn.one_hot(i, x.size, dtype=x.dtype))[i]
        return unravel(in_chunks(entry, x.size, chunk_size(chunk, x)))

    return at


def matrix_trace(f: Callable[P, Any], argnums: Argnums = 0, *, chunk: int | None = None) -> Callable[P, jax.Array]:
    """The exact trace of a square Jacobian: the sum of `diagonal`.

    Args:
        f: The function to differentiate, with as many outputs as differentiated inputs.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        chunk: How many sweeps to compute at a time; see `diagonal`.

    Returns:
        A function of f's arguments that returns the trace, a scalar.

    Raises:
        ValueError: When called, if the Jacobian is not square.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> float(jacobian.matrix_trace(lambda x: 2 * x)(jnp.ones(3)))
        6.0
    """

    def at(*args: P.args, **kwargs: P.kwargs) -> jax.Array:
        g, x = bind_arguments("matrix_trace", f, argnums, args, kwargs)
        return ravel_pytree(diagonal(g, chunk=chunk)(x))[0].sum()

    return at


def logdet(f: Callable[P, Any], argnums: Argnums = 0) -> Callable[P, jax.Array]:
    """log |det J| of a square Jacobian; of others ½ log det JᵀJ or ½ log det JJᵀ, whichever is the smaller matrix.

    It is the sum of the logarithms of the singular values: how f changes volumes, also on the manifold that it maps to.
    Exact, by the LU decomposition of a square matrix, or the QR decomposition of others.

    Args:
        f: The function to differentiate.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.

    Returns:
        A function of f's arguments that returns a scalar; −∞ where J does not have full rank.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> round(float(jacobian.logdet(lambda x: jnp.stack([3 * x, 4 * x]))(1.0)), 4)  # log 5
        1.6094
    """

    def at(*args: P.args, **kwargs: P.kwargs) -> jax.Array:
        g, x = bind_arguments("logdet", f, argnums, args, kwargs)
        x, unravel = ravel_pytree(x)
        of_vector = lambda x: ravel_pytree(g(unravel(x)))[0]
        m, n = jax.eval_shape(of_vector, x).size, x.size
        if m < n:
            y, pull = jax.vjp(of_vector, x)
            tall = jax.vmap(lambda u: pull(u)[0], out_axes=1)(jnp.eye(m, dtype=y.dtype))
        else:
            tall = jax.vmap(linearize(of_vector, x)[1], out_axes=1)(jnp.eye(n, dtype=x.dtype))
        if m == n:
            return jnp.linalg.slogdet(tall)[1]
        return jnp.log(jnp.abs(jnp.diagonal(jnp.linalg.qr(tall, mode="r")))).sum()

    return at


def square_jacobian(name: str, g: Callable[..., Any], x: Any) -> tuple[LinearMap, jax.Array, Callable[..., Any]]:
    """v ↦ J v between vectors of the same length, the point as a vector, and the way back from vectors.

    Raises:
        ValueError: If J is not square.
    """
    x, unravel = ravel_pytree(x)
    y, push = linearize(lambda x: ravel_pytree(g(unravel(x)))[0], x)
    if y.size != x.size:
        raise ValueError(f"jacobian.{name} needs a square Jacobian: f takes {x.size} numbers and gives {y.size}")
    return push, x, unravel


def chunk_size(chunk: int | None, x: jax.Array) -> int:
    """How many sweeps to compute at a time. Under vmap each is one for all points, which soon exceed a CPU's cache."""
    return max(1, POINTS_AT_ONCE // jx.mapped_points(x)) if chunk is None else chunk


def in_chunks(f: Callable[[jax.Array], jax.Array], count: int, chunk: int) -> jax.Array:
    """f of 0, 1, …, count − 1, as many at a time as a chunk has."""
    return jax.lax.map(f, jnp.arange(count), batch_size=min(chunk, count) if chunk > 1 else None)


def scalar_function(name: str, f: Callable[..., Any]) -> Callable[..., Any]:
    """f, which raises if its output is no scalar."""

    def checked(x):
        y = f(x)
        if jnp.shape(y) != ():
            raise ValueError(f"jacobian.{name} needs a function with a scalar output, got shape {jnp.shape(y)}")
        return y

    return checked
