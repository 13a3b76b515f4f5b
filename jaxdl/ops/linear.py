"""Matrix products and affine layers."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Inexact

from jaxdl.ops.precision import like, unbroadcast
from jaxdl.rule import op, saving


@op
def matmul(x: Array, y: Array) -> Array:
    """z = x y, the matrix product, with the broadcasting of `jnp.matmul`.

    Args:
        x: Matrices (…, n, k), or a vector (k,).
        y: Matrices (…, k, m), or a vector (k,), of the same dtype.

    Returns:
        Matrices (…, n, m), without the axis of a vector.

    Raises:
        ValueError: An argument is a scalar, or the lengths k differ.

    Examples:
        >>> matmul(jnp.ones((5, 2, 3)), jnp.ones((3, 4))).shape
        (5, 2, 4)
    """
    if x.ndim == 0 or y.ndim == 0 or x.shape[-1] != y.shape[-2:][0]:
        raise ValueError(f"matmul: x's last axis must have the length of y's last but one, got {x.shape} and {y.shape}")
    return x @ y


@matmul.rule
def matmul_rule(x, y):
    """x̄ = z̄ yᵀ,  ȳ = xᵀ z̄, with vectors as one row or one column"""

    def pullback(x, y, dz):
        row, column = jnp.atleast_2d(x), y[:, None] if y.ndim == 1 else y
        dz = jnp.expand_dims(dz, (-2,) * (x.ndim == 1) + (-1,) * (y.ndim == 1))
        dx, dy = dz @ column.mT, row.mT @ dz
        return (
            unbroadcast(dx[..., 0, :] if x.ndim == 1 else dx, x),
            unbroadcast(dy[..., 0] if y.ndim == 1 else dy, y),
        )

    return x @ y, saving(pullback, x, y)


@op
def dense(x: Inexact[Array, "*n i"], w: Inexact[Array, "i o"], b: Inexact[Array, " o"]) -> Inexact[Array, "*n o"]:
    """y = x w + b, an affine layer.

    Args:
        x: Inputs (*n, i), with any number of leading axes.
        w: Weights (i, o), of the same dtype.
        b: Biases (o,), of the same dtype.

    Returns:
        Outputs (*n, o).

    Raises:
        ValueError: The shapes do not fit.

    Examples:
        >>> dense(jnp.ones((5, 2)), jnp.ones((2, 3)), jnp.zeros(3)).shape
        (5, 3)
    """
    if w.ndim != 2 or x.ndim < 1 or x.shape[-1] != w.shape[0] or b.shape != w.shape[1:]:
        raise ValueError(f"dense: x (*n, i), w (i, o) and b (o,) do not fit: x: {x.shape}, w: {w.shape}, b: {b.shape}")
    return x @ w + _as_row(b, x.ndim)


@dense.rule
def dense_rule(x, w, b):
    """x̄ = ȳ wᵀ,   w̄ = xᵀ ȳ,   b̄ = Σ ȳ"""
    b_type = jax.typeof(b)

    def pullback(x, w, dy):
        rows, drows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
        return like(x, dy @ w.T), like(w, rows.T @ drows), like(b_type, drows.sum(0))

    return x @ w + _as_row(b, x.ndim), saving(pullback, x, w)


def _as_row(b, ndim):
    return b.reshape((1,) * (ndim - 1) + b.shape)
