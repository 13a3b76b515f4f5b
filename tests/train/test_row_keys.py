"""The random numbers of a part of a batch are those of its rows in the whole batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdl.train.row_keys import _product, key_for_rows

DRAWS = {
    "normal": lambda key, n: jax.random.normal(key, (n, 3)),
    "booleans": lambda key, n: jax.random.bernoulli(key, 0.3, (n, 2, 2)),
    "bytes": lambda key, n: jax.random.bits(key, (n,), jnp.uint8),
    "after a split": lambda key, n: jax.random.normal(jax.random.split(key, 3)[1], (n, 3)),
    "after a fold": lambda key, n: jax.random.uniform(jax.random.fold_in(key, 7), (n, 3)),
    "float64": lambda key, n: jax.random.normal(key, (n, 3), jnp.float64),
}


@pytest.mark.parametrize("name", DRAWS)
def test_parts_have_what_the_whole_has(name, key):
    draw = DRAWS[name]
    with jax.enable_x64(name == "float64"):
        parts = [draw(key_for_rows(key, i), 2) for i in range(4)]
        assert parts[0].dtype == draw(key, 8).dtype
        np.testing.assert_array_equal(np.concatenate(parts), draw(key, 8))


def test_also_by_vmap(key):
    keys = jax.vmap(lambda i: key_for_rows(key, i))(jnp.arange(4))
    np.testing.assert_array_equal(
        jax.vmap(lambda k: DRAWS["normal"](k, 2))(keys).reshape(8, 3), DRAWS["normal"](key, 8)
    )


def test_a_place_beyond_32_bits():
    for a, b in ((3, 7), (2**31 + 5, 2**31 + 77), (2**32 - 1, 2**32 - 1)):
        high, low = _product(jnp.uint32(a), b)
        assert int(high) * 2**32 + int(low) == a * b


def test_older_keys_and_those_of_other_kinds(key):
    old = jax.random.key_data(key)
    np.testing.assert_array_equal(DRAWS["normal"](key_for_rows(old, 1), 2), DRAWS["normal"](key, 4)[2:])
    other = jax.random.key(0, impl="rbg")
    assert key_for_rows(other, 1) is other
