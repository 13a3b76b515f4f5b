"""A checksum of arrays that is computed on their devices, whatever their sharding."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def checksums(tree: Any) -> dict[str, int]:
    """A 32-bit checksum of each array of a pytree.

    The checksum is Σᵢ mix(bitsᵢ + mix(i)) modulo 2³². Its terms can be added in any order, so the sharding does not
    matter. `mix` is one-to-one, so every change within 32 bits is seen; other changes are missed with probability 2⁻³².

    Args:
        tree: A pytree of arrays of any dtype, PRNG keys included.

    Returns:
        The checksums by the arrays' paths, as `jax.tree_util.keystr` writes them.

    Examples:
        >>> import jax.numpy as jnp
        >>> list(checksums({"w": jnp.ones(3)}))
        ["['w']"]
    """
    arrays = {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]}
    return {path: int(total) for path, total in jax.device_get(_sums(arrays)).items()}


@jax.jit
def _sums(arrays):
    return {path: _sum(x) for path, x in arrays.items()}


def _sum(x):
    words = _words(x)
    place = jnp.zeros(words.shape, jnp.uint32)
    for axis, size in enumerate(words.shape):  # modulo 2³², also for larger arrays
        place = place * np.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    return _mix(words + _mix(place)).sum(dtype=jnp.uint32)


def _words(x):
    """The bits of an array as 32-bit integers, two for each 64-bit number."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        x = jnp.stack([x.real, x.imag], -1)
    if x.dtype == bool:
        return x.astype(jnp.uint32)
    bits = min(8 * x.dtype.itemsize, 32)
    return jax.lax.bitcast_convert_type(x, f"uint{bits}").astype(jnp.uint32)


def _mix(x):
    """A one-to-one function of 32-bit integers: each bit of x changes about half of the result's bits.

    This is lowbias32 of C. Wellons.
    """
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
    return x ^ (x >> 16)
