"""Steps in compiled loops: on a CPU their convolutions get the order of axes for which XLA has libraries there."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jaxdl import jaxpr as jx


def default_platform() -> str:
    """The platform on which JAX puts arrays by default."""
    (device,) = jnp.zeros(()).devices()
    return device.platform


def fast_in_loops(steps: Callable[..., Any], platform: str) -> Callable[..., Any]:
    """A function of pytrees of arrays, for `jax.jit`, whose convolutions in loops are fast on a platform.

    XLA for CPUs has no library inside loops for convolutions whose axes are not in the order NHWC, HWIO, NHWC, such as
    the gradient of a kernel as JAX derives it. They are written as transposes around one in that order. Where there
    are none, the program stays as it is.
    """
    return jx.replaced(steps, jx.in_loops(jx.with_library_axes)) if platform == "cpu" else steps
