"""Transformers: A. Vaswani et al., Attention is all you need, 2017; with the norms first, as is usual today."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import ops
from jaxdl.nn.checkpointing import _applied, _made_of_layers
from jaxdl.nn.layer import Layer, split_key
from jaxdl.nn.layers import dense, dropout, layer_norm


def attention(heads: int, *, kv_heads: int | None = None, causal: bool = False) -> Layer:
    """Multi-head self-attention, with d/heads numbers a head; see `jaxdl.ops.attention`.

    Args:
        heads: The number of heads of the queries; it divides d.
        kv_heads: The number of heads of keys and values; by default as many. It divides `heads`.
        causal: Whether no query attends to keys that come after it.

    Returns:
        A layer (*n, length, d) → (*n, length, d). Its `apply` takes a `mask` as `jaxdl.ops.attention` does. Parameters:
        those of the dense layers q (d → d), k and v (d → kv_heads·d/heads) and out (d → d).

    Raises:
        ValueError: By `init`, where the heads do not divide d, or kv_heads not the heads.

    Examples:
        >>> layer = attention(4, causal=True)
        >>> params = layer.init(jax.random.key(0), (10, 16))
        >>> layer.apply(params, jnp.ones((5, 10, 16))).shape
        (5, 10, 16)
    """
    kv_heads = heads if kv_heads is None else kv_heads

    def init(key, shape):
        if len(shape) != 2 or shape[-1] % heads or heads % kv_heads:
            raise ValueError(
                f"attention: inputs must be (length, d) each, with {heads} heads dividing d and {kv_heads} heads "
                f"of keys dividing {heads}, got shape {shape}"
            )
        d = shape[-1]
        widths = {"q": d, "k": d // heads * kv_heads, "v": d // heads * kv_heads, "out": d}
        keys = jax.random.split(key, len(widths))
        make = lambda width, key: dense(width, w_init="glorot_uniform").init(key, shape)
        return {name: make(width, k) for (name, width), k in zip(widths.items(), keys, strict=True)}

    def apply(params, x, *, key=None, mask=None):
        del key
        lead = x.shape[:-2]
        q, k, v = (y.reshape(math.prod(lead), *y.shape[-3:]) for y in _projected(params, x, heads))
        o = ops.attention(q, k, v, _of_batch(mask, lead), causal=causal)
        return ops.dense(o.reshape(x.shape), params["out"]["w"], params["out"]["b"])

    return Layer(init, apply)


def _of_batch(mask, lead):
    """A mask of examples with these leading axes as one of a batch."""
    if mask is None or mask.ndim <= 3 or len(lead) <= 1:
        return mask
    return jnp.broadcast_to(mask, (*lead, *mask.shape[-3:])).reshape(math.prod(lead), *mask.shape[-3:])


def attention_weights(params: Any, x: jax.Array, heads: int, mask: jax.Array | None = None) -> jax.Array:
    """The weights softmax(q kᵀ/√d + mask) of an attention layer, for pictures: attention itself never stores them all.

    Args:
        params: The parameters of `attention`.
        x: The inputs, (*n, length, d).
        heads: The number of heads of the queries.
        mask: Booleans that broadcast against the result; False where a query does not attend to a key.

    Returns:
        The weights, (*n, heads, length, length): of each query, those of all keys.

    Examples:
        >>> params = nn.attention(4).init(jax.random.key(0), (10, 16))
        >>> attention_weights(params, jnp.ones((5, 10, 16)), heads=4).shape
        (5, 4, 10, 10)
    """
    q, k, _ = _projected(params, x, heads)
    k = jnp.repeat(k, heads // k.shape[-2], -2)
    scores = jnp.einsum("...lhd,...mhd->...hlm", q, k) / q.shape[-1] ** 0.5
    return ops.softmax(scores if mask is None else jnp.where(mask, scores, -jnp.inf))


def _projected(params, x, heads):
    """q, k and v of each head, by one product: three small ones take longer."""
    parts = [params[name] for name in ("q", "k", "v")]
    w, b = (jnp.concatenate([part[leaf] for part in parts], -1) for leaf in "wb")
    ends = np.cumsum([part["b"].size for part in parts])
    return (y.reshape(*x.shape[:-1], -1, x.shape[-1] // heads) for y in jnp.split(ops.dense(x, w, b), ends[:-1], -1))


def feed_forward(width: int, activation: Callable[[jax.Array], jax.Array]) -> Layer:
    """Two dense layers, activation(x w_in + b_in) w_out + b_out.

    Args:
        width: The number of hidden units.
        activation: An elementwise function of arrays.

    Returns:
        A layer (*n, d) → (*n, d). Parameters: w_in (d, width), b_in (width,), w_out (width, d), b_out (d,).

    Examples:
        >>> layer = feed_forward(64, jax.nn.gelu)
        >>> layer.apply(layer.init(jax.random.key(0), (10, 16)), jnp.ones((5, 10, 16))).shape
        (5, 10, 16)
    """

    def init(key, shape):
        first, second = jax.random.split(key)
        into, out = dense(width).init(first, shape), dense(shape[-1]).init(second, (*shape[:-1], width))
        return {"w_in": into["w"], "b_in": into["b"], "w_out": out["w"], "b_out": out["b"]}

    def apply(params, x, *, key=None):
        del key
        hidden = activation(ops.dense(x, params["w_in"], params["b_in"]))
        return ops.dense(hidden, params["w_out"], params["b_out"])

    return Layer(init, apply)


def gelu_feed_forward(width: int) -> Layer:
    """`feed_forward` with GELU as one op, which stores nothing of the hidden units; see `jaxdl.ops.gelu_feed_forward`.

    Args:
        width: The number of hidden units.

    Returns:
        A layer (n, …, d) → (n, …, d) with the parameters of `feed_forward`.

    Examples:
        >>> layer = gelu_feed_forward(64)
        >>> layer.apply(layer.init(jax.random.key(0), (10, 16)), jnp.ones((5, 10, 16))).shape
        (5, 10, 16)
    """

    def apply(params, x, *, key=None):
        del key
        return ops.gelu_feed_forward(x, params["w_in"], params["b_in"], params["w_out"], params["b_out"])

    return Layer(feed_forward(width, ops.gelu).init, apply)


def swiglu_feed_forward(width: int) -> Layer:
    """(silu(x w_gate) · x w_up) w_down as one op, which stores nothing of the hidden units (Shazeer 2020).

    See `jaxdl.ops.swiglu_feed_forward`.

    Args:
        width: The number of hidden units.

    Returns:
        A layer (*n, d) → (*n, d). Parameters: w_gate and w_up (d, width), w_down (width, d).

    Examples:
        >>> layer = swiglu_feed_forward(64)
        >>> layer.apply(layer.init(jax.random.key(0), (10, 16)), jnp.ones((5, 10, 16))).shape
        (5, 10, 16)
    """

    def init(key, shape):
        d, keys = shape[-1], jax.random.split(key, 3)
        shapes = {"w_gate": (d, width), "w_up": (d, width), "w_down": (width, d)}
        make = jax.nn.initializers.he_normal()
        return {name: make(k, s, jnp.float32) for (name, s), k in zip(shapes.items(), keys, strict=True)}

    def apply(params, x, *, key=None):
        del key
        return ops.swiglu_feed_forward(x, params["w_gate"], params["w_up"], params["w_down"])

    return Layer(init, apply)


def transformer_block(
    heads: int, feed_forward: Layer, *, causal: bool = False, dropout_rate: float = 0.0, epsilon: float = 1e-6
) -> Layer:
    """A block with the norms first: x + attention(norm(x)), then x + feed_forward(norm(x)).

    Args:
        heads: The number of heads.
        feed_forward: A layer such as `gelu_feed_forward(4 * d)`.
        causal: Whether no query attends to keys that come after it.
        dropout_rate: That of the outputs of both parts.
        epsilon: Added to the variance by the norms.

    Returns:
        A layer (*n, length, d) → (*n, length, d). Its `apply` takes a `mask` as `jaxdl.ops.attention` does. Parameters:
        attention_norm, attention, feed_forward_norm, feed_forward.

    Examples:
        >>> layer = transformer_block(4, gelu_feed_forward(64))
        >>> layer.apply(layer.init(jax.random.key(0), (10, 16)), jnp.ones((5, 10, 16))).shape
        (5, 10, 16)
    """
    parts = {
        "attention_norm": layer_norm(epsilon=epsilon),
        "attention": attention(heads, causal=causal),
        "feed_forward_norm": layer_norm(epsilon=epsilon),
        "feed_forward": feed_forward,
    }
    dropped = dropout(dropout_rate)

    def init(key, shape):
        keys = jax.random.split(key, len(parts))
        return {name: part.init(k, shape) for (name, part), k in zip(parts.items(), keys, strict=True)}

    def apply(params, x, *, key=None, mask=None):
        part = lambda name, x, **settings: parts[name].apply(params[name], x, **settings)
        first, second = split_key(key, 2)
        x = x + dropped.apply((), part("attention", part("attention_norm", x), mask=mask), key=first)
        return x + dropped.apply((), part("feed_forward", part("feed_forward_norm", x)), key=second)

    return Layer(init, apply)


def transformer_encoder(
    depth: int,
    heads: int,
    feed_forward: Layer,
    *,
    causal: bool = False,
    dropout_rate: float = 0.0,
    epsilon: float = 1e-6,
) -> Layer:
    """Blocks of a transformer and a last norm.

    Args:
        depth: The number of blocks.
        heads: The number of heads.
        feed_forward: A layer such as `gelu_feed_forward(4 * d)`.
        causal: Whether no query attends to keys that come after it.
        dropout_rate: That of the outputs of both parts of a block.
        epsilon: Added to the variance by the norms.

    Returns:
        A layer (*n, length, d) → (*n, length, d). Its `apply` takes a `mask` as `jaxdl.ops.attention` does. Parameters:
        blocks, a tuple, and norm.

    Examples:
        >>> encoder = transformer_encoder(2, 4, gelu_feed_forward(64), dropout_rate=0.1)
        >>> params = encoder.init(jax.random.key(0), (10, 16))
        >>> encoder.apply(params, jnp.ones((5, 10, 16))).shape
        (5, 10, 16)
    """
    block = transformer_block(heads, feed_forward, causal=causal, dropout_rate=dropout_rate, epsilon=epsilon)
    norm = layer_norm(epsilon=epsilon)

    def init(key, shape):
        *keys, last = jax.random.split(key, depth + 1)
        return {"blocks": tuple(block.init(k, shape) for k in keys), "norm": norm.init(last, shape)}

    def apply(params, x, *, key=None, mask=None):
        for p, k in zip(params["blocks"], split_key(key, depth), strict=True):
            x = _applied(block, p, x, key=k, mask=mask)
        return norm.apply(params["norm"], x)

    return Layer(init, _made_of_layers(apply))
