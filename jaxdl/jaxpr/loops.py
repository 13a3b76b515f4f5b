"""Loops that may be batched: under `vmap` the test of a `while` gives a Boolean for each element."""

import jax


def while_loop(test, step, carry: list) -> list:
    """`lax.while_loop` on a list whose test may return a Boolean for each element of a batch.

    An element no longer changes once its own test is false.
    """
    some = lambda carry: jax.numpy.any(test(carry))
    return jax.lax.while_loop(some, lambda carry: advanced(test(carry), step(carry), carry), carry)


def advanced(going, new, old):
    """The carry of a loop after a step: the new one; in a batch, only for the elements whose test is true."""
    if not going.ndim:
        return new
    of = lambda x: going.reshape(going.shape + (1,) * (x.ndim - going.ndim))
    return [jax.numpy.where(of(x), y, x) for x, y in zip(old, new, strict=True)]
