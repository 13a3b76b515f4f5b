"""Normalisation over the last axis, over a batch, over neighbouring channels. Kept are the input and a few numbers.

With x̂ the normalised row and g = ȳ·scale, the cotangent of the row is what is left of g, divided by
the row's deviation, when the parts along x̂ (and along 1, where the mean is taken off) are taken away:
moving a row along those directions does not change x̂.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from jaxdl.ops.precision import like, widened
from jaxdl.rule import op, saving


@op
def layer_norm(
    x: Float[Array, "*n d"], scale: Float[Array, " d"], bias: Float[Array, " d"], *, epsilon: float = 1e-6
) -> Float[Array, "*n d"]:
    """y = x̂·scale + bias, x̂ = (x − mean)/√(variance + ε) over the last axis (Ba et al. 2016)."""
    _check("layer_norm", x, scale=scale, bias=bias)
    wide = widened(x)
    centred = wide - wide.mean(-1, keepdims=True)
    normal = centred / jnp.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    return like(x, normal * _row(scale, x) + _row(bias, x))


@layer_norm.rule
def layer_norm_rule(x, scale, bias, *, epsilon):
    """x̄ = r (g − mean g − x̂ mean(g x̂)),  r = 1/√(variance + ε),  scale̅ = Σ ȳ x̂,  bias̅ = Σ ȳ

    The means are weighted means, of ȳ and of ȳ x̂ with the weights scale: ȳ x̂ serves twice. Far from 0 the
    mean is not a number of the format; what its rounding leaves in x − mean is taken off as well.

    Gain: beside the argument three numbers a row are kept, and what is summed is read once.
    """
    wide = widened(x)
    center = _mean(wide)
    left = _mean(wide - center)
    centred = wide - center - left
    r = lax.rsqrt(_mean(centred**2) + epsilon)
    y = like(x, centred * r * _row(scale, x) + _row(bias, x))
    bias_type = jax.typeof(bias)

    def pullback(x, scale, center, left, r, dy):
        normal, wide_dy, weights = (widened(x) - center - left) * r, widened(dy), widened(scale)
        product = wide_dy * normal
        g = wide_dy * _row(scale, x)
        dx = r * (g - _mean(wide_dy, weights) - normal * _mean(product, weights))
        return like(x, dx), like(scale, _over_rows(product)), like(bias_type, _over_rows(wide_dy))

    return y, saving(pullback, x, scale, center, left, r)


@op
def rms_norm(x: Float[Array, "*n d"], scale: Float[Array, " d"], *, epsilon: float = 1e-6) -> Float[Array, "*n d"]:
    """y = x̂·scale, x̂ = x/√(mean x² + ε) over the last axis (Zhang and Sennrich 2019)."""
    _check("rms_norm", x, scale=scale)
    wide = widened(x)
    return like(x, wide / jnp.sqrt((wide**2).mean(-1, keepdims=True) + epsilon) * _row(scale, x))


@rms_norm.rule
def rms_norm_rule(x, scale, *, epsilon):
    """x̄ = r (g − x̂ mean(g x̂)),  r = 1/√(mean x² + ε),  scale̅ = Σ ȳ x̂

    Gain: beside the argument one number a row is kept, and what is summed is read once.
    """
    wide = widened(x)
    r = lax.rsqrt(_mean(wide**2) + epsilon)

    def pullback(x, scale, r, dy):
        normal, wide_dy = widened(x) * r, widened(dy)
        product = wide_dy * normal
        dx = r * (wide_dy * _row(scale, x) - normal * _mean(product, widened(scale)))
        return like(x, dx), like(scale, _over_rows(product))

    return like(x, wide * r * _row(scale, x)), saving(pullback, x, scale, r)


@op
def batch_norm(
    x: Float[Array, "*n c"], scale: Float[Array, " c"], bias: Float[Array, " c"], *, epsilon: float = 1e-5
) -> tuple[Float[Array, "*n c"], Float[Array, " c"], Float[Array, " c"]]:
    """y = x̂·scale + bias, x̂ = (x − mean)/√(variance + ε), over all axes but the last (Ioffe and Szegedy 2015).

    Returns y, and the mean and the (biased) variance of the batch, for averages over batches.
    """
    _check_batch("batch_norm", x, scale=scale, bias=bias)
    wide, axes = widened(x), tuple(range(x.ndim - 1))
    center = wide.mean(axes)
    variance = ((wide - _row(center, x)) ** 2).mean(axes)
    y = batch_norm_with.primal(x, scale, bias, center, variance, epsilon=epsilon)
    return y, like(x, center), like(x, variance)


@batch_norm.rule
def batch_norm_rule(x, scale, bias, *, epsilon):
    """With n entries a channel and r = 1/√(variance + ε):   scale̅ = Σ ȳ x̂,   bias̅ = Σ ȳ,

    x̄ = r scale (ȳ − bias̅/n − x̂ scale̅/n) + mean̅/n + 2 (x − mean) variance̅/n

    What its rounding leaves of the mean in x − mean is taken off as well, as in `layer_norm`.

    Gain: beside the argument three numbers a channel are kept.
    """
    _check_batch("batch_norm", x, scale=scale, bias=bias)
    n, axes, bias_type = x.size // x.shape[-1], tuple(range(x.ndim - 1)), jax.typeof(bias)
    wide = widened(x)
    center = wide.mean(axes)
    left = (wide - _row(center, x)).mean(axes)
    centred = wide - _row(center, x) - _row(left, x)
    variance = (centred**2).mean(axes)
    r = lax.rsqrt(variance + epsilon)
    y = like(x, centred * _row(r * widened(scale), x) + _row(bias, x))

    def pullback(x, scale, center, left, r, cotangents):
        dy, dcenter, dvariance = widened(cotangents)
        centred = widened(x) - _row(center, x) - _row(left, x)
        dbias, dscale = dy.sum(axes), (dy * centred).sum(axes) * r
        normal = centred * _row(r, x)
        dx = _row(r * widened(scale), x) * (dy - _row(dbias / n, x) - normal * _row(dscale / n, x))
        dx += centred * _row(2 * dvariance / n, x) + _row(dcenter / n, x)
        return like(x, dx), like(scale, dscale), like(bias_type, dbias)

    return (y, like(x, center), like(x, variance)), saving(pullback, x, scale, center, left, r)


@op
def batch_norm_with(
    x: Float[Array, "*n c"],
    scale: Float[Array, " c"],
    bias: Float[Array, " c"],
    mean: Float[Array, " c"],
    variance: Float[Array, " c"],
    *,
    epsilon: float = 1e-5,
) -> Float[Array, "*n c"]:
    """`batch_norm` with given statistics, as after training: y = (x − mean)/√(variance + ε)·scale + bias."""
    _check_batch("batch_norm_with", x, scale=scale, bias=bias, mean=mean, variance=variance)
    normal = (widened(x) - _row(mean, x)) / jnp.sqrt(_row(variance, x) + epsilon)
    return like(x, normal * _row(scale, x) + _row(bias, x))


@batch_norm_with.rule
def batch_norm_with_rule(x, scale, bias, mean, variance, *, epsilon):
    """With r = 1/√(variance + ε):   x̄ = r scale ȳ,   scale̅ = r Σ ȳ (x − mean),   bias̅ = Σ ȳ,

    mean̅ = −r scale bias̅,   variance̅ = −r² scale scale̅/2

    Gain: only arguments are kept.
    """
    _check_batch("batch_norm_with", x, scale=scale, bias=bias, mean=mean, variance=variance)
    axes, bias_type = tuple(range(x.ndim - 1)), jax.typeof(bias)
    r = lax.rsqrt(widened(variance) + epsilon)
    y = (widened(x) - _row(mean, x)) * _row(r * widened(scale), x) + _row(bias, x)

    def pullback(x, scale, mean, variance, dy):
        r, wide_scale, wide_dy = lax.rsqrt(widened(variance) + epsilon), widened(scale), widened(dy)
        dbias = wide_dy.sum(axes)
        dscale = r * (wide_dy * (widened(x) - _row(mean, x))).sum(axes)
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
    """y = x u^−β, u = k + α Σ x² over `size` neighbouring channels, the own in the middle (Krizhevsky et al. 2012).

    PyTorch divides α by the size.
    """
    _check_size(x, size)
    wide = widened(x)
    around = lax.reduce_window(wide**2, 0.0, lax.add, (1,) * (x.ndim - 1) + (size,), (1,) * x.ndim, _around(x, size))
    return like(x, wide * (k + alpha * around) ** -beta)


@local_response_norm.rule
def local_response_norm_rule(x, *, size, k, alpha, beta):
    """x̄ = ȳ u^−β − 2 α β x Σ ȳ x u^−(β+1), the sum over the channels that have x among their neighbours

    Gain: only the argument is kept, and neighbours are slices in place of windows.
    """
    _check_size(x, size)

    def shrunk(wide):
        u = k + alpha * _neighbours(wide * wide, size)
        return u, u**-beta

    def pullback(x, dy):
        wide, wide_dy = widened(x), widened(dy)
        u, factor = shrunk(wide)
        through = _neighbours(wide_dy * wide * factor / u, size, reverse=True)
        return (like(x, wide_dy * factor - 2 * alpha * beta * wide * through),)

    wide = widened(x)
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
    """A parameter of each entry of a row, beside all rows of x."""
    return widened(parameter).reshape((1,) * (x.ndim - 1) + parameter.shape)


# A mean is a product with a column, in full precision: XLA on the CPU keeps or recomputes what goes into
# several reductions, where a product takes it in once and runs on all cores.


def _mean(x, weights=None):
    """The mean over the last axis, or that of x·weights; the axis stays with length 1."""
    d = x.shape[-1]
    column = jnp.ones((d, 1), x.dtype) if weights is None else weights[:, None]
    return jnp.matmul(x, column, precision=lax.Precision.HIGHEST) / d


def _over_rows(x):
    """The sum over all axes but the last."""
    return x.reshape(-1, x.shape[-1]).sum(0)
