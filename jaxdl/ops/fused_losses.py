"""Losses fused with the matrix product that computes their logits, so that few or no logits are stored.

The rules compute the cotangents in the forward pass, block by block, for a cotangent of the loss of 1. The backward
pass only scales them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxdl.ops.losses import (
    Labels,
    cross_entropies,
    softmax_cross_entropy_with_integer_labels,
    spread_over_losses,
)
from jaxdl.ops.platforms import by_platform, einsum, over_blocks, rows_of_block
from jaxdl.ops.precision import like, upcast, zeros
from jaxdl.rule import op, saving

CACHE = 4_200_000  # bytes of a block of logits
NEAR_CACHE = 1_050_000  # bytes of a part of w̄ and of what is added to it
FEWEST_ROWS = 128  # of a block; with fewer, adding to w̄ takes longer than computing the summands

# Elsewhere than on a CPU:
LARGE_BLOCK = 2**28  # bytes of a block of logits
LEAST_ROWS = 1024  # of a block; with fewer, reading w and w̄ takes longer than the products


@op
def linear_cross_entropy(
    x: Float[Array, "n d"],
    w: Float[Array, "d c"],
    labels: Labels,
    weights: Float[Array, "n"] | None = None,
    *,
    reduce: Callable[[Array], Array] = jnp.mean,
) -> Float[Array, ""]:
    """softmax_cross_entropy_with_integer_labels(x w, labels), reduced to one number.

    The logits (n, c) are never all in memory.

    Args:
        x: Inputs (n, d).
        w: Weights (d, c), of the same dtype.
        labels: Integers (n,). A label outside 0 … c − 1 gives NaN.
        weights: Weights of the losses, (n,), instead of `reduce`: Σ weights · losses.
        reduce: A linear function of the losses, such as `jnp.mean` or `jnp.sum`.

    Returns:
        The loss, one number.

    Raises:
        ValueError: The shapes do not fit, or `reduce` does not return one number.
        TypeError: The labels are not integers.

    Examples:
        >>> loss = linear_cross_entropy(jnp.ones((4, 8)), jnp.zeros((8, 10)), jnp.arange(4))
        >>> round(float(loss), 4)
        2.3026
    """
    _check_linear(x, w, labels)
    reduce = _reduction(weights, reduce)
    loss = softmax_cross_entropy_with_integer_labels.primal(x @ w, labels, reduce=reduce)
    if loss.shape:
        raise ValueError(f"linear_cross_entropy: reduce must give one number, got shape {loss.shape}")
    return loss


@linear_cross_entropy.rule
def linear_cross_entropy_rule(x, w, labels, weights, *, reduce):
    """With z = x w and z̄ = (softmax − onehot) l̄:   x̄ = z̄ wᵀ,   w̄ = xᵀ z̄,   weights̅ = losses

    Gain: computes logits one block of rows at a time, together with their cotangents.
    """
    n, x_type, w_type = x.shape[0], jax.typeof(x), jax.typeof(w)
    reduce = _reduction(weights, reduce)
    weights_type = None if weights is None else jax.typeof(weights)
    slopes_of_losses = spread_over_losses(reduce, jax.ShapeDtypeStruct((n,), x.dtype), jnp.ones((), x.dtype))

    dw, losses, dx = by_platform(_near_cache, _in_large_blocks)(x, w, labels, slopes_of_losses)
    losses = like(x, losses)

    def pullback(dx, dw, dweights, dy):
        dy = upcast(dy)
        dweights = None if dweights is None else like(weights_type, upcast(dweights) * dy)
        return like(x_type, dx * dy), like(w_type, dw * dy), None, dweights

    return reduce(losses), saving(pullback, dx, dw, None if weights is None else losses)


@linear_cross_entropy.hoist
def linear_cross_entropy_closing(x, w, labels, weights, *, reduce):
    """The values that a reduction closes over determine its slopes, which become weights."""
    losses = jax.ShapeDtypeStruct(labels.shape, x.dtype)
    one = jnp.ones((), jax.eval_shape(reduce, losses).dtype)
    return linear_cross_entropy(x, w, labels, jax.linear_transpose(reduce, losses)(one)[0])


def _reduction(weights, reduce):
    return reduce if weights is None else lambda losses: (weights.astype(losses.dtype) * losses).sum()


def _near_cache(x, w, labels, weights):
    """w̄, the losses and x̄ for a sum of losses with these weights: on a CPU, in parts that fit in its cache."""
    wide_w, c = upcast(w), w.shape[1]

    def of_rows(dw, x, labels, weights):
        losses, slopes = cross_entropies(x @ wide_w, labels)
        slopes = slopes * weights[:, None]
        return _with_product_added(dw, x, slopes), (losses, _times_transposed(slopes, wide_w))

    rows = upcast(x), labels, weights
    dw, (losses, dx) = over_blocks(of_rows, zeros(w.shape, w), rows, max(FEWEST_ROWS, CACHE // (4 * c)))
    return dw, losses, dx


def _in_large_blocks(x, w, labels, weights):
    """The same elsewhere, where a product of few rows or columns leaves most of the device idle."""

    def of_rows(dw, x, labels, weights):
        losses, slopes = cross_entropies(einsum("nd,dc->nc", x, w, w.dtype), labels)
        slopes = slopes * weights[:, None]
        dw += einsum("nd,nc->dc", x, slopes, w.dtype)
        return dw, (losses, einsum("nc,dc->nd", slopes, w, w.dtype))

    most = rows_of_block(4 * w.shape[1], LARGE_BLOCK, LEAST_ROWS)
    dw, (losses, dx) = over_blocks(of_rows, zeros(w.shape, w), (x, labels, weights), most)
    return dw, losses, dx


def _times_transposed(x, w):
    """x wᵀ, without a transposed copy of w in memory."""
    return lax.dot_general(x, w, (((1,), (1,)), ((), ())))


def _with_product_added(dw, x, slopes):
    """w̄ + xᵀ z̄, a few rows at a time, so that the product is never all in memory."""
    d, c = dw.shape
    rows = next(r for r in range(min(d, max(1, NEAR_CACHE // (8 * c))), 0, -1) if d % r == 0)

    def add(i, dw):
        at = i * rows
        part = lax.dynamic_slice_in_dim(x, at, rows, 1).T @ slopes
        return lax.dynamic_update_slice_in_dim(dw, lax.dynamic_slice_in_dim(dw, at, rows, 0) + part, at, 0)

    return lax.fori_loop(0, d // rows, add, dw)


@op
def contrastive_loss(x: Float[Array, "n d"], y: Float[Array, "n d"], scale: Float[Array, ""]) -> Float[Array, ""]:
    """The symmetric loss of CLIP for pairs of features (Radford et al. 2021).

    It is the mean of the cross-entropies of scale·x yᵀ along its rows and along its columns; the labels are those of
    the diagonal.

    Args:
        x: Features (n, d), usually of length 1.
        y: The features that belong to x, (n, d), of the same dtype.
        scale: The inverse temperature, one number.

    Returns:
        The loss, one number.

    Raises:
        ValueError: The shapes do not fit, or the batch is empty.

    Examples:
        >>> float(contrastive_loss(jnp.eye(4), jnp.eye(4), jnp.float32(100.0))) < 1e-6
        True
    """
    _check_pairs(x, y, scale)
    logits, labels = scale * (x @ y.T), jnp.arange(x.shape[0])
    loss = softmax_cross_entropy_with_integer_labels.primal
    return (loss(logits, labels, reduce=jnp.mean) + loss(logits.T, labels, reduce=jnp.mean)) / 2


@contrastive_loss.rule
def contrastive_loss_rule(x, y, scale):
    """With z = scale·x yᵀ and z̄ half the sum of both losses' derivatives:

    x̄ = scale·z̄ y,   ȳ = scale·z̄ᵀ x,   scale̅ = Σ x (z̄ y)

    Gain: computes the cotangents in the forward pass, so that nothing of size n × n is stored.
    """
    # x is scaled, not the product: XLA would fuse that multiplication with the subtraction of the largest, unrounded.
    _check_pairs(x, y, scale)
    types = tuple(map(jax.typeof, (x, y, scale)))
    wide_x, wide_y, wide_scale = upcast((x, y, scale))
    n, labels = x.shape[0], jnp.arange(x.shape[0])
    scaled = wide_scale * wide_x
    logits = scaled @ wide_y.T
    by_row, down = cross_entropies(logits, labels)
    by_column, across = cross_entropies(logits.T, labels)
    slopes = (down + across.T) / (2 * n)
    through = slopes @ wide_y
    kept = wide_scale * through, slopes.T @ scaled, (wide_x * through).sum()

    def pullback(dx, dy, dscale, dloss):
        return tuple(like(t, d * upcast(dloss)) for t, d in zip(types, (dx, dy, dscale), strict=True))

    return like(x, (by_row.mean() + by_column.mean()) / 2), saving(pullback, *kept)


def _check_linear(x, w, labels):
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[0] or labels.shape != x.shape[:1]:
        raise ValueError(
            f"linear_cross_entropy: x (n, d), w (d, c) and labels (n,) do not fit: "
            f"x: {x.shape}, w: {w.shape}, labels: {labels.shape}"
        )


def _check_pairs(x, y, scale):
    if x.ndim != 2 or x.shape != y.shape or scale.shape:
        raise ValueError(
            f"contrastive_loss: x and y must both be (n, d) and scale one number, "
            f"got x: {x.shape}, y: {y.shape}, scale: {scale.shape}"
        )
    if not x.shape[0]:
        raise ValueError(f"contrastive_loss: the batch is empty (x: {x.shape})")
