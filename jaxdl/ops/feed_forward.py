"""The feed-forward parts of transformers, whose hidden units are recomputed in the backward pass."""

import jax
from jaxtyping import Array, Float

from jaxdl.ops.linear import dense
from jaxdl.ops.pointwise import gelu, silu
from jaxdl.rule import op, saving


@op
def gelu_feed_forward(
    x: Float[Array, "*n d"],
    w_in: Float[Array, "d m"],
    b_in: Float[Array, " m"],
    w_out: Float[Array, "m e"],
    b_out: Float[Array, " e"],
) -> Float[Array, "*n e"]:
    """y = gelu(x w_in + b_in) w_out + b_out.

    Args:
        x: Inputs (*n, d), with any number of leading axes.
        w_in: Weights (d, m).
        b_in: Biases (m,).
        w_out: Weights (m, e).
        b_out: Biases (e,).

    Returns:
        Outputs (*n, e).

    Raises:
        ValueError: The shapes do not fit.

    Examples:
        >>> w_in, w_out = jnp.ones((3, 8)), jnp.ones((8, 4))
        >>> gelu_feed_forward(jnp.ones((2, 3)), w_in, jnp.zeros(8), w_out, jnp.zeros(4)).shape
        (2, 4)
    """
    _check("gelu_feed_forward", x, w_in, w_out)
    return dense.primal(gelu.primal(dense.primal(x, w_in, b_in)), w_out, b_out)


@gelu_feed_forward.rule
def gelu_feed_forward_rule(x, w_in, b_in, w_out, b_out):
    """With h = x w_in + b_in and a = gelu(h):

    h̄ = ȳ w_outᵀ gelu′(h),   x̄ = h̄ w_inᵀ,   w̄_in = xᵀ h̄,   b̄_in = Σ h̄,   w̄_out = aᵀ ȳ,   b̄_out = Σ ȳ

    Gain: stores only arguments; the hidden units are recomputed.
    """
    _check("gelu_feed_forward", x, w_in, w_out)

    def pullback(x, w_in, b_in, w_out, dy):
        rows, dy = _rows(x), _rows(dy)
        a, of_gelu = jax.vjp(gelu, dense(rows, w_in, b_in))
        (dh,) = of_gelu(dy @ w_out.T)
        return (dh @ w_in.T).reshape(x.shape), rows.T @ dh, dh.sum(0), a.T @ dy, dy.sum(0)

    y = dense(gelu(dense(x, w_in, b_in)), w_out, b_out)
    return y, saving(pullback, x, w_in, b_in, w_out)


@op
def swiglu_feed_forward(
    x: Float[Array, "*n d"], w_gate: Float[Array, "d m"], w_up: Float[Array, "d m"], w_down: Float[Array, "m e"]
) -> Float[Array, "*n e"]:
    """y = (silu(x w_gate) · x w_up) w_down (Shazeer 2020).

    Args:
        x: Inputs (*n, d), with any number of leading axes.
        w_gate: Weights (d, m).
        w_up: Weights (d, m).
        w_down: Weights (m, e).

    Returns:
        Outputs (*n, e).

    Raises:
        ValueError: The shapes do not fit.

    Examples:
        >>> w, w_down = jnp.ones((3, 8)), jnp.ones((8, 4))
        >>> swiglu_feed_forward(jnp.ones((2, 3)), w, w, w_down).shape
        (2, 4)
    """
    _check("swiglu_feed_forward", x, w_gate, w_down)
    return (silu.primal(x @ w_gate) * (x @ w_up)) @ w_down


@swiglu_feed_forward.rule
def swiglu_feed_forward_rule(x, w_gate, w_up, w_down):
    """With g = x w_gate, s = silu(g), u = x w_up and ā = ȳ w_downᵀ:

    ḡ = ā u silu′(g),   ū = ā s,   x̄ = ḡ w_gateᵀ + ū w_upᵀ,   w̄_gate = xᵀ ḡ,   w̄_up = xᵀ ū,   w̄_down = (s u)ᵀ ȳ

    Gain: stores only arguments; the hidden units are recomputed.
    """
    _check("swiglu_feed_forward", x, w_gate, w_down)

    def pullback(x, w_gate, w_up, w_down, dy):
        rows, dy = _rows(x), _rows(dy)
        (s, of_silu), u, da = jax.vjp(silu, rows @ w_gate), rows @ w_up, dy @ w_down.T
        (dg,), du = of_silu(da * u), da * s
        dx = dg @ w_gate.T + du @ w_up.T
        return dx.reshape(x.shape), rows.T @ dg, rows.T @ du, (s * u).T @ dy

    return (silu(x @ w_gate) * (x @ w_up)) @ w_down, saving(pullback, x, w_gate, w_up, w_down)


def _rows(x):
    return x.reshape(-1, x.shape[-1])


def _check(name, x, w_in, w_out):
    if w_in.ndim != 2 or w_out.ndim != 2 or x.shape[-1:] != w_in.shape[:1] or w_in.shape[1] != w_out.shape[0]:
        raise ValueError(
            f"{name}: x (*n, d), the weights in (d, m) and out (m, e) do not fit: "
            f"{x.shape}, {w_in.shape}, {w_out.shape}"
        )
