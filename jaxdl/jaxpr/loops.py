"""Loops that may be batched: under `vmap` the test of a `while` gives a Boolean for each element."""

from collections.abc import Callable
from typing import Any

import jax


def while_loop(test: Callable[[list[Any]], Any], step: Callable[[list[Any]], list[Any]], carry: list[Any]) -> list[Any]:
    """`lax.while_loop` on a list whose test may return a Boolean for each element of a batch.

    An element no longer changes once its own test is false.
    """
    some = lambda carry: jax.numpy.any(test(carry))
    return jax.lax.while_loop(some, lambda carry: advanced(test(carry), step(carry), carry), carry)


def advanced(going: jax.Array, new: list[Any], old: list[Any]) -> list[Any]:
    """The carry of a loop after a step: the new one; in a batch, only for the elements whose test is true."""
    if not going.ndim:
        return new
    of = lambda x: going.reshape(going.shape + (1,) * (x.ndim - going.ndim))
    return [jax.numpy.where(of(x), y, x) for x, y in zip(old, new, strict=True)]
