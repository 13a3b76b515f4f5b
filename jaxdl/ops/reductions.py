"""Sums and their kin over axes, and the softmax family that is built on them.

`axis` is None (all), an integer or a tuple; `keepdims` leaves reduced axes with length 1.
"""

import math

import jax
import jax.numpy as jnp

from jaxdl.ops.precision import is_differentiable, like, widened
from jaxdl.rule import op, saving


def _axes(x, axis):
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple(a % x.ndim for a in axes)


def _spread(dy, x, axis, keepdims):
    """ȳ with its reduced axes back as length 1."""
    return dy if keepdims else jnp.expand_dims(dy, _axes(x, axis))


@op
def sum(x, *, axis=None, keepdims=False):
    """y = Σ x over the axes."""
    _check_axes("sum", x, axis, may_be_empty=True)
    return jnp.sum(x, axis, keepdims=keepdims)


@sum.rule
def sum_rule(x, *, axis, keepdims):
    """x̄ = ȳ, at every place that was summed"""
    type = jax.typeof(x)

    def pullback(dy):
        return (_broadcast(_spread(dy, type, axis, keepdims), type),)

    return jnp.sum(x, axis, keepdims=keepdims), saving(pullback)


@op
def mean(x, *, axis=None, keepdims=False):
    """y = Σ x / n over the axes, n the number of elements; of no elements it raises ValueError."""
    _check_axes("mean", x, axis)
    return jnp.mean(x, axis, keepdims=keepdims)


@mean.rule
def mean_rule(x, *, axis, keepdims):
    """x̄ = ȳ/n"""
    n = math.prod(x.shape[a] for a in _axes(x, axis))
    type = jax.typeof(x)

    def pullback(dy):
        return (_broadcast(_spread(like(dy, widened(dy) / n), type, axis, keepdims), type),)

    return jnp.mean(x, axis, keepdims=keepdims), saving(pullback)


@op
def max(x, *, axis=None, keepdims=False):
    """y = max x over the axes. By convention equal maxima share the cotangent equally."""
    _check_axes("max", x, axis)
    return jnp.max(x, axis, keepdims=keepdims)


@max.rule
def max_rule(x, *, axis, keepdims):
    """x̄ = ȳ 1[x = y] / (number of maxima)

    Gain: one byte an element is kept.
    """
    y = jnp.max(x, axis, keepdims=True)
    smooth = is_differentiable(x.dtype)

    def pullback(is_max, dy):
        if not smooth:
            return (None,)
        dy = _spread(dy, is_max, axis, keepdims)
        wide = widened(dy)
        count = jnp.sum(is_max, _axes(is_max, axis), keepdims=True, dtype=wide.dtype)
        return (jnp.where(is_max, like(dy, wide / count), 0),)

    return (y if keepdims else y.squeeze(_axes(x, axis))), saving(pullback, x == y)


@op
def logsumexp(x, *, axis=None, keepdims=False):
    """y = log Σ eˣ over the axes; −∞ where all of x is −∞."""
    _check_axes("logsumexp", x, axis)
    top = _shift(x, axis)
    y = top + jnp.log(jnp.sum(jnp.exp(x - top), axis, keepdims=True))
    return y if keepdims else y.squeeze(_axes(x, axis))


@logsumexp.rule
def logsumexp_rule(x, *, axis, keepdims):
    """x̄ = ȳ eˣ⁻ᵐ/s with y = m + log s: x − y would carry the rounding of a large y into the exponent

    Gain: beside the argument two numbers a row are kept.
    """
    wide = widened(x)
    top = _shift(wide, axis)
    total = jnp.sum(jnp.exp(wide - top), axis, keepdims=True)
    y = top + jnp.log(total)

    def pullback(x, top, total, dy):
        share = widened(_spread(dy, x, axis, keepdims)) / jnp.where(total == 0, 1, total)
        return (like(x, jnp.exp(widened(x) - top) * share),)

    return like(x, y if keepdims else y.squeeze(_axes(x, axis))), saving(pullback, x, top, total)


@op
def softmax(x, *, axis=-1):
    """y = eˣ / Σ eˣ along an axis."""
    _check_axes("softmax", x, axis)
    e = jnp.exp(x - _shift(x, axis))
    return e / e.sum(axis, keepdims=True)


@softmax.rule
def softmax_rule(x, *, axis):
    """x̄ = y (ȳ − Σ yȳ)"""
    y = like(x, softmax.primal(widened(x), axis=axis))

    def pullback(y, dy):
        wide, dwide = widened(y), widened(dy)
        return (like(dy, wide * (dwide - (wide * dwide).sum(axis, keepdims=True))),)

    return y, saving(pullback, y)


@op
def log_softmax(x, *, axis=-1):
    """y = x − log Σ eˣ along an axis."""
    _check_axes("log_softmax", x, axis)
    shifted = x - _shift(x, axis)
    return shifted - jnp.log(jnp.exp(shifted).sum(axis, keepdims=True))


@log_softmax.rule
def log_softmax_rule(x, *, axis):
    """x̄ = ȳ − eˣ⁻ᵐ/s Σ ȳ with y = x − m − log s: eʸ would carry the rounding of y into the exponent

    Gain: beside the argument two numbers a row are kept.
    """
    wide = widened(x)
    top = _shift(wide, axis)
    total = jnp.exp(wide - top).sum(axis, keepdims=True)

    def pullback(x, top, total, dy):
        dwide = widened(dy)
        return (like(dy, dwide - jnp.exp(widened(x) - top) * (dwide.sum(axis, keepdims=True) / total)),)

    return like(x, (wide - top) - jnp.log(total)), saving(pullback, x, top, total)


def _shift(x, axis):
    """A constant that cancels and keeps eˣ from overflowing: the largest entry; 0 in rows of −∞ alone."""
    top = jax.lax.stop_gradient(jnp.max(x, axis, keepdims=True))
    return jnp.where(top == -jnp.inf, 0, top)


def _broadcast(dy, x):
    return like(x, jnp.broadcast_to(dy, x.shape)) if is_differentiable(x.dtype) else None


def _check_axes(name, x, axis, *, may_be_empty=False):
    axes = () if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if not all(-x.ndim <= a < x.ndim for a in axes):
        raise ValueError(f"{name}: axis {axis} is outside the {x.ndim} axes of x, which has shape {x.shape}")
    if not may_be_empty and 0 in (x.shape[a] for a in _axes(x, axis)):
        raise ValueError(f"{name}: nothing to reduce: x has shape {x.shape}, axis={axis}")
