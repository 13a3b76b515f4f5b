"""Sums, products, means, maxima and minima over axes, and the softmax family."""

import math

import jax
import jax.numpy as jnp
from jax import Array

from jaxdl.ops.precision import is_differentiable, like, upcast
from jaxdl.rule import op, saving

Axes = int | tuple[int, ...] | None


def _axes(x, axis):
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple(a % x.ndim for a in axes)


def _spread(dy, x, axis, keepdims):
    """ȳ with its reduced axes of length 1."""
    return dy if keepdims else jnp.expand_dims(dy, _axes(x, axis))


@op
def sum(x: Array, *, axis: Axes = None, keepdims: bool = False) -> Array:
    """y = Σ x over axes.

    Args:
        x: Array of any shape and dtype.
        axis: The axes to reduce: an integer, a tuple, or None for all.
        keepdims: Whether reduced axes stay, with length 1.

    Returns:
        The sums.

    Raises:
        ValueError: x has no such axis.

    Examples:
        >>> sum(jnp.ones((2, 3)), axis=-1, keepdims=True).shape
        (2, 1)
    """
    _check_axes("sum", x, axis, may_be_empty=True)
    return jnp.sum(x, axis, keepdims=keepdims)


@sum.rule
def sum_rule(x, *, axis, keepdims):
    """x̄ = ȳ, for every summand"""
    type = jax.typeof(x)

    def pullback(dy):
        return (_broadcast(_spread(dy, type, axis, keepdims), type),)

    return jnp.sum(x, axis, keepdims=keepdims), saving(pullback)


@op
def prod(x: Array, *, axis: Axes = None, keepdims: bool = False) -> Array:
    """y = ∏ x over axes. A partial product may overflow or underflow where y does not, as in `jax.numpy.prod`.

    Args:
        x: Array of any shape and dtype.
        axis: The axes to reduce: an integer, a tuple, or None for all.
        keepdims: Whether reduced axes stay, with length 1.

    Returns:
        The products.

    Raises:
        ValueError: x has no such axis.

    Examples:
        >>> jax.grad(prod)(jnp.array([2.0, 0.0, 3.0])).tolist()
        [0.0, 6.0, 0.0]
    """
    _check_axes("prod", x, axis, may_be_empty=True)
    return jnp.prod(x, axis, keepdims=keepdims)


@prod.rule
def prod_rule(x, *, axis, keepdims):
    """x̄ᵢ = ȳ ∏ xⱼ over j ≠ i. There is no division: y/xᵢ is NaN at 0, and 0 where only y is too small for a number.

    Gain: stores only x.
    """
    axes = _axes(x, axis)

    def pullback(x, dy):
        if not is_differentiable(x.dtype):
            return (None,)
        in_front = lambda a: jnp.moveaxis(a, axes, range(len(axes)))
        wide = in_front(upcast(x))
        rows = wide.reshape(-1, *wide.shape[len(axes) :])
        seed = in_front(upcast(_spread(dy, x, axis, keepdims))).reshape(1, *rows.shape[1:])
        dx = _times_the_others(rows, seed).reshape(wide.shape)
        return (like(x, jnp.moveaxis(dx, range(len(axes)), axes)),)

    return jnp.prod(x, axis, keepdims=keepdims), saving(pullback, x)


@op
def mean(x: Array, *, axis: Axes = None, keepdims: bool = False) -> Array:
    """y = Σ x / n over axes, n the number of elements.

    Args:
        x: Array of inexact dtype.
        axis: The axes to reduce: an integer, a tuple, or None for all.
        keepdims: Whether reduced axes stay, with length 1.

    Returns:
        The means.

    Raises:
        ValueError: x has no such axis, or no elements.

    Examples:
        >>> mean(jnp.arange(6.0).reshape(2, 3), axis=0).tolist()
        [1.5, 2.5, 3.5]
    """
    _check_axes("mean", x, axis)
    return jnp.mean(x, axis, keepdims=keepdims)


@mean.rule
def mean_rule(x, *, axis, keepdims):
    """x̄ = ȳ/n"""
    n = math.prod(x.shape[a] for a in _axes(x, axis))
    type = jax.typeof(x)

    def pullback(dy):
        return (_broadcast(_spread(like(dy, upcast(dy) / n), type, axis, keepdims), type),)

    return jnp.mean(x, axis, keepdims=keepdims), saving(pullback)


@op
def max(x: Array, *, axis: Axes = None, keepdims: bool = False) -> Array:
    """y = max x over axes. By convention equal maxima get equal parts of the cotangent.

    Args:
        x: Array of any shape.
        axis: The axes to reduce: an integer, a tuple, or None for all.
        keepdims: Whether reduced axes stay, with length 1.

    Returns:
        The maxima.

    Raises:
        ValueError: x has no such axis, or no elements.

    Examples:
        >>> jax.grad(max)(jnp.array([1.0, 2.0, 2.0])).tolist()
        [0.0, 0.5, 0.5]
    """
    _check_axes("max", x, axis)
    return jnp.max(x, axis, keepdims=keepdims)


@max.rule
def max_rule(x, *, axis, keepdims):
    """x̄ = ȳ 1[x = y] / (number of maxima)

    Gain: stores one byte for each element.
    """
    return _selected(jnp.max, x, axis, keepdims)


@op
def min(x: Array, *, axis: Axes = None, keepdims: bool = False) -> Array:
    """y = min x over axes. By convention equal minima get equal parts of the cotangent.

    Args:
        x: Array of any shape.
        axis: The axes to reduce: an integer, a tuple, or None for all.
        keepdims: Whether reduced axes stay, with length 1.

    Returns:
        The minima.

    Raises:
        ValueError: x has no such axis, or no elements.

    Examples:
        >>> jax.grad(min)(jnp.array([1.0, 1.0, 2.0])).tolist()
        [0.5, 0.5, 0.0]
    """
    _check_axes("min", x, axis)
    return jnp.min(x, axis, keepdims=keepdims)


@min.rule
def min_rule(x, *, axis, keepdims):
    """x̄ = ȳ 1[x = y] / (number of minima)

    Gain: stores one byte for each element.
    """
    return _selected(jnp.min, x, axis, keepdims)


@op
def logsumexp(x: Array, *, axis: Axes = None, keepdims: bool = False) -> Array:
    """y = log Σ eˣ over axes; −∞ where all of x is −∞, ∞ where any is ∞.

    Args:
        x: Array of real numbers.
        axis: The axes to reduce: an integer, a tuple, or None for all.
        keepdims: Whether reduced axes stay, with length 1.

    Returns:
        The logarithms, which do not overflow.

    Raises:
        ValueError: x has no such axis, or no elements.

    Examples:
        >>> round(float(logsumexp(jnp.full(2, 1e4))), 3)
        10000.693
    """
    _check_axes("logsumexp", x, axis)
    top = _shift(x, axis)
    y = top + jnp.log(jnp.sum(jnp.exp(x - top), axis, keepdims=True))
    return y if keepdims else y.squeeze(_axes(x, axis))


@logsumexp.rule
def logsumexp_rule(x, *, axis, keepdims):
    """x̄ = ȳ eˣ⁻ᵐ/s with y = m + log s: x − y would carry the rounding of a large y into the exponent

    Gain: stores x and two numbers for each row.
    """
    wide = upcast(x)
    top = _shift(wide, axis)
    total = jnp.sum(jnp.exp(wide - top), axis, keepdims=True)
    y = top + jnp.log(total)

    def pullback(x, top, total, dy):
        share = upcast(_spread(dy, x, axis, keepdims)) / jnp.where(total == 0, 1, total)
        return (like(x, jnp.exp(upcast(x) - top) * share),)

    return like(x, y if keepdims else y.squeeze(_axes(x, axis))), saving(pullback, x, top, total)


@op
def softmax(x: Array, *, axis: Axes = -1) -> Array:
    """y = eˣ / Σ eˣ.

    Args:
        x: Array of real numbers.
        axis: The axes of the sum.

    Returns:
        Array of the shape and dtype of x.

    Raises:
        ValueError: x has no such axis, or no elements.

    Examples:
        >>> softmax(jnp.zeros(4)).tolist()
        [0.25, 0.25, 0.25, 0.25]
    """
    _check_axes("softmax", x, axis)
    e = jnp.exp(x - _shift(x, axis))
    return e / e.sum(axis, keepdims=True)


@softmax.rule
def softmax_rule(x, *, axis):
    """x̄ = y (ȳ − Σ yȳ)"""
    y = like(x, softmax.primal(upcast(x), axis=axis))

    def pullback(y, dy):
        wide, dwide = upcast(y), upcast(dy)
        return (like(dy, wide * (dwide - (wide * dwide).sum(axis, keepdims=True))),)

    return y, saving(pullback, y)


@op
def log_softmax(x: Array, *, axis: Axes = -1) -> Array:
    """y = x − log Σ eˣ.

    Args:
        x: Array of real numbers.
        axis: The axes of the sum.

    Returns:
        Array of the shape and dtype of x.

    Raises:
        ValueError: x has no such axis, or no elements.

    Examples:
        >>> round(float(log_softmax(jnp.zeros(4))[0]), 4)
        -1.3863
    """
    _check_axes("log_softmax", x, axis)
    shifted = x - _shift(x, axis)
    return shifted - jnp.log(jnp.exp(shifted).sum(axis, keepdims=True))


@log_softmax.rule
def log_softmax_rule(x, *, axis):
    """x̄ = ȳ − eˣ⁻ᵐ/s Σ ȳ with y = x − m − log s: eʸ would carry the rounding of y into the exponent

    Gain: stores x and two numbers for each row.
    """
    wide = upcast(x)
    top = _shift(wide, axis)
    total = jnp.exp(wide - top).sum(axis, keepdims=True)

    def pullback(x, top, total, dy):
        dwide = upcast(dy)
        return (like(dy, dwide - jnp.exp(upcast(x) - top) * (dwide.sum(axis, keepdims=True) / total)),)

    return like(x, (wide - top) - jnp.log(total)), saving(pullback, x, top, total)


def _times_the_others(x, dy):
    """ȳ ∏ xⱼ over j ≠ i, for each i of the first axis: down a tree of products of two, with 3 n multiplications."""
    if len(x) < 2:
        return dy[: len(x)]
    half = len(x) // 2
    left, right = x[:half], x[half : 2 * half]
    above = _times_the_others(jnp.concatenate([left * right, x[2 * half :]]), dy)
    return jnp.concatenate([above[:half] * right, above[:half] * left, above[half:]])


def _selected(select, x, axis, keepdims):
    """The rule of a maximum or minimum."""
    y = select(x, axis, keepdims=True)
    smooth = is_differentiable(x.dtype)

    def pullback(is_selected, dy):
        if not smooth:
            return (None,)
        dy = _spread(dy, is_selected, axis, keepdims)
        wide = upcast(dy)
        count = jnp.sum(is_selected, _axes(is_selected, axis), keepdims=True, dtype=wide.dtype)
        return (jnp.where(is_selected, like(dy, wide / count), 0),)

    return (y if keepdims else y.squeeze(_axes(x, axis))), saving(pullback, x == y)


def _shift(x, axis):
    """A constant that cancels, so that eˣ does not overflow: the largest entry; 0 where that is infinite."""
    top = jax.lax.stop_gradient(jnp.max(x, axis, keepdims=True))
    return jnp.where(jnp.isinf(top), 0, top)


def _broadcast(dy, x):
    return like(x, jnp.broadcast_to(dy, x.shape)) if is_differentiable(x.dtype) else None


def _check_axes(name, x, axis, *, may_be_empty=False):
    axes = () if axis is None else axis if isinstance(axis, tuple) else (axis,)
    if not all(-x.ndim <= a < x.ndim for a in axes):
        raise ValueError(f"{name}: axis {axis} is outside the {x.ndim} axes of x, which has shape {x.shape}")
    if not may_be_empty and 0 in (x.shape[a] for a in _axes(x, axis)):
        raise ValueError(f"{name}: nothing to reduce: x has shape {x.shape}, axis={axis}")
