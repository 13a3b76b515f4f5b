"""A checksum of arrays that is computed where they are, on any devices and in any sharding."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def checksums(tree: Any) -> dict[str, int]:
    """A number of 32 bits for each array of a pytree, by its path.

    Σᵢ mix(bitsᵢ + mix(i)) modulo 2³²: the terms can be added in any order, so that the sharding does not matter. mix is
    one-to-one, so that no change of 32 bits goes unseen; others do by a chance of 2⁻³².
    """
    arrays = {jax.tree_util.keystr(path): x for path, x in jax.tree_util.tree_flatten_with_path(tree)[0]}
    return {path: int(total) for path, total in jax.device_get(_sums(arrays)).items()}


@jax.jit
def _sums(arrays):
    return {path: _sum(x) for path, x in arrays.items()}


def _sum(x):
    words = _words(x)
    place = jnp.zeros(words.shape, jnp.uint32)
    for axis, size in enumerate(words.shape):  # modulo 2³², as sizes beyond it are
        place = place * np.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis)
    return _mix(words + _mix(place)).sum(dtype=jnp.uint32)


def _words(x):
    """The bits of an array as numbers of 32 bits, two to a number of 64."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.random.key_data(x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        x = jnp.stack([x.real, x.imag], -1)
    if x.dtype == bool:
        return x.astype(jnp.uint32)
    bits = min(8 * x.dtype.itemsize, 32)
    return jax.lax.bitcast_convert_type(x, f"uint{bits}").astype(jnp.uint32)


def _mix(x):
    """One-to-one on numbers of 32 bits, each bit of x changing about half of the result's (C. Wellons' lowbias32)."""
    x = (x ^ (x >> 16)) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * np.uint32(0x846CA68B)
    return x ^ (x >> 16)
