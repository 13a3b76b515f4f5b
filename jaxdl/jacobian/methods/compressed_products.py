"""Compressed products: how a coloured pattern becomes the entries of a Jacobian, and how a wrong pattern is noticed."""

import functools
import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from scipy import sparse as sp

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.pattern import colouring
from jaxdl.jacobian.analysis.probes import close, product
from jaxdl.jacobian.methods.base import Vector

# The part of the products' places that must hold entries for them to be taken as they come.
FILLED = 0.9

# Seeds of so many values are constants of the program, quicker than to compute them; larger ones are computed.
WRITTEN = 4_000_000


@dataclass(frozen=True, eq=False)
class Plan:
    """How a sparse Jacobian is had, decided once for the types of the arguments.

    pattern: (m, n) boolean `csr_array`; columns (n,) and rows (m,): the colour of each, −1 where none is used;
    sweeps: how many forward and reverse products; dense: (primitive, line) of what was not understood and counted as
    dense; why: how the colours were chosen; is_given: the pattern came from outside.
    """

    pattern: sp.csr_array
    columns: np.ndarray
    rows: np.ndarray
    dense: tuple = ()
    why: str = ""
    is_symmetric: bool = False
    is_given: bool = False

    @property
    def sweeps(self) -> tuple[int, int]:
        return colouring.count(self.columns), colouring.count(self.rows)

    @functools.cached_property
    def places(self) -> np.ndarray:
        """Where each entry of the pattern is read in the products laid end to end."""
        if self.is_symmetric:
            return colouring.mirrored(self.pattern, self.columns)
        return colouring.recovery(self.pattern, self.columns, self.rows)

    @functools.cached_property
    def is_filled(self) -> bool:
        """Whether the products are the entries but for few places, where no entry is and the product is zero.

        Then they are left as they come, with explicit zeros: no copy in another order. Only for products of one mode,
        where each entry is read from its own colour.
        """
        m, n = self.pattern.shape
        forward, reverse = self.sweeps
        if self.is_given or not self.pattern.nnz or (forward and reverse):
            return False
        if self.pattern.nnz < FILLED * (forward * m + reverse * n):
            return False
        row, column = colouring.coordinates(self.pattern)
        own = self.columns[column] * m + row if forward else self.rows[row] * n + column
        return np.array_equal(own, self.places)

    @functools.cached_property
    def coordinates(self) -> tuple:
        """Row and column of each value that `Compressed.entries` gives: the entries, or all places of the products."""
        row, column = (axis.astype(np.int32) for axis in colouring.coordinates(self.pattern))
        if not self.is_filled:
            return row, column
        if self.sweeps[0]:
            return self._of_products(row, column, self.columns)
        return self._of_products(column, row, self.rows)[::-1]

    def _of_products(self, along, across, colours):
        """At a place where no entry is stands the first column of its colour, which has no entry in that row."""
        first = np.unique(colours[colours >= 0], return_index=True)[1].astype(np.int32)
        size = self.pattern.shape[0 if colours is self.columns else 1]
        across_all = np.repeat(first, size)
        across_all[self.places] = across
        return np.tile(np.arange(size, dtype=np.int32), first.size), across_all

    def __str__(self):
        m, n = self.pattern.shape
        entries = self.pattern.nnz
        forward, reverse = self.sweeps
        row, column = np.diff(self.pattern.indptr), np.bincount(self.pattern.indices, minlength=1)
        lines = [
            f"{m:,} × {n:,}, {entries:,} entries ({entries / max(m * n, 1):.2%}), {row.max(initial=0):,} in the "
            f"fullest row, {column.max():,} in the fullest column",
            f"{forward:,} forward and {reverse:,} reverse sweeps: {self.why}",
        ]
        lines += [f"counted as dense: {primitive} at {where or 'an unknown line'}" for primitive, where in self.dense]
        return "\n".join(lines)


class Compressed:
    """Runs a plan: the products, the entries in the order of the pattern, the matrix."""

    def __init__(self, vector: Vector, plan: Plan, probed: bool = False):
        self.vector, self.plan, self.probed = vector, plan, probed
        self.compiled = jax.jit(self.entries)
        self._blocks = None

    def __call__(self, x, *others):
        """The (m, n) matrix."""
        m, n = self.plan.pattern.shape
        if self._is_dense and not self.probed:
            return self.products(x, *others).reshape(self.plan.sweeps[0], m).T
        data = checked(self, *self.entries(x, *others))
        return jnp.zeros((m, n), data.dtype).at[self.plan.coordinates].set(data, unique_indices=True)

    @property
    def _is_dense(self):
        columns = self.plan.columns
        return self.plan.sweeps == (columns.size, 0) and (columns == np.arange(columns.size)).all()

    def products(self, x, *others):
        """All forward products, then all reverse ones, laid end to end."""
        forward, reverse = self.plan.sweeps
        f = lambda x: self.vector.f(x, *others)
        parts = []
        if forward:
            seeds = _seeds(self.plan.columns, forward, x.dtype)
            push = lambda x_dot: jax.jvp(f, (x,), (x_dot,))[1]
            parts += [push(seed) for seed in seeds] if forward <= 4 and self._is_light else [jax.vmap(push)(seeds)]
        if reverse:
            y, pullback = jax.vjp(f, x)
            parts.append(jax.vmap(lambda dy: pullback(dy)[0])(_seeds(self.plan.rows, reverse, y.dtype)))
        return jnp.concatenate([part.reshape(-1).astype(x.dtype) for part in parts]) if parts else x[:0]

    @functools.cached_property
    def _is_light(self):
        """Whether a product is a few passes over memory: then one by one is quicker than side by side."""
        heavy = {"dot_general", "conv_general_dilated", "scan", "while", "cond", "sort", "gather", "jaxdl_op"}
        return not heavy & set(jx.primitives(self.vector.jaxpr))

    def entries(self, x, *others):
        """The values at `plan.coordinates`, and whether they passed the probe (None without one)."""
        data = self.products(x, *others)
        if not self.plan.is_filled:
            data = data.at[_index(self.plan.places)].get(mode="promise_in_bounds")
        return data, self._probe(data, x, others) if self.probed else None

    def _probe(self, data, x, others):
        """Whether J v by the entries is J v by one product more, for a random v; or vᵀ J, where it takes only rows."""
        m, n = self.plan.pattern.shape
        row, column = self.plan.coordinates
        forward = bool(self.plan.sweeps[0])
        v, true = product(lambda x: self.vector.f(x, *others), x, forward)
        at, of, size = (row, column, m) if forward else (column, row, n)
        terms = data * v.astype(data.dtype)[of]
        total = lambda terms: jax.ops.segment_sum(terms, at, size)
        return close(total(terms), true, total(jnp.abs(terms)))

    def blocks(self, outputs, inputs):
        """For each output, for each input: which entries are in their block, and the indices that these have there."""
        if self._blocks is None:
            row, column = self.plan.coordinates
            row, column = list(_split(row, outputs)), list(_split(column, inputs))
            with jax.ensure_compile_time_eval():
                self._blocks = [[_block(r, c) for c in column] for r in row]
        return self._blocks


def _split(position, shapes):
    """For each array of these shapes, laid end to end: which positions are in it, and their indices on each axis."""
    sizes = [math.prod(shape) for shape in shapes]
    for shape, size, start in zip(shapes, sizes, np.cumsum([0, *sizes]), strict=False):
        inside = (position >= start) & (position < start + size)
        yield inside, np.unravel_index(np.where(inside, position - start, 0), shape) if shape else ()


def _block(row, column):
    inside = row[0] & column[0]
    axes = [axis[inside] for axis in (*row[1], *column[1])]
    indices = np.stack(axes, 1) if axes else np.zeros((inside.sum(), 0))
    entries = slice(None) if inside.all() else np.flatnonzero(inside).astype(np.int32)
    return entries, jnp.asarray(indices.astype(np.int32))


def _seeds(colours, count, dtype):
    """(count, size): ones where an entry has the colour of the row."""
    if count == colours.size and (colours == np.arange(count)).all():
        return jnp.eye(count, dtype=dtype)
    if count * colours.size <= WRITTEN:
        return jnp.asarray(np.arange(count)[:, None] == colours, dtype)
    return (jnp.arange(count, dtype=jnp.int32)[:, None] == jnp.asarray(colours, jnp.int32)[None, :]).astype(dtype)


def _index(places):
    return places.astype(np.int32) if places.max(initial=0) < 2**31 else places


def checked(compressed, data, passed):
    """The entries; where they failed the probe ValueError, or NaN under a transformation, which cannot raise."""
    if passed is None:
        return data
    if isinstance(passed, jax.core.Tracer):
        return jnp.where(passed, data, jnp.nan)
    if not passed:
        raise ValueError(
            f"jacobian.{compressed.vector.name}: the Jacobian has entries outside the given pattern "
            f"(a random product by the entries differs from the true one); give a pattern that covers all, or none, "
            f"to have it found"
        )
    return data
