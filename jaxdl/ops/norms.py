"""Normalisation over the last axis, over a batch, over neighbouring channels.

With x̂ the normalised row and g = ȳ·scale, the cotangent of the row is g without its component along x̂ (and along 1,
where the mean is subtracted), divided by the row's deviation: a change of the row along those directions does not
change x̂. The residuals are the input and a few numbers.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxdl.ops.platforms import by_platform
from jaxdl.ops.precision import like, upcast
from jaxdl.rule import op, saving


@op
def layer_norm(
    x: Float[Array, "*n d"], scale: Float[Array, " d"], bias: Float[Array, " d"], *, epsilon: float = 1e-6
) -> Float[Array, "*n d"]:
    """Layer normalisation: y = x̂·scale + bias, x̂ = (x − mean)/√(variance + ε) over the last axis (Ba et al. 2016).

    Args:
        x: Array (*n, d).
        scale: Array (d,).
        bias: Array (d,).
        epsilon: ε.

    Returns:
        Array (*n, d) of the dtype of x.

    Raises:
        ValueError: x has no last axis, or a parameter has another length.

    Examples:
        >>> y = layer_norm(jnp.arange(8.0).reshape(2, 4), jnp.ones(4), jnp.zeros(4))
        >>> bool(abs(y.mean()) < 1e-6)
        True
    """
    _check("layer_norm", x, scale=scale, bias=bias)
    wide = upcast(x)
    centred = wide - wide.mean(-1, keepdims=True)
    normal = centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    return like(x, normal * _row(scale, x) + _row(bias, x))


@layer_norm.rule
def layer_norm_rule(x, scale, bias, *, epsilon):
    """x̄ = r (g − mean g − x̂ mean(g x̂)),  r = 1/√(variance + ε),  scale̅ = Σ ȳ x̂,  bias̅ = Σ ȳ

    The means of g and of g x̂ are weighted means of ȳ and ȳ x̂, with the weights scale; ȳ x̂ is used twice. Far from 0
    the mean is rounded, and the mean of x − mean is not 0; it is subtracted as well.

    Gain: stores x and three numbers for each row, and reads what is summed once.
    """
    wide = upcast(x)
    center = _mean(wide)
    left = _mean(wide - center)
    centred = wide - center - left
    r = lax.rsqrt(_mean(centred**2) + epsilon)
    y = like(x, centred * r * _row(scale, x) + _row(bias, x))
    bias_type = jax.typeof(bias)

    def pullback(x, scale, center, left, r, dy):
        normal, wide_dy, weights = (upcast(x) - center - left) * r, upcast(dy), upcast(scale)
        product = wide_dy * normal
        g = wide_dy * _row(scale, x)
        dx = r * (g - _mean(wide_dy, weights) - normal * _mean(product, weights))
        return like(x, dx), like(scale, _over_rows(product)), like(bias_type, _over_rows(wide_dy))

    return y, saving(pullback, x, scale, center, left, r)


@op
def rms_norm(x: Float[Array, "*n d"], scale: Float[Array, " d"], *, epsilon: float = 1e-6) -> Float[Array, "*n d"]:
    """Root mean square normalisation: y = x̂·scale, x̂ = x/√(mean x² + ε) over the last axis (Zhang and Sennrich 2019).

    Args:
        x: Array (*n, d).
        scale: Array (d,).
        epsilon: ε.

    Returns:
        Array (*n, d) of the dtype of x.

    Raises:
        ValueError: x has no last axis, or the scale has another length.

    Examples:
        >>> rms_norm(jnp.ones((8, 16)), jnp.ones(16)).shape
        (8, 16)
    """
    _check("rms_norm", x, scale=scale)
    wide = upcast(x)
    return like(x, wide / jnp.sqrt((wide**2).mean(-1, keepdims=True) + epsilon) * _row(scale, x))


@rms_norm.rule
def rms_norm_rule(x, scale, *, epsilon):
    """x̄ = r (g − x̂ mean(g x̂)),  r = 1/√(mean x² + ε),  scale̅ = Σ ȳ x̂

    Gain: stores x and one number for each row, and reads what is summed once.
    """
    wide = upcast(x)
    r = lax.rsqrt(_mean(wide**2) + epsilon)

    def pullback(x, scale, r, dy):
        normal, wide_dy = upcast(x) * r, upcast(dy)
        product = wide_dy * normal
        dx = r * (wide_dy * _row(scale, x) - normal * _mean(product, upcast(scale)))
        return like(x, dx), like(scale, _over_rows(product))

    return like(x, wide * r * _row(scale, x)), saving(pullback, x, scale, r)


@op
def batch_norm(
    x: Float[Array, "*n c"], scale: Float[Array, " c"], bias: Float[Array, " c"], *, epsilon: float = 1e-5
) -> tuple[Float[Array, "*n c"], Float[Array, " c"], Float[Array, " c"]]:
    """Batch normalisation: y = x̂·scale + bias, x̂ = (x − mean)/√(variance + ε) (Ioffe and Szegedy 2015).

    Mean and variance are over all axes but the last.

    Args:
        x: Array (*n, c).
        scale: Array (c,).
        bias: Array (c,).
        epsilon: ε.

    Returns:
        y, and the mean and the (biased) variance of the batch, for averages over batches; (c,) each.

    Raises:
        ValueError: The batch is empty, or a parameter has another length than the last axis.

    Examples:
        >>> y, mean, variance = batch_norm(jnp.ones((8, 4, 4, 3)), jnp.ones(3), jnp.zeros(3))
        >>> y.shape, mean.shape
        ((8, 4, 4, 3), (3,))
    """
    _check_batch("batch_norm", x, scale=scale, bias=bias)
    wide, axes = upcast(x), tuple(range(x.ndim - 1))
    center = wide.mean(axes)
    variance = ((wide - _row(center, x)) ** 2).mean(axes)
    y = batch_norm_inference.primal(x, scale, bias, center, variance, epsilon=epsilon)
    return y, like(x, center), like(x, variance)


@batch_norm.rule
def batch_norm_rule(x, scale, bias, *, epsilon):
    """With n entries a channel and r = 1/√(variance + ε):   scale̅ = Σ ȳ x̂,   bias̅ = Σ ȳ,

    x̄ = r scale (ȳ − bias̅/n − x̂ scale̅/n) + mean̅/n + 2 (x − mean) variance̅/n

    As in `layer_norm`, the mean of x − mean is subtracted as well.

    Gain: stores x and three numbers for each channel.
    """
    _check_batch("batch_norm", x, scale=scale, bias=bias)
    n, axes, bias_type = x.size // x.shape[-1], tuple(range(x.ndim - 1)), jax.typeof(bias)
    wide = upcast(x)
    center = wide.mean(axes)
    left = (wide - _row(center, x)).mean(axes)
    centred = wide - _row(center, x) - _row(left, x)
    variance = (centred**2).mean(axes)
    r = lax.rsqrt(variance + epsilon)
    y = like(x, centred * _row(r * upcast(scale), x) + _row(bias, x))

    def pullback(x, scale, center, left, r, cotangents):
        dy, dcenter, dvariance = upcast(cotangents)
        centred = upcast(x) - _row(center, x) - _row(left, x)
        dbias, dscale = dy.sum(axes), (dy * centred).sum(axes) * r
        normal = centred * _row(r, x)
        dx = _row(r * upcast(scale), x) * (dy - _row(dbias / n, x) - normal * _row(dscale / n, x))
        dx += centred * _row(2 * dvariance / n, x) + _row(dcenter / n, x)
        return like(x, dx), like(scale, dscale), like(bias_type, dbias)

    return (y, like(x, center), like(x, variance)), saving(pullback, x, scale, center, left, r)


@op
def batch_norm_inference(
    x: Float[Array, "*n c"],
    scale: Float[Array, " c"],
    bias: Float[Array, " c"],
    mean: Float[Array, " c"],
    variance: Float[Array, " c"],
    *,
    epsilon: float = 1e-5,
) -> Float[Array, "*n c"]:
    """Batch normalisation with given statistics, as after training: y = (x − mean)/√(variance + ε)·scale + bias.

    Args:
        x: Array (*n, c).
        scale: Array (c,).
        bias: Array (c,).
        mean: The mean of each channel, (c,), such as a running average.
        variance: The variance of each channel, (c,).
        epsilon: ε.

    Returns:
        Array (*n, c) of the dtype of x.

    Raises:
        ValueError: The batch is empty, or a parameter has another length than the last axis.

    Examples:
        >>> zeros, ones = jnp.zeros(3), jnp.ones(3)
        >>> batch_norm_inference(jnp.ones((8, 3)), ones, zeros, zeros, ones).shape
        (8, 3)
    """
    _check_batch("batch_norm_inference", x, scale=scale, bias=bias, mean=mean, variance=variance)
    normal = (upcast(x) - _row(mean, x)) / jnp.sqrt(_row(variance, x) + epsilon)
    return like(x, normal * _row(scale, x) + _row(bias, x))


@batch_norm_inference.rule
def batch_norm_inference_rule(x, scale, bias, mean, variance, *, epsilon):
    """With r = 1/√(variance + ε):   x̄ = r scale ȳ,   scale̅ = r Σ ȳ (x − mean),   bias̅ = Σ ȳ,

    mean̅ = −r scale bias̅,   variance̅ = −r² scale scale̅/2

    Gain: stores only arguments.
    """
    _check_batch("batch_norm_inference", x, scale=scale, bias=bias, mean=mean, variance=variance)
    axes, bias_type = tuple(range(x.ndim - 1)), jax.typeof(bias)
    r = lax.rsqrt(upcast(variance) + epsilon)
    y = (upcast(x) - _row(mean, x)) * _row(r * upcast(scale), x) + _row(bias, x)

    def pullback(x, scale, mean, variance, dy):
        r, wide_scale, wide_dy = lax.rsqrt(upcast(variance) + epsilon), upcast(scale), upcast(dy)
        dbias = wide_dy.sum(axes)
        dscale = r * (wide_dy * (upcast(x) - _row(mean, x))).sum(axes)
        dx, dmean, dvariance = (
            wide_dy * _row(r * wide_scale, x),
            -r * wide_scale * dbias,
            -r * r * wide_scale * dscale / 2,
        )
        return like(x, dx), like(scale, dscale), like(bias_type, dbias), like(mean, dmean), like(variance, dvariance)

    return like(x, y), saving(pullback, x, scale, mean, variance)


@op
def local_response_norm(
    x: Float[Array, "*n c"], *, size: int = 5, k: float = 2.0, alpha: float = 1e-4, beta: float = 0.75
) -> Float[Array, "*n c"]:
    """Local response normalisation: y = x u^−β, u = k + α Σ x² over neighbouring channels (Krizhevsky et al. 2012).

    Args:
        x: Array (*n, c).
        size: The number of neighbouring channels, with x's own in the middle.
        k: k.
        alpha: α. PyTorch divides it by the size.
        beta: β.

    Returns:
        Array (*n, c) of the dtype of x.

    Raises:
        ValueError: x has no axes, or the size is less than 1.

    Examples:
        >>> local_response_norm(jnp.ones((8, 7, 7, 16))).shape
        (8, 7, 7, 16)
    """
    _check_size(x, size)
    wide = upcast(x)
    around = lax.reduce_window(wide**2, 0.0, lax.add, (1,) * (x.ndim - 1) + (size,), (1,) * x.ndim, _around(x, size))
    return like(x, wide * (k + alpha * around) ** -beta)


@local_response_norm.rule
def local_response_norm_rule(x, *, size, k, alpha, beta):
    """x̄ = ȳ u^−β − 2 α β x Σ ȳ x u^−(β+1), the sum over the channels that have x among their neighbours

    Gain: stores only x, and adds slices instead of windows.
    """
    _check_size(x, size)

    def shrunk(wide):
        u = k + alpha * _neighbours(wide * wide, size)
        return u, u**-beta

    def pullback(x, dy):
        wide, wide_dy = upcast(x), upcast(dy)
        u, factor = shrunk(wide)
        through = _neighbours(wide_dy * wide * factor / u, size, reverse=True)
        return (like(x, wide_dy * factor - 2 * alpha * beta * wide * through),)

    wide = upcast(x)
    return like(x, wide * shrunk(wide)[1]), saving(pullback, x)


def _neighbours(x, size, *, reverse=False):
    """The sum over `size` channels, as many before as after (one more after if that is odd)."""
    *others, around = _around(x, size)
    x = jnp.pad(x, [*others, around[::-1] if reverse else around])
    c = x.shape[-1] - size + 1
    return sum(lax.slice_in_dim(x, i, i + c, axis=-1) for i in range(size))


def _around(x, size):
    return [(0, 0)] * (x.ndim - 1) + [((size - 1) // 2, size // 2)]


def _check_size(x, size):
    if x.ndim == 0 or size < 1:
        raise ValueError(f"local_response_norm: x needs channels and size must be 1 or more, got {x.shape} and {size}")


def _check_batch(name, x, **parameters):
    _check(name, x, **parameters)
    if x.size == 0:
        raise ValueError(f"{name}: the batch is empty (x: {x.shape})")


def _check(name, x, **parameters):
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"{name}: x must have a last axis to normalise over, got shape {x.shape}")
    for parameter, p in parameters.items():
        if p.shape != x.shape[-1:]:
            raise ValueError(f"{name}: {parameter} must have x's last axis, {x.shape[-1:]}, got {p.shape}")


def _row(parameter, x):
    """A parameter of the last axis, with as many axes as x."""
    return upcast(parameter).reshape((1,) * (x.ndim - 1) + parameter.shape)


def _mean(x, weights=None):
    """The mean over the last axis, or that of x·weights; the axis stays with length 1."""
    return by_platform(_mean_by_product, _mean_by_sum)(x, weights)


def _mean_by_product(x, weights):
    """XLA on a CPU stores or recomputes the operand of several reductions. A product reads it once, on all cores."""
    d = x.shape[-1]
    column = jnp.ones((d, 1), x.dtype) if weights is None else weights[:, None]
    return jnp.matmul(x, column, precision=lax.Precision.HIGHEST) / d


def _mean_by_sum(x, weights):
    """On a GPU a product would store its operand, and round it to TF32 or bfloat16 unless told otherwise."""
    return (x if weights is None else x * _row(weights, x)).sum(-1, keepdims=True) / x.shape[-1]


def _over_rows(x):
    """The sum over all axes but the last."""
    return x.reshape(-1, x.shape[-1]).sum(0)
