"""Transformers: A. Vaswani et al., Attention is all you need, 2017; normalised first, as became usual after it."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import ops
from jaxdl.nn.layer import Layer, applied, made_of_layers
from jaxdl.nn.layers import dense, dropout, layer_norm


def attention(heads: int, *, kv_heads: int | None = None, causal: bool = False) -> Layer:
    """Self-attention: (n, length, d) → (n, length, d), with d/heads numbers a head.

    kv_heads, by default as many as heads, are those of keys and values. Parameters: those of the dense
    layers q (d → d), k and v (d → kv_heads·d/heads), out (d → d). apply takes a `mask` as
    `jaxdl.ops.attention` does.
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
        q, k, v = _projected(params, x, heads)
        o = ops.attention(q, k, v, mask, causal=causal)
        return ops.dense(o.reshape(x.shape), params["out"]["w"], params["out"]["b"])

    return Layer(init, apply)


def attention_weights(params, x: jax.Array, heads: int, mask: jax.Array | None = None) -> jax.Array:
    """The weights softmax(q kᵀ/√d + mask) of an attention layer with these params: (n, heads, length, length).

    For pictures: attention itself never has them in memory at once. mask is of booleans.
    """
    q, k, _ = _projected(params, x, heads)
    scores = jnp.einsum("nlhd,nmhd->nhlm", q, jnp.repeat(k, heads // k.shape[2], 2)) / q.shape[-1] ** 0.5
    return ops.softmax(scores if mask is None else jnp.where(mask, scores, -jnp.inf))


def _projected(params, x, heads):
    """q, k and v of each head, by one product: three small ones take longer."""
    parts = [params[name] for name in ("q", "k", "v")]
    w, b = (jnp.concatenate([part[leaf] for part in parts], -1) for leaf in "wb")
    ends = np.cumsum([part["b"].size for part in parts])
    return (y.reshape(*x.shape[:2], -1, x.shape[-1] // heads) for y in jnp.split(ops.dense(x, w, b), ends[:-1], -1))


def feed_forward(width: int, activation: Callable) -> Layer:
    """activation(x w_in + b_in) w_out + b_out: (n, …, d) → (n, …, d) by way of width."""

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
    """gelu(x w_in + b_in) w_out + b_out: (n, …, d) → (n, …, d) by way of width, of which nothing is kept."""

    def apply(params, x, *, key=None):
        del key
        return ops.gelu_feed_forward(x, params["w_in"], params["b_in"], params["w_out"], params["b_out"])

    return Layer(feed_forward(width, ops.gelu).init, apply)


def swiglu_feed_forward(width: int) -> Layer:
    """(silu(x w_gate) · x w_up) w_down: (n, …, d) → (n, …, d) by way of width, of which nothing is kept."""

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
    heads: int, feed_forward: Layer, *, causal: bool = False, drop: float = 0.0, epsilon: float = 1e-6
) -> Layer:
    """x + attention(norm(x)), then x + feed_forward(norm(x)): (n, length, d) → (n, length, d).

    feed_forward is a layer such as `gelu_feed_forward(4·d)`. apply takes a `mask` as `jaxdl.ops.attention` does.
    """
    parts = {
        "attention_norm": layer_norm(epsilon=epsilon),
        "attention": attention(heads, causal=causal),
        "feed_forward_norm": layer_norm(epsilon=epsilon),
        "feed_forward": feed_forward,
    }
    dropped = dropout(drop)

    def init(key, shape):
        keys = jax.random.split(key, len(parts))
        return {name: part.init(k, shape) for (name, part), k in zip(parts.items(), keys, strict=True)}

    def apply(params, x, *, key=None, mask=None):
        part = lambda name, x, **settings: parts[name].apply(params[name], x, **settings)
        first, second = (None, None) if key is None else jax.random.split(key)
        x = x + dropped.apply((), part("attention", part("attention_norm", x), mask=mask), key=first)
        return x + dropped.apply((), part("feed_forward", part("feed_forward_norm", x)), key=second)

    return Layer(init, apply)


def transformer_encoder(depth: int, heads: int, feed_forward: Layer, **settings) -> Layer:
    """`depth` blocks and a last norm, (n, length, d) → (n, length, d); settings as in `transformer_block`.

    Parameters: blocks, a tuple, and norm.
    """
    block, norm = (
        transformer_block(heads, feed_forward, **settings),
        layer_norm(epsilon=settings.get("epsilon", 1e-6)),
    )

    def init(key, shape):
        *keys, last = jax.random.split(key, depth + 1)
        return {"blocks": tuple(block.init(k, shape) for k in keys), "norm": norm.init(last, shape)}

    def apply(params, x, *, key=None, mask=None):
        keys = [None] * depth if key is None else jax.random.split(key, depth)
        for p, k in zip(params["blocks"], keys, strict=True):
            x = applied(block, p, x, key=k, mask=mask)
        return norm.apply(params["norm"], x)

    return Layer(init, made_of_layers(apply))
