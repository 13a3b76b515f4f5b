"""The plan of a sparse Jacobian: its pattern, the colours, and where its entries are in the compressed products."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from jaxdl.jacobian.analysis.pattern import colouring
from jaxdl.jacobian.analysis.pattern.dependence import Matrix, csr
from jaxdl.jacobian.saved_plans import SavedPlan
from jaxdl.report import Table, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The products are used in their own order if at least this part of their places holds entries.
FILLED = 0.9


@dataclass(frozen=True, eq=False)
class SparsePlan(SavedPlan):
    """How `sparse` computes a Jacobian, decided once for the types of the arguments.

    `plot` draws the pattern, each entry in the colour of the sweep that computes it; `save("plan.json")` writes what
    `sparse(f, plan="plan.json")` reads.

    Attributes:
        pattern: The (m, n) boolean pattern, a `scipy.sparse.csr_array`.
        columns: The colour of each column, (n,); −1 where it has none.
        rows: The colour of each row, (m,); −1 where it has none.
        dense: (primitive, line) of each equation that counts as dense, or as denser than its values may be, and why.
        why: How the colours were chosen.
        is_symmetric: Whether entries are also read from their mirror images.
        is_given: Whether the user gave the pattern.
    """

    method: ClassVar[str] = "sparse"

    pattern: Matrix
    columns: np.ndarray
    rows: np.ndarray
    dense: tuple[tuple[str, str], ...] = ()
    why: str = ""
    is_symmetric: bool = False
    is_given: bool = False

    @property
    def sweeps(self) -> tuple[int, int]:
        """The numbers of forward and of reverse sweeps."""
        return colouring.number_of_colours(self.columns), colouring.number_of_colours(self.rows)

    @functools.cached_property
    def places(self) -> np.ndarray:
        """The position of each entry of the pattern in all products joined to one vector."""
        if self.is_symmetric:
            return colouring.symmetric_recovery(self.pattern, self.columns)
        return colouring.recovery(self.pattern, self.columns, self.rows)

    @functools.cached_property
    def is_filled(self) -> bool:
        """Whether almost all places of the products hold entries, in the products of one mode.

        Then the products are used in their own order, with explicit zeros at the other places.
        """
        m, n = self.pattern.shape
        forward, reverse = self.sweeps
        if self.is_given or not self.pattern.nnz or (forward and reverse):
            return False
        if self.pattern.nnz < FILLED * (forward * m + reverse * n):
            return False
        row, column = colouring.coordinates(self.pattern)
        places = self.columns[column] * m + row if forward else self.rows[row] * n + column
        return np.array_equal(places, self.places)

    @functools.cached_property
    def coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of each value: of the entries, or of all places of the products if they are filled."""
        row, column = (axis.astype(np.int32) for axis in colouring.coordinates(self.pattern))
        if not self.is_filled:
            return row, column
        if self.sweeps[0]:
            return self._of_products(self.pattern.shape[0], column, self.columns)
        column, row = self._of_products(self.pattern.shape[1], row, self.rows)
        return row, column

    @functools.cached_property
    def lower_coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of each entry of the pattern on or below the diagonal."""
        row, column = (axis.astype(np.int32) for axis in colouring.coordinates(self.pattern))
        return row[row >= column], column[row >= column]

    @functools.cached_property
    def lower_places(self) -> np.ndarray:
        """The position of each of these entries among the values at `coordinates`."""
        row, column = colouring.coordinates(self.pattern)
        return (self.places if self.is_filled else np.arange(self.pattern.nnz))[row >= column]

    def _of_products(self, size: int, swept: np.ndarray, colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A place without an entry counts as the first column of the colour, which has no entry in its row."""
        first = np.unique(colours[colours >= 0], return_index=True)[1].astype(np.int32)
        of_places = np.repeat(first, size)
        of_places[self.places] = swept
        return np.tile(np.arange(size, dtype=np.int32), first.size), of_places

    def table(self) -> Table:
        """Size, entries, sweeps, and what counts as dense."""
        (m, n), entries, (forward, reverse) = self.pattern.shape, self.pattern.nnz, self.sweeps
        row, column = np.diff(self.pattern.indptr), np.bincount(self.pattern.indices, minlength=1)
        rows = [
            ("entries", f"{entries:,} ({entries / max(m * n, 1):.2%})"),
            ("in the fullest row", f"{row.max(initial=0):,}"),
            ("in the fullest column", f"{column.max():,}"),
        ]
        note = "\n".join(f"counted as dense: {name} at {where or 'an unknown line'}" for name, where in self.dense)
        title = f"Sparse Jacobian of {m:,} × {n:,}: {forward:,} forward and {reverse:,} reverse sweeps, {self.why}"
        return Table(title, ("", ""), rows, note)

    @classmethod
    def of_data(cls, data: dict[str, Any]) -> SparsePlan:
        """The plan whose `data` these are."""
        return cls(
            csr(np.array(data["column_indices"], int), np.array(data["row_pointers"]), data["shape"][1]),
            np.array(data["column_colours"], int),
            np.array(data["row_colours"], int),
            tuple((name, where) for name, where in data["dense"]),
            data["why"],
            data["is_symmetric"],
            data["is_given"],
        )

    def data(self) -> dict[str, Any]:
        """The pattern as row pointers and columns, the colours, the sweeps and what counts as dense."""
        forward, reverse = self.sweeps
        return {
            "shape": list(self.pattern.shape),
            "row_pointers": self.pattern.indptr.tolist(),
            "column_indices": self.pattern.indices.tolist(),
            "column_colours": self.columns.tolist(),
            "row_colours": self.rows.tolist(),
            "forward_sweeps": forward,
            "reverse_sweeps": reverse,
            "why": self.why,
            "is_symmetric": self.is_symmetric,
            "is_given": self.is_given,
            "dense": [list(found) for found in self.dense],
        }

    def _figure(self) -> Figure:
        m, n = self.pattern.shape
        with figure(width=5, height=5 * float(np.clip(m / max(n, 1), 0.3, 3))) as (fig, axes):
            self._draw(axes)
        return fig

    def _draw(self, axes: Axes) -> None:
        m, n = self.pattern.shape
        forward, reverse = self.sweeps
        row, column = colouring.coordinates(self.pattern)
        colour = np.where(self.places < forward * m, self.columns[column], forward + self.rows[row])
        size = float(np.clip(72 * 4 / max(m, n, 1), 0.2, 12))
        axes.scatter(column, row, s=size**2, c=colour, cmap="turbo", marker="s", linewidths=0, rasterized=True)
        axes.set(xlim=(-0.5, n - 0.5), ylim=(m - 0.5, -0.5), aspect="equal", xlabel="input", ylabel="output")
        axes.set_title(f"{self.pattern.nnz:,} entries, {forward} forward + {reverse} reverse sweeps")
