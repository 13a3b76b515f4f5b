"""Checksums of arrays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.train import (
    checksums,
)
from tests.draws import draw


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "int8", "bool", "complex64"])
def test_checksums_see_every_bit_and_no_sharding(dtype):
    x = (np.asarray(draw(3, 8, 6)) * 10).clip(0).astype(jnp.dtype(dtype))
    total = checksums({"x": jnp.asarray(x)})
    assert list(total) == ["['x']"]
    mesh = jax.make_mesh((4,), ("d",))
    spread = jax.device_put(x, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("d")))
    assert checksums({"x": spread}) == total
    for place in (0, 17, x.nbytes - 1):
        other = x.copy()
        other.reshape(-1).view(np.uint8)[place] ^= 1
        assert checksums({"x": jnp.asarray(other)}) != total
    assert checksums({"x": jnp.asarray(np.roll(x, 1))}) != total
