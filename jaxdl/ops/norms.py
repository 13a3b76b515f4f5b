"""Normalisation over the last axis. Kept are the input and one or two numbers a row.

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

    The means are weighted means, of ȳ and of ȳ x̂ with the weights scale: ȳ x̂ serves twice.
    """
    wide = widened(x)
    center = _mean(wide)
    r = lax.rsqrt(_mean((wide - center) ** 2) + epsilon)
    y = like(x, (wide - center) * r * _row(scale, x) + _row(bias, x))
    bias_type = jax.typeof(bias)

    def pullback(x, scale, center, r, dy):
        normal, wide_dy, weights = (widened(x) - center) * r, widened(dy), widened(scale)
        product = wide_dy * normal
        g = wide_dy * _row(scale, x)
        dx = r * (g - _mean(wide_dy, weights) - normal * _mean(product, weights))
        return like(x, dx), like(scale, _over_rows(product)), like(bias_type, _over_rows(wide_dy))

    return y, saving(pullback, x, scale, center, r)


@op
def rms_norm(x: Float[Array, "*n d"], scale: Float[Array, " d"], *, epsilon: float = 1e-6) -> Float[Array, "*n d"]:
    """y = x̂·scale, x̂ = x/√(mean x² + ε) over the last axis (Zhang and Sennrich 2019)."""
    _check("rms_norm", x, scale=scale)
    wide = widened(x)
    return like(x, wide / jnp.sqrt((wide**2).mean(-1, keepdims=True) + epsilon) * _row(scale, x))


@rms_norm.rule
def rms_norm_rule(x, scale, *, epsilon):
    """x̄ = r (g − x̂ mean(g x̂)),  r = 1/√(mean x² + ε),  scale̅ = Σ ȳ x̂"""
    wide = widened(x)
    r = lax.rsqrt(_mean(wide**2) + epsilon)

    def pullback(x, scale, r, dy):
        normal, wide_dy = widened(x) * r, widened(dy)
        product = wide_dy * normal
        dx = r * (wide_dy * _row(scale, x) - normal * _mean(product, widened(scale)))
        return like(x, dx), like(scale, _over_rows(product))

    return like(x, wide * r * _row(scale, x)), saving(pullback, x, scale, r)


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
