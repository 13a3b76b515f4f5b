"""Jacobians: a function for each way to get one, all with the signature and the result of `jax.jacrev`."""

from jaxdl.jacobian.sweeps import forward, reverse

__all__ = ["forward", "reverse"]
