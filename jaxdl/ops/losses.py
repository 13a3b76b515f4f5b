"""Losses: one number for each example, as in optax; `reduce=jnp.mean` or `jnp.sum` gives one for the batch.

`reduce` may be any linear function of the losses, such as a weighted mean. Invalid labels give NaN, as no exception can
be raised under jit; `jaxdl.data.check_labels` finds them on the host.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt

from jaxdl.ops.precision import at_least_32_bits, like, upcast
from jaxdl.ops.reductions import log_softmax, logsumexp
from jaxdl.rule import op, saving

Labels = Int[Array, "*n"] | UInt[Array, "*n"]
Reduction = Callable[[Array], Array] | None


def _reduced(name, losses, reduce):
    if reduce is None:
        return losses
    if losses.size == 0:
        raise ValueError(f"{name}: the batch is empty (losses of shape {losses.shape})")
    return reduce(losses)


def _check_same_shape(name, **arrays):
    """Losses do not broadcast: (n,) against (n, 1) would silently become (n, n)."""
    first, second = (x.shape for x in arrays.values())
    if first != second:
        raise ValueError(f"{name}: {' and '.join(arrays)} must have the same shape, got {first} and {second}")


def spread_over_losses(reduce: Reduction, losses: Any, dy: Any) -> Any:
    """The cotangent of each loss, by the transpose of the reduction; `losses` is their type."""
    if reduce is None:
        return upcast(dy)
    return upcast(jax.linear_transpose(reduce, losses)(dy)[0])


@op
def squared_error(
    prediction: Float[Array, "*n"], target: Float[Array, "*n"], *, reduce: Reduction = None
) -> Float[Array, "..."]:
    """l = (prediction − target)², for each element.

    Args:
        prediction: Array of any shape.
        target: Array of the same shape; nothing is broadcast.
        reduce: A linear function of the losses, such as `jnp.mean`; None for one loss each.

    Returns:
        The losses (*n), or what `reduce` makes of them.

    Raises:
        ValueError: The shapes differ, or there is nothing to reduce.

    Examples:
        >>> squared_error(jnp.array([1.0, 2.0]), jnp.zeros(2), reduce=jnp.sum)
        Array(5., dtype=float32)
    """
    _check_same_shape("squared_error", prediction=prediction, target=target)
    return _reduced("squared_error", (prediction - target) ** 2, reduce)


@squared_error.rule
def squared_error_rule(prediction, target, *, reduce):
    """prediction̅ = 2 (prediction − target) l̄ = −target̅"""
    difference = prediction - target
    losses = difference**2
    types = jax.typeof(prediction), jax.typeof(target)
    each = jax.typeof(losses)

    def pullback(difference, dy):
        d = 2 * upcast(difference) * spread_over_losses(reduce, each, dy)
        return like(types[0], d), like(types[1], -d)

    return _reduced("squared_error", losses, reduce), saving(pullback, difference)


@op
def logistic_loss(
    z: Float[Array, "*n"], y: Labels | Bool[Array, "*n"], *, reduce: Reduction = None
) -> Float[Array, "..."]:
    """l = −log P(y|z) = ζ((1 − 2y)z) with ζ(u) = log(1 + eᵘ).

    Args:
        z: Logits (*n).
        y: Labels (*n), integers or booleans. A label other than 0 or 1 gives NaN.
        reduce: A linear function of the losses, such as `jnp.mean`; None for one loss each.

    Returns:
        The losses (*n), or what `reduce` makes of them.

    Raises:
        ValueError: The shapes differ, or there is nothing to reduce.
        TypeError: The labels are not integers or booleans.

    Examples:
        >>> loss = logistic_loss(jnp.zeros(4), jnp.array([0, 1, 1, 0]), reduce=jnp.mean)
        >>> round(float(loss), 4)
        0.6931
    """
    _check_same_shape("logistic_loss", z=z, y=y)
    if not (y.dtype == bool or jnp.issubdtype(y.dtype, jnp.integer)):
        raise TypeError(f"logistic_loss: labels y must be integers or booleans, got {y.dtype}")
    losses = jnp.logaddexp(_sign(z, y) * z, jnp.zeros_like(z))
    return _reduced("logistic_loss", losses, reduce)


@logistic_loss.rule
def logistic_loss_rule(z, y, *, reduce):
    """z̄ = (1 − 2y) σ(u) l̄,  u = (1 − 2y)z

    Gain: computes value and derivative from one exponential, and stores only the derivative.
    """
    wide = upcast(z)
    sign = _sign(wide, y)
    u = sign * wide
    e = jnp.exp(-jnp.abs(u))
    losses = like(z, jnp.maximum(u, 0) + jnp.log1p(e))
    slope = like(z, sign * jnp.where(u < 0, e, jnp.ones_like(e)) / (1 + e))
    each = jax.typeof(losses)

    def pullback(slope, dy):
        return like(slope, upcast(slope) * spread_over_losses(reduce, each, dy)), None

    return _reduced("logistic_loss", losses, reduce), saving(pullback, slope)


def _sign(z, y):
    """1 − 2y; NaN for a label that is neither 0 nor 1."""
    y = y.astype(jnp.int32)
    return jnp.where((y == 0) | (y == 1), (1 - 2 * y).astype(z.dtype), jnp.nan)


@op
def softmax_cross_entropy_with_integer_labels(
    logits: Float[Array, "*n c"], labels: Labels, *, reduce: Reduction = None
) -> Float[Array, "..."]:
    """l = log Σ e^logits − logits[label].

    Args:
        logits: Logits (*n, c). A logit of −∞ masks its class.
        labels: Integers (*n). A label outside 0 … c − 1 gives NaN.
        reduce: A linear function of the losses, such as `jnp.mean`; None for one loss each.

    Returns:
        The losses (*n), or what `reduce` makes of them.

    Raises:
        ValueError: The shapes do not fit, or there is nothing to reduce.
        TypeError: The labels are not integers.

    Examples:
        >>> loss = softmax_cross_entropy_with_integer_labels(jnp.zeros((5, 10)), jnp.arange(5), reduce=jnp.mean)
        >>> round(float(loss), 4)
        2.3026
    """
    _check_labels("softmax_cross_entropy_with_integer_labels", logits, labels)
    chosen = jnp.where(_one_hot(logits, labels), logits, 0).sum(-1)
    losses = logsumexp.primal(logits, axis=-1, keepdims=False) - chosen
    return _reduced("softmax_cross_entropy_with_integer_labels", _or_nan(losses, logits, labels), reduce)


@softmax_cross_entropy_with_integer_labels.rule
def softmax_cross_entropy_with_integer_labels_rule(logits, labels, *, reduce):
    """logits̅ = (softmax − onehot) l̄

    Gain: stores only the derivative, in which nothing cancels at the label.
    """
    losses, slope = cross_entropies(upcast(logits), labels)
    losses, slope = like(logits, losses), like(logits, slope)
    each = jax.typeof(losses)

    def pullback(slope, dy):
        return like(slope, upcast(slope) * spread_over_losses(reduce, each, dy)[..., None]), None

    return _reduced("softmax_cross_entropy_with_integer_labels", losses, reduce), saving(pullback, slope)


@op
def cross_entropies(logits: Float[Array, "*n c"], labels: Labels) -> tuple[Float[Array, "*n"], Float[Array, "*n c"]]:
    """The cross-entropies log Σ e^logits − logits[label] and their derivatives softmax − onehot, for use in rules.

    It is an op so that a loop over blocks of logits calls it as a whole, with nothing hoisted out of the loop.

    Args:
        logits: Logits (*n, c).
        labels: Integers (*n). A label outside 0 … c − 1 gives NaN.

    Returns:
        The losses (*n) and their derivatives (*n, c).

    Raises:
        ValueError: The shapes do not fit.
        TypeError: The labels are not integers.

    Examples:
        >>> losses, slopes = cross_entropies(jnp.zeros((2, 4)), jnp.array([0, 3]))
        >>> losses.shape, slopes.shape
        ((2,), (2, 4))
    """
    _check_labels("cross_entropies", logits, labels)
    hot = _one_hot(logits, labels)
    losses = logsumexp.primal(logits, axis=-1, keepdims=False) - jnp.where(hot, logits, 0).sum(-1)
    slopes = jnp.exp(log_softmax.primal(logits, axis=-1)) - hot.astype(logits.dtype)
    return _or_nan(losses, logits, labels), jnp.where(_possible(logits, labels)[..., None], slopes, jnp.nan)


@cross_entropies.rule
def cross_entropies_rule(logits, labels):
    """logits̅ = slopes·l̄ + p (s̄ − Σ p s̄),  p = softmax = slopes + onehot

    With m the largest logit and r the sum of e^(logit − m) over the classes other than the label, the
    loss is (m − label) + log s, s = e^(label − m) + r, and at the label softmax − 1 = −r/s. Where the label
    is the largest, the loss is log(1 + r), which log1p computes without rounding 1 + r. Near r = 0 nothing cancels, as
    it would in log Σ − logit and in p − 1. For a small p, p − 1 is the more accurate of the two.
    """
    wide = upcast(logits)
    hot = _one_hot(wide, labels)
    top = wide.max(-1, keepdims=True)
    chosen = jnp.where(hot, wide, 0).sum(-1, keepdims=True)
    others = jnp.where(hot, 0, jnp.exp(wide - top))
    rest = others.sum(-1, keepdims=True)
    total = jnp.exp(chosen - top) + rest
    p = jnp.exp(chosen - top) / total
    losses = jnp.where(chosen == top, jnp.log1p(rest), (top - chosen) + jnp.log(total))[..., 0]
    slopes = jnp.where(hot, jnp.where(p > 0.5, -rest / total, p - 1), others / total)
    slopes = jnp.where(_possible(logits, labels)[..., None], slopes, jnp.nan)

    def pullback(slopes, labels, cotangents):
        dlosses, dslopes = upcast(cotangents)
        p = slopes + _one_hot(slopes, labels).astype(slopes.dtype)
        dlogits = slopes * dlosses[..., None] + p * (dslopes - (p * dslopes).sum(-1, keepdims=True))
        return like(cotangents[1], dlogits), None

    y = like(logits, _or_nan(losses, logits, labels)), like(logits, slopes)
    return y, saving(pullback, slopes, labels)


@op
def softmax_cross_entropy(
    logits: Float[Array, "*n c"], targets: Float[Array, "*n c"], *, reduce: Reduction = None
) -> Float[Array, "..."]:
    """l = −Σ targets · log softmax(logits).

    Args:
        logits: Logits (*n, c).
        targets: Distributions over the classes, (*n, c).
        reduce: A linear function of the losses, such as `jnp.mean`; None for one loss each.

    Returns:
        The losses (*n), or what `reduce` makes of them.

    Raises:
        ValueError: The shapes differ, or there is nothing to reduce.

    Examples:
        >>> loss = softmax_cross_entropy(jnp.zeros((2, 4)), jnp.eye(4)[:2], reduce=jnp.mean)
        >>> round(float(loss), 4)
        1.3863
    """
    _check_same_shape("softmax_cross_entropy", logits=logits, targets=targets)
    log_p = log_softmax.primal(logits, axis=-1)
    log_p = jnp.where((targets == 0) & (log_p == -jnp.inf), 0, log_p)
    losses = -(targets * log_p).sum(-1)
    return _reduced("softmax_cross_entropy", losses, reduce)


@softmax_cross_entropy.rule
def softmax_cross_entropy_rule(logits, targets, *, reduce):
    """logits̅ = (softmax Σ targets − targets) l̄,   targets̅ = −log softmax l̄

    The residuals are the arguments and, for each example, the largest logit m and s = Σ e^(logit − m):
    softmax = e^(logits − m)/s and log softmax = logits − m − log s.

    Gain: stores the arguments and two numbers for each example.
    """
    wide, t = upcast(logits), upcast(targets)
    top = wide.max(-1, keepdims=True)
    total = jnp.exp(wide - top).sum(-1, keepdims=True)
    log_p = (wide - top) - jnp.log(total)
    losses = like(logits, -jnp.where(t == 0, 0, t * log_p).sum(-1))
    each = jax.typeof(losses)

    def pullback(logits, targets, top, total, dy):
        dl = spread_over_losses(reduce, each, dy)[..., None]
        shifted, t = upcast(logits) - top, upcast(targets)
        dlogits = (jnp.exp(shifted) * (t.sum(-1, keepdims=True) / total) - t) * dl
        return like(logits, dlogits), like(targets, (jnp.log(total) - shifted) * dl)

    return _reduced("softmax_cross_entropy", losses, reduce), saving(pullback, logits, targets, top, total)


def _check_labels(name, logits, labels):
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(
            f"{name}: labels must be integers, got {labels.dtype}; distributions go to softmax_cross_entropy"
        )
    if logits.ndim == 0 or logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"{name}: labels must have the shape of logits without its last axis, the classes: "
            f"logits: {logits.shape}, labels: {labels.shape}"
        )


def _possible(logits, labels):
    labels = at_least_32_bits(labels)
    return (labels >= 0) & (labels < logits.shape[-1])


def _or_nan(losses, logits, labels):
    return jnp.where(_possible(logits, labels), losses, jnp.nan)


def _one_hot(logits, labels):
    labels = at_least_32_bits(labels)[..., None]
    return labels == jax.lax.broadcasted_iota(labels.dtype, logits.shape, logits.ndim - 1)


def _reducing_after(loss):
    """The values that a reduction closes over are differentiated by JAX: the reduction is applied after the op."""
    return loss.hoist(lambda *args, reduce: _reduced(loss.__name__, loss(*args), reduce))


for _loss in (squared_error, logistic_loss, softmax_cross_entropy_with_integer_labels, softmax_cross_entropy):
    _reducing_after(_loss)
