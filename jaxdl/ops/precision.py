"""Number formats: what rules need to be no less accurate than the automatic derivative."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


def is_differentiable(dtype) -> bool:
    return jnp.issubdtype(dtype, jnp.inexact)


def widened(x):
    """16-bit floating point as float32, everything else as it is."""
    narrow = lambda leaf: leaf.astype(jnp.float32) if leaf.dtype in (jnp.bfloat16, jnp.float16) else leaf
    return jax.tree.map(narrow, x)


def zeros(shape, x):
    """Zeros of x's format, at least 32 bits wide, for sums in loops; in shard_map they vary as x does.

    That comes of adding a sum of no entries of x, which is 0 even where x is not finite.
    """
    nothing = widened(x)[:0].sum()
    return jnp.zeros(shape, nothing.dtype) + nothing


def at_least_32_bits(indices):
    """8- and 16-bit integers as int32, or comparing them with a length beyond their range would wrap."""
    return indices.astype(jnp.int32) if indices.dtype.itemsize < 4 else indices


def like(x, y):
    """y rounded to x's dtype, if x was widened or y is of another precision or kind; x may be a type."""
    if not is_differentiable(x.dtype) or y.dtype == x.dtype:
        return y
    if jnp.iscomplexobj(y) and not jnp.iscomplexobj(x):
        y = y.real
    return y.astype(x.dtype)


def fitted(dy, type):
    """A cotangent brought to its argument's type: summed over what was broadcast, None for integers."""
    if not is_differentiable(type.dtype):
        return None
    shape = type.shape
    leading = tuple(range(dy.ndim - len(shape)))
    stretched = tuple(i + len(leading) for i, n in enumerate(shape) if n == 1 and dy.shape[i + len(leading)] != 1)
    if leading or stretched:
        dy = dy.sum(leading + stretched).reshape(shape)
    return like(type, dy)


def upper_half(x):
    """The upper half of the significand, so that products of two halves are exact.

    Takes a Python number (its upper half in float32) or an array of float32 or float64.
    """
    if isinstance(x, float):
        return float((np.float32(x).view(np.uint32) & np.uint32(0xFFFFF000)).view(np.float32))
    bits, integer = {4: (12, jnp.uint32), 8: (27, jnp.uint64)}[x.dtype.itemsize]
    mask = integer(np.iinfo(integer).max << bits & np.iinfo(integer).max)
    return lax.bitcast_convert_type(lax.bitcast_convert_type(x, integer) & mask, x.dtype)
