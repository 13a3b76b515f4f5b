"""How an op computes in one way on a CPU and in another way elsewhere.

What is right for a few cores, small parts one after the other in a cache, is slow on a GPU or a TPU, which needs large
parts. Both ways are traced. The one for the platform is taken when the program is lowered, also by `jax.export` for a
platform that is not at hand.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def by_platform(on_cpu: Callable[..., Any], elsewhere: Callable[..., Any]) -> Callable[..., Any]:
    """Two functions of arrays as one: the first runs on CPUs, the second on all other platforms.

    Both return arrays of the same shapes and dtypes. So the residuals of a rule do not depend on the platform.
    """
    return lambda *args: lax.platform_dependent(*args, cpu=on_cpu, default=elsewhere)


def over_blocks(
    f: Callable[..., tuple[Any, Any]], carry: Any, rows: tuple[jax.Array | None, ...], most: int
) -> tuple[Any, Any]:
    """Scans f(carry, *rows) → (carry, outputs) over blocks of `most` rows, the last of which may be smaller."""
    n = jax.tree.leaves(rows)[0].shape[0]
    if n <= most:
        return f(carry, *rows)
    count, rest = divmod(n, most)
    blocks = jax.tree.map(lambda a: a[: count * most].reshape(count, most, *a.shape[1:]), rows)
    carry, outputs = lax.scan(lambda carry, block: f(carry, *block), carry, blocks)
    outputs = jax.tree.map(lambda y: y.reshape(count * most, *y.shape[2:]), outputs)
    if rest:
        carry, last = f(carry, *jax.tree.map(lambda a: a[count * most :], rows))
        outputs = jax.tree.map(lambda y, z: jnp.concatenate([y, z]), outputs, last)
    return carry, outputs


def rows_of_block(bytes_of_row: int, block: int, least: int) -> int:
    """How many rows have at most `block` bytes, as a multiple of `least`, and at least that."""
    return least * max(1, block // max(1, least * bytes_of_row))


def einsum(spec: str, x: jax.Array, y: jax.Array, dtype: Any) -> jax.Array:
    """A product for accelerators of arrays in `dtype`, whose sums have at least 32 bits.

    Products of bfloat16 are fast there, and copies in 32 bits take time and memory. float16 is widened nevertheless:
    cotangents of a mean over many examples are smaller than its smallest numbers.
    """
    dtype = jnp.dtype(jnp.float32) if dtype == jnp.float16 else dtype
    sums = dtype if dtype.itemsize > 2 else jnp.float32
    return jnp.einsum(spec, x.astype(dtype), y.astype(dtype), preferred_element_type=sums)
