"""Estimates from products with random vectors: the diagonal, trace and log determinant of a Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.jacobian.analysis.krylov import lanczos
from jaxdl.jacobian.methods.arguments import Argnums, bind_arguments
from jaxdl.jacobian.methods.base import P
from jaxdl.jacobian.methods.products import square_jacobian


class Estimate(NamedTuple):
    """A mean over random vectors.

    Attributes:
        value: The mean.
        error: Its standard error, of the same structure.
    """

    value: Any
    error: Any


def estimated_diagonal(
    f: Callable[P, Any], key: jax.Array, argnums: Argnums = 0, *, probes: int = 64
) -> Callable[P, Estimate]:
    """Estimates the diagonal of J: the mean of v ⊙ J v over random signs v (Bekas, Kokiopoulou, Saad 2007).

    Args:
        f: The function to differentiate, with as many outputs as differentiated inputs.
        key: Of `jax.random`.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        probes: The number of random vectors, each for one forward sweep.

    Returns:
        A function of f's arguments that returns the `Estimate`, like the differentiated arguments.

    Raises:
        ValueError: When called, if the Jacobian is not square.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> estimate = jacobian.estimated_diagonal(jnp.sin, jax.random.key(0))(jnp.zeros(3))
        >>> estimate.value.tolist()
        [1.0, 1.0, 1.0]
    """

    def at(*args: P.args, **kwargs: P.kwargs) -> Estimate:
        g, x = bind_arguments("estimated_diagonal", f, argnums, args, kwargs)
        push, x, unravel = square_jacobian("estimated_diagonal", g, x)
        return Estimate(*map(unravel, _mean(lambda v: v * push(v), key, x, probes)))

    return at


def estimated_matrix_trace(
    f: Callable[P, Any], key: jax.Array, argnums: Argnums = 0, *, probes: int = 64
) -> Callable[P, Estimate]:
    """Estimates the trace of J: the mean of vᵀ J v over random signs v (Hutchinson 1989).

    Args:
        f: The function to differentiate, with as many outputs as differentiated inputs.
        key: Of `jax.random`.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        probes: The number of random vectors, each for one forward sweep.

    Returns:
        A function of f's arguments that returns the `Estimate`, of scalars.

    Raises:
        ValueError: When called, if the Jacobian is not square.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> estimate = jacobian.estimated_matrix_trace(jnp.sin, jax.random.key(0))(jnp.zeros(3))
        >>> float(estimate.value), float(estimate.error)
        (3.0, 0.0)
    """

    def at(*args: P.args, **kwargs: P.kwargs) -> Estimate:
        g, x = bind_arguments("estimated_matrix_trace", f, argnums, args, kwargs)
        push, x, _ = square_jacobian("estimated_matrix_trace", g, x)
        return _mean(lambda v: v @ push(v), key, x, probes)

    return at


def estimated_logdet(
    f: Callable[P, Any], key: jax.Array, argnums: Argnums = 0, *, probes: int = 64, order: int = 30
) -> Callable[P, Estimate]:
    """Estimates log |det J| = ½ tr log JᵀJ by stochastic Lanczos quadrature (Ubaru, Chen, Saad 2017).

    J should be far from singular: the error of the quadrature grows with the condition number of JᵀJ, and is not part
    of `Estimate.error`.

    Args:
        f: The function to differentiate, with as many outputs as differentiated inputs.
        key: Of `jax.random`.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        probes: The number of random vectors.
        order: The number of Lanczos steps for each, at most the number of inputs.

    Returns:
        A function of f's arguments that returns the `Estimate`, of scalars.

    Raises:
        ValueError: When called, if the Jacobian is not square.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> estimate = jacobian.estimated_logdet(lambda x: 2 * x, jax.random.key(0))(jnp.ones(3))
        >>> round(float(estimate.value), 3)  # 3 log 2
        2.079
    """

    def at(*args: P.args, **kwargs: P.kwargs) -> Estimate:
        g, x = bind_arguments("estimated_logdet", f, argnums, args, kwargs)
        push, x, _ = square_jacobian("estimated_logdet", g, x)
        pull = jax.linear_transpose(push, x)
        gram = lambda v: pull(push(v))[0]
        quadrature = lambda v: 0.5 * x.size * _log_quadrature(gram, v / jnp.linalg.norm(v), min(order, x.size))
        return _mean(quadrature, key, x, probes)

    return at


def _log_quadrature(symmetric: Callable[..., Any], v: jax.Array, order: int) -> jax.Array:
    """vᵀ log(A) v by `order` Lanczos steps from the unit vector v."""
    values, vectors = jnp.linalg.eigh(lanczos(symmetric, v, order))
    weights = vectors[0] ** 2
    return jnp.where(weights > 0, weights * jnp.log(jnp.maximum(values, jnp.finfo(v.dtype).tiny)), 0).sum()


def _mean(statistic: Callable[..., Any], key: jax.Array, x: jax.Array, probes: int) -> Estimate:
    signs = jax.random.rademacher(key, (probes, x.size), x.dtype)
    values = jax.lax.map(statistic, signs)
    return Estimate(values.mean(0), values.std(0, ddof=1) / probes**0.5)
