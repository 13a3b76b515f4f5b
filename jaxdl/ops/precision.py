"""Number formats: what rules need to be no less accurate than the automatic derivative."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def is_differentiable(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.inexact)


def floating(x: Any) -> Any:
    """Integers and booleans as floating-point numbers of the default size, everything else unchanged."""
    return x if is_differentiable(jnp.result_type(x)) else jnp.asarray(x, float)


def upcast(x: Any) -> Any:
    """16-bit floating-point arrays of a pytree in float32, everything else unchanged."""
    to_float32 = lambda leaf: leaf.astype(jnp.float32) if leaf.dtype in (jnp.bfloat16, jnp.float16) else leaf
    return jax.tree.map(to_float32, x)


def zeros(shape: tuple[int, ...], x: Any) -> jax.Array:
    """Zeros of x's format, at least 32 bits wide, for sums in loops; inside shard_map they vary as x does.

    For that, the sum of no entries of x is added, which is 0 even where x is not finite.
    """
    nothing = upcast(x)[:0].sum()
    return jnp.zeros(shape, nothing.dtype) + nothing


def at_least_32_bits(indices: jax.Array) -> jax.Array:
    """8- and 16-bit integers as int32, or comparing them with a length beyond their range would wrap."""
    return indices.astype(jnp.int32) if indices.dtype.itemsize < 4 else indices


def like(x: Any, y: jax.Array) -> jax.Array:
    """y in x's dtype, if that is inexact; the real part of y, if x is real. x may be a type."""
    if not is_differentiable(x.dtype) or y.dtype == x.dtype:
        return y
    if jnp.iscomplexobj(y) and not jnp.iscomplexobj(x):
        y = y.real
    return y.astype(x.dtype)


def unbroadcast(dy: jax.Array, type: Any) -> jax.Array | None:
    """A cotangent in the type of its argument: summed over broadcast axes; None for integers."""
    if not is_differentiable(type.dtype):
        return None
    shape = type.shape
    leading = tuple(range(dy.ndim - len(shape)))
    stretched = tuple(i + len(leading) for i, n in enumerate(shape) if n == 1 and dy.shape[i + len(leading)] != 1)
    if leading or stretched:
        dy = dy.sum(leading + stretched).reshape(shape)
    return like(type, dy)


def upper_half(x: Any) -> Any:
    """The upper half of the significand, so that products of two halves are exact; arguments as for `upper_bits`."""
    return upper_bits(x, 26 if getattr(x, "dtype", None) == jnp.float64 else 12)


def upper_bits(x: Any, n: int) -> Any:
    """The first n bits of the significand of an array of float32 or float64, or of a Python number."""
    if isinstance(x, float):
        significand, exponent = math.frexp(x)
        return math.ldexp(math.trunc(significand * 2**n), exponent - n)
    digits, integer = {4: (24, jnp.uint32), 8: (53, jnp.uint64)}[x.dtype.itemsize]
    mask = integer(np.iinfo(integer).max << (digits - n) & np.iinfo(integer).max)
    return lax.bitcast_convert_type(lax.bitcast_convert_type(x, integer) & mask, x.dtype)
