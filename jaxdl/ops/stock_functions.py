"""For each op, the function that a program without jaxdl has in its place: of jax.nn, or as optax or Flax write it.

An op that is not in the table has no better known form than its own definition, such as `x @ w`. The values are those
of the definition, also for masks and labels that the libraries treat in another way. The derivatives are JAX's, which
differ at kinks and in tails. `jaxdl.stock` puts these functions in place of the ops.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxdl.ops import feed_forward, fused_losses, lookup, losses, norms, pointwise, reductions, tiled_attention
from jaxdl.ops.precision import at_least_32_bits, floating, like, upcast
from jaxdl.ops.stable_formulas import QUICK
from jaxdl.rule import Op


def _quick_gelu(x):
    x = floating(x)
    return x * jax.nn.sigmoid(QUICK * x)


def _embedding(table, indices):
    """As flax.linen.Embed, but the row of a negative index is NaN too."""
    return jnp.take(table, _not_negative(indices, table.shape[0]), axis=0, mode="fill", fill_value=jnp.nan)


def _not_negative(indices, length):
    """Negative indices, which count from the end in jax.numpy, as an index outside."""
    indices = at_least_32_bits(indices)
    return jnp.where(indices < 0, length, indices)


def _normalized(x, mean, variance, epsilon, scale, bias=None):
    """As the layers of flax.linen."""
    row = lambda a: upcast(a).reshape((1,) * (x.ndim - a.ndim) + a.shape)
    y = (x - row(mean)) * (lax.rsqrt(row(variance) + epsilon) * row(scale))
    return y if bias is None else y + row(bias)


def _fast_moments(wide, axes, **keepdims):
    """Mean and variance as flax.linen computes them, in one pass: less accurate where the mean is large."""
    mean, of_squares = wide.mean(axes, **keepdims), (wide**2).mean(axes, **keepdims)
    return mean, jnp.maximum(0, of_squares - mean**2)


def _layer_norm(x, scale, bias, *, epsilon):
    """flax.linen.LayerNorm"""
    wide = upcast(x)
    return like(x, _normalized(wide, *_fast_moments(wide, -1, keepdims=True), epsilon, scale, bias))


def _rms_norm(x, scale, *, epsilon):
    """flax.linen.RMSNorm"""
    wide = upcast(x)
    mean_square = (wide**2).mean(-1, keepdims=True)
    return like(x, _normalized(wide, jnp.zeros_like(mean_square), mean_square, epsilon, scale))


def _batch_norm(x, scale, bias, *, epsilon):
    """flax.linen.BatchNorm"""
    wide = upcast(x)
    mean, variance = _fast_moments(wide, tuple(range(x.ndim - 1)))
    return like(x, _normalized(wide, mean, variance, epsilon, scale, bias)), like(x, mean), like(x, variance)


def _batch_norm_inference(x, scale, bias, mean, variance, *, epsilon):
    """flax.linen.BatchNorm(use_running_average=True)"""
    return like(x, _normalized(upcast(x), mean, variance, epsilon, scale, bias))


def _attention(q, k, v, mask, *, causal):
    """jax.nn.dot_product_attention, whose weights are float32, but a query that attends to no key gets 0."""
    types = {(a.shape[-1], a.dtype) for a in (q, k, v)}
    if len(types) > 1 or q.dtype not in (jnp.float32, jnp.bfloat16):
        return tiled_attention.attention.primal(q, k, v, mask, causal=causal)
    if mask is None:
        return _dot_product_attention(q, k, v, is_causal=causal)
    mask = mask.reshape((1,) * (4 - mask.ndim) + mask.shape)
    allowed = mask if mask.dtype == bool else mask > -jnp.inf
    if causal:
        allowed = allowed & jnp.tri(q.shape[1], k.shape[1], dtype=bool)[None, None]
    blind = ~allowed.any(-1, keepdims=True)
    by_mask = {"mask": mask} if mask.dtype == bool else {"bias": jnp.where(blind, 0, mask)}
    y = _dot_product_attention(q, k, v, **by_mask, is_causal=causal)
    return jnp.where(blind.swapaxes(1, 2), 0, y)


def _dot_product_attention(*args, **settings):
    with jax.numpy_dtype_promotion("standard"):  # which it needs for bfloat16
        return jax.nn.dot_product_attention(*args, **settings)


def _cross_entropies(logits, labels):
    """optax.softmax_cross_entropy_with_integer_labels, but a negative label gives NaN too."""
    labels = _not_negative(labels, logits.shape[-1])[..., None]
    chosen = jnp.take_along_axis(logits, labels, -1, mode="fill", fill_value=jnp.nan)[..., 0]
    return jax.nn.logsumexp(logits, -1) - chosen


def _softmax_cross_entropies(logits, targets):
    """optax.safe_softmax_cross_entropy"""
    return -jnp.where(targets == 0, 0, targets * jax.nn.log_softmax(logits)).sum(-1)


def _logistic_losses(z, y):
    """optax.sigmoid_binary_cross_entropy, but a label other than 0 or 1 gives NaN"""
    y = jnp.where((y == 0) | (y == 1), y.astype(z.dtype), jnp.nan)
    return -y * jax.nn.log_sigmoid(z) - (1 - y) * jax.nn.log_sigmoid(-z)


def _reduced(losses):
    return lambda *args, reduce: losses(*args) if reduce is None else reduce(losses(*args))


def _linear_cross_entropy(x, w, labels, weights, *, reduce):
    each = _cross_entropies(x @ w, labels)
    return reduce(each) if weights is None else (weights.astype(each.dtype) * each).sum()


def _contrastive_loss(x, y, scale):
    logits, labels = scale * (x @ y.T), jnp.arange(x.shape[0])
    return (_cross_entropies(logits, labels).mean() + _cross_entropies(logits.T, labels).mean()) / 2


def _gelu_feed_forward(x, w_in, b_in, w_out, b_out):
    row = lambda b: b.reshape((1,) * (x.ndim - 1) + b.shape)
    return jax.nn.gelu(x @ w_in + row(b_in), approximate=False) @ w_out + row(b_out)


def _swiglu_feed_forward(x, w_gate, w_up, w_down):
    return (jax.nn.silu(x @ w_gate) * (x @ w_up)) @ w_down


STOCK_FUNCTIONS: dict[Op[..., Any], Callable[..., Any]] = {
    pointwise.sigmoid: lambda x: jax.nn.sigmoid(floating(x)),
    pointwise.relu: jax.nn.relu,
    pointwise.leaky_relu: lambda x, *, slope: jax.nn.leaky_relu(x, slope),
    pointwise.elu: lambda x, *, alpha: jax.nn.elu(x, alpha),
    pointwise.selu: jax.nn.selu,
    pointwise.softplus: jax.nn.softplus,
    pointwise.silu: lambda x: jax.nn.silu(floating(x)),
    pointwise.gelu: lambda x: jax.nn.gelu(x, approximate=False),
    pointwise.gelu_tanh: lambda x: jax.nn.gelu(x, approximate=True),
    pointwise.quick_gelu: _quick_gelu,
    reductions.logsumexp: jax.nn.logsumexp,
    reductions.softmax: jax.nn.softmax,
    reductions.log_softmax: jax.nn.log_softmax,
    lookup.embedding: _embedding,
    norms.layer_norm: _layer_norm,
    norms.rms_norm: _rms_norm,
    norms.batch_norm: _batch_norm,
    norms.batch_norm_inference: _batch_norm_inference,
    tiled_attention.attention: _attention,
    feed_forward.gelu_feed_forward: _gelu_feed_forward,
    feed_forward.swiglu_feed_forward: _swiglu_feed_forward,
    losses.logistic_loss: _reduced(_logistic_losses),
    losses.softmax_cross_entropy: _reduced(_softmax_cross_entropies),
    losses.softmax_cross_entropy_with_integer_labels: _reduced(_cross_entropies),
    fused_losses.linear_cross_entropy: _linear_cross_entropy,
    fused_losses.contrastive_loss: _contrastive_loss,
}
