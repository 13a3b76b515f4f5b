"""PRNG keys for a device's rows of a batch: they draw what the key of the whole batch draws for these rows.

JAX computes the i-th random number of an array from the key and i alone (Threefry, Salmon et al. 2011, with
`jax_threefry_partitionable`, the default), so a part of the numbers can be computed without the rest.
"""

import math

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx

THREEFRY = "threefry2x32"


def key_for_rows(key: jax.Array, index: jax.Array | int) -> jax.Array:
    """A key that draws for an array (n, …) the rows index·n … (index + 1)·n of what `key` draws.

    So the index-th of several equal parts of a batch has the random numbers that it has in the whole batch. A key that
    is not a Threefry key, JAX's default, is returned unchanged.
    """
    key = key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)
    if jax.random.key_impl(key) != THREEFRY:
        return key
    words = jax.random.key_data(key)
    return jax.random.wrap_key_data(_joined(words, jnp.uint32(index)), impl=_ROWS)


def _bits(words, width, shape):
    size = math.prod(shape)
    high, low = _product(words[2], size)
    counts = low + jax.lax.iota(jnp.uint32, size)
    high = high + (counts < low).astype(jnp.uint32)
    a, b = jnp.split(jx.threefry_2x32(words[:2], jnp.concatenate([high, counts])), 2)
    a, b = (a.astype(jnp.uint64) << 32, b.astype(jnp.uint64)) if width == 64 else (a, b)
    return (a ^ b).astype(f"uint{width}").reshape(shape)


def _product(a, b: int):
    """The 64-bit product of two 32-bit integers, as its high and low 32 bits."""
    halves = [(x >> jnp.uint32(16), x & jnp.uint32(0xFFFF)) for x in (a, jnp.uint32(b))]
    (a1, a0), (b1, b0) = halves
    low, one, other = a0 * b0, a0 * b1, a1 * b0
    middle = (low >> 16) + (one & 0xFFFF) + (other & 0xFFFF)
    return a1 * b1 + (one >> 16) + (other >> 16) + (middle >> 16), (middle << 16) | (low & 0xFFFF)


def _split(words, shape):
    return _joined(jax.random.key_data(jax.random.split(_whole(words), shape)), words[2])


def _fold_in(words, data):
    return _joined(jax.random.key_data(jax.random.fold_in(_whole(words), data)), words[2])


def _whole(words):
    return jax.random.wrap_key_data(words[:2], impl=THREEFRY)


def _joined(words, index):
    return jnp.concatenate([words, jnp.broadcast_to(index, (*words.shape[:-1], 1))], -1)


def _no_seed(seed):
    raise NotImplementedError("key_for_rows makes this key, from the key of the whole batch")


_ROWS = jx.define_prng_impl(
    key_shape=(3,),
    seed=_no_seed,
    split=_split,
    random_bits=_bits,
    fold_in=_fold_in,
    name="rows of threefry2x32",
    tag="rows",
)
