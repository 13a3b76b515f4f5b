"""How many directions a function uses: singular values of its Jacobian, its rank and condition number."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxdl.jacobian.methods.cutting import cut


class Spectrum(NamedTuple):
    """singular_values, (min(m, n),), falling; rank, how many are above rounding; condition, the first over the last.

    condition is infinite where the rank is not full.
    """

    singular_values: jax.Array
    rank: jax.Array
    condition: jax.Array


def spectrum(f: Callable, argnums=0, *, tolerance: float | None = None) -> Callable:
    """`spectrum(f)(*args)` is the `Spectrum` of the Jacobian between the joined inputs and the joined outputs.

    tolerance: singular values below this part of the largest do not count to the rank; by default
    max(m, n) · eps, as NumPy's matrix_rank has it.
    """
    jacobian = cut(f, argnums)  # whose few sweeps need no plan; the decomposition takes longer than the matrix

    def at(*args, **kwargs):
        matrix = jacobian.matrix(*args, **kwargs)
        values = jnp.linalg.svd(matrix, compute_uv=False)
        least = max(matrix.shape) * jnp.finfo(matrix.dtype).eps if tolerance is None else tolerance
        rank = (values > least * values[0]).sum()
        return Spectrum(values, rank, jnp.where(rank == values.size, values[0] / values[-1], jnp.inf))

    return at
