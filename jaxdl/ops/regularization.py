"""Random regularisation: dropout."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt

from jaxdl.rule import op, saving


@op
def dropout(x: Float[Array, "..."], key: Key[Array, ""] | UInt[Array, "2"], *, rate: float) -> Float[Array, "..."]:
    """y = x m / (1 − rate), each entry of m independently 0 with probability rate, else 1 (Srivastava et al. 2014).

    Args:
        x: Array of any shape.
        key: A key of `jax.random`.
        rate: The probability with which an entry is set to 0.

    Returns:
        Array of the shape and dtype of x.

    Raises:
        ValueError: The rate is not in [0, 1).

    Examples:
        >>> y = dropout(jnp.ones(1000), jax.random.key(0), rate=0.5)
        >>> sorted(set(y.tolist()))
        [0.0, 2.0]
    """
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: rate must be in [0, 1), got {rate}")
    return jnp.where(_kept(key, x, rate), x / (1 - rate), 0)


@dropout.rule
def dropout_rule(x, key, *, rate):
    """x̄ = ȳ m / (1 − rate)

    Gain: stores one byte for each element.
    """
    kept = _kept(key, x, rate)

    def pullback(kept, dy):
        return jnp.where(kept, dy / (1 - rate), 0), None

    return jnp.where(kept, x / (1 - rate), 0), saving(pullback, kept)


def _kept(key, x, rate):
    # With a float32 probability the draw is the same whether or not float64 is enabled.
    return jax.random.bernoulli(key, jnp.float32(1 - rate), x.shape)
