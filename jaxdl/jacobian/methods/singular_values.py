"""How many directions a function uses: the singular values of its Jacobian, its rank and its condition number."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxdl.jacobian.methods.arguments import Argnums
from jaxdl.jacobian.methods.base import P
from jaxdl.jacobian.methods.cutting import cut
from jaxdl.report import Report, Table, figure, number_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class _SpectrumFields(NamedTuple):
    singular_values: jax.Array
    rank: jax.Array
    condition: jax.Array


class Spectrum(_SpectrumFields, Report):
    """The singular values of a Jacobian of shape (m, n), a report; under vmap those of several Jacobians.

    Attributes:
        singular_values: (min(m, n),), the largest first.
        rank: The number of singular values above rounding.
        condition: The largest singular value over the smallest; infinite where the rank is not full.
    """

    @property
    def participation_ratio(self) -> jax.Array:
        """(Σ σ²)² / Σ σ⁴: how many directions share the variance of J v; 1 for one, n for n equal ones."""
        return 1 / (self._shares() ** 2).sum(-1)

    def local_dimension(self, part: float = 0.99) -> jax.Array:
        """The smallest number of directions with this part of the squared Frobenius norm Σ σ².

        Args:
            part: Between 0 and 1.

        Raises:
            ValueError: If it is not.
        """
        if not 0 < part <= 1:
            raise ValueError(f"Spectrum.local_dimension: part must be above 0 and at most 1, got {part}")
        return jnp.minimum((jnp.cumsum(self._shares(), -1) < part).sum(-1) + 1, self.singular_values.shape[-1])

    def _shares(self) -> jax.Array:
        """Which part of Σ σ² each direction has."""
        squares = (self.singular_values / self.singular_values[..., :1]) ** 2
        return squares / squares.sum(-1, keepdims=True)

    def table(self) -> Table:
        """One row for each Jacobian."""
        values = self._rows()
        each = zip(values, np.ravel(self.rank), np.ravel(self.condition), strict=True)
        rows = [
            (str(i), number_text(float(v[0])), number_text(float(v[-1])), str(rank), number_text(float(condition)))
            for i, (v, rank, condition) in enumerate(each)
        ]
        columns = "Jacobian", "largest", "smallest", "rank", "condition number"
        return Table(f"Spectrum of {values.shape[1]:,} singular values", columns, rows)

    def to_json(self) -> dict[str, Any]:
        """The fields, as lists or numbers."""
        return {name: np.asarray(value).tolist() for name, value in self._asdict().items()}

    def _rows(self) -> np.ndarray:
        values = np.asarray(self.singular_values)
        return values.reshape(-1, values.shape[-1])

    def _figure(self) -> Figure:
        with figure(width=5) as (fig, axes):
            for values in self._rows():
                axes.semilogy(np.arange(1, values.size + 1), values, marker=".")
            axes.set(xlabel="number", ylabel="singular value")
        return fig

    def __str__(self) -> str:
        return repr(self) if isinstance(self.rank, jax.core.Tracer) else super().__str__()


def spectrum(f: Callable[P, Any], argnums: Argnums = 0, *, tolerance: float | None = None) -> Callable[P, Spectrum]:
    """The singular values, rank and condition number of the Jacobian between all inputs and all outputs.

    Args:
        f: The function to differentiate.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        tolerance: Singular values below this part of the largest do not count for the rank; by default
            max(m, n) · eps, as in `numpy.linalg.matrix_rank`.

    Returns:
        A function of f's arguments that returns the `Spectrum`.

    Raises:
        TypeError: If f is not callable; when called, if inputs or outputs cannot be differentiated.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> int(jacobian.spectrum(lambda x: x.sum() * x)(jnp.ones(4)).rank)
        4
    """
    jacobian = cut(f, argnums)  # it has few sweeps without a plan, and the decomposition takes longer than the matrix

    def at(*args: P.args, **kwargs: P.kwargs) -> Spectrum:
        matrix = jacobian.matrix(*args, **kwargs)
        values = jnp.linalg.svd(matrix, compute_uv=False)
        least = max(matrix.shape) * jnp.finfo(matrix.dtype).eps if tolerance is None else tolerance
        rank = (values > least * values[0]).sum()
        return Spectrum(values, rank, jnp.where(rank == values.size, values[0] / values[-1], jnp.inf))

    return at
