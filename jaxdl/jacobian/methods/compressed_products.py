"""The products of a coloured pattern, how they become the entries, and how a wrong pattern is noticed."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.modes import linearize_with_aux, value_and_products
from jaxdl.jacobian.analysis.probes import is_close, random_product
from jaxdl.jacobian.analysis.vector_function import Outputs, VectorFunction
from jaxdl.jacobian.methods.sparse_plan import SparsePlan

# Seed matrices with up to this many values are constants of the program, which is faster; larger ones are computed.
MOST_CONSTANT_SEEDS = 4_000_000
# Sweeps through a linearized function are faster, but it keeps an array for each step of a loop: where it keeps more
# values than this times those of the products, tangents are computed along with the values.
MOST_KEPT = 4


class CompressedJacobian:
    """Computes a Jacobian by a plan. Called as (x, *others), it returns the (m, n) matrix.

    Args:
        function: The function to differentiate.
        plan: The pattern and the colours.
        probed: Whether the entries are compared with one random product at each call.
        chunk: How many sweeps to compute at a time; None for all.
    """

    def __init__(self, function: VectorFunction, plan: SparsePlan, probed: bool = False, chunk: int | None = None):
        self.function: VectorFunction = function
        self.plan: SparsePlan = replace(plan, function=function)
        self.probed: bool = probed
        self.chunk: int = sum(plan.sweeps) if chunk is None else chunk
        self.compiled: Callable[..., Any] = _without_outputs(self.entries)
        self.compiled_with_outputs: Callable[..., Any] = jax.jit(self.entries)
        self._compiled_matrix = _without_outputs(self._matrix)
        self._compiled_matrix_with_outputs = jax.jit(self._matrix)
        self._blocks = None

    def __call__(self, x: jax.Array, *others: Any) -> jax.Array:
        return self.checked(*self._compiled_matrix(x, *others)[1:])

    def with_outputs(self, x: jax.Array, *others: Any) -> tuple[Outputs, jax.Array]:
        outputs, matrix, passed = self._compiled_matrix_with_outputs(x, *others)
        return outputs, self.checked(matrix, passed)

    def _matrix(self, x: jax.Array, *others: Any) -> tuple[Outputs, jax.Array, jax.Array | None]:
        """The outputs, the (m, n) matrix, and whether its entries passed the probe."""
        m, n = self.plan.pattern.shape
        if self._has_own_colours and not self.probed:
            outputs, products = self.products(x, *others)
            return outputs, products.reshape(self.plan.sweeps[0], m).T, None
        outputs, data, passed = self.entries(x, *others)
        matrix = jnp.zeros((m, n), data.dtype).at[self.plan.coordinates].set(data, unique_indices=True)
        return outputs, matrix, passed

    @property
    def _has_own_colours(self) -> bool:
        """Whether each column has its own colour, so that the products are the columns."""
        columns = self.plan.columns
        return self.plan.sweeps == (columns.size, 0) and bool((columns == np.arange(columns.size)).all())

    def products(self, x: jax.Array, *others: Any) -> tuple[Outputs, jax.Array]:
        """The function's outputs; and all forward products, then all reverse products, as one vector."""
        forward, reverse = self.plan.sweeps
        f = lambda x: self.function.with_aux(x, *others)
        if not forward and not reverse:
            return f(x), x[:0]
        parts, y, aux = [], x, []
        if forward > self.chunk:
            y, push, aux = linearize_with_aux(f, x)
            parts.append(self._in_chunks(push, self.plan.columns, forward, x.dtype))
        elif forward:
            seeds = _seeds(self.plan.columns, forward, x.dtype)
            y, push, aux = linearize_with_aux(f, x)
            if sum(kept.size for kept in jax.tree.leaves(push)) > MOST_KEPT * forward * max(self.plan.pattern.shape):
                y, products, aux = value_and_products(f, x, seeds)
                parts.append(products)
            elif forward <= 4 and self._is_light:
                parts += map(push, seeds)
            else:
                parts.append(jax.vmap(push)(seeds))
        if reverse:
            y, pullback, aux = jax.vjp(f, x, has_aux=True)
            pull = lambda dy: pullback(dy)[0]
            if reverse > self.chunk:
                parts.append(self._in_chunks(pull, self.plan.rows, reverse, y.dtype))
            else:
                parts.append(jax.vmap(pull)(_seeds(self.plan.rows, reverse, y.dtype)))
        return (y, aux), jnp.concatenate([part.reshape(-1).astype(x.dtype) for part in parts])

    def _in_chunks(self, product: Callable[..., Any], colours: np.ndarray, count: int, dtype: Any) -> jax.Array:
        """The products of `chunk` seeds at a time, which are computed when they are needed."""
        of_entries = jnp.asarray(colours, jnp.int32)
        of_colour = lambda i: product((of_entries == i).astype(dtype))
        return jax.lax.map(of_colour, jnp.arange(count, dtype=jnp.int32), batch_size=self.chunk)

    @functools.cached_property
    def _is_light(self) -> bool:
        """Whether a product is only a few passes over memory: then a few are faster one by one than under vmap."""
        heavy = {"dot_general", "conv_general_dilated", "scan", "while", "cond", "sort", "gather", "jaxdl_op"}
        return not heavy & set(jx.primitives(self.function.jaxpr))

    def entries(self, x: jax.Array, *others: Any) -> tuple[Outputs, jax.Array, jax.Array | None]:
        """The outputs, the values at `plan.coordinates`, and whether they passed the probe (None without one)."""
        outputs, data = self.products(x, *others)
        if not self.plan.is_filled:
            data = data.at[_index(self.plan.places)].get(mode="promise_in_bounds")
        return outputs, data, self._probe(data, x, others) if self.probed else None

    def _probe(self, data: jax.Array, x: jax.Array, others: tuple[Any, ...]) -> jax.Array:
        """Whether the entries give the true J v for a random v; the true vᵀ J if the plan has reverse sweeps only."""
        m, n = self.plan.pattern.shape
        row, column = self.plan.coordinates
        forward = bool(self.plan.sweeps[0])
        v, true = random_product(lambda x: self.function(x, *others), x, forward)
        result, factor, size = (row, column, m) if forward else (column, row, n)
        terms = data * v.astype(data.dtype)[factor]
        total = lambda terms: jax.ops.segment_sum(terms, result, size)
        return is_close(total(terms), true, total(jnp.abs(terms)))

    def checked(self, data: jax.Array, passed: Any) -> jax.Array:
        """The entries or the matrix, if they passed the probe.

        Under a transformation, which cannot raise, NaN if they did not.

        Raises:
            ValueError: If they did not pass.
        """
        if passed is None:
            return data
        if isinstance(passed, jax.core.Tracer):
            return jnp.where(passed, data, jnp.nan)
        if not passed:
            raise ValueError(
                f"jacobian.{self.function.name}: the Jacobian has entries outside the given pattern "
                f"(a random product by the entries differs from the true one); give a pattern that covers all, or "
                f"none, to have it found"
            )
        return data

    def blocks(
        self, outputs: Sequence[tuple[Any, ...]], inputs: Sequence[tuple[Any, ...]]
    ) -> list[list[tuple[Any, ...]]]:
        """For each output, for each input: which entries are in their block, and the indices of these in it."""
        if self._blocks is None:
            row, column = self.plan.coordinates
            of_rows, of_columns = list(_split(row, outputs)), list(_split(column, inputs))
            with jax.ensure_compile_time_eval():
                self._blocks = [[_block(r, c) for c in of_columns] for r in of_rows]
        return self._blocks


def _without_outputs(run: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(lambda *given: (None, *run(*given)[1:]))


def _split(position: np.ndarray, shapes: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """For each of several arrays that are joined: which positions are in it, and their indices along its axes."""
    sizes = [math.prod(shape) for shape in shapes]
    for shape, size, start in zip(shapes, sizes, np.cumsum([0, *sizes]), strict=False):
        inside = (position >= start) & (position < start + size)
        yield inside, np.unravel_index(np.where(inside, position - start, 0), shape) if shape else ()


def _block(row: tuple[Any, ...], column: tuple[Any, ...]) -> tuple[Any, ...]:
    inside = row[0] & column[0]
    axes = [axis[inside] for axis in (*row[1], *column[1])]
    indices = np.stack(axes, 1) if axes else np.zeros((inside.sum(), 0))
    entries = slice(None) if inside.all() else np.flatnonzero(inside).astype(np.int32)
    return entries, jnp.asarray(indices.astype(np.int32))


def _seeds(colours: np.ndarray, count: int, dtype: Any) -> jax.Array:
    """(count, size): row i has ones where the colour is i."""
    if count == colours.size and (colours == np.arange(count)).all():
        return jnp.eye(count, dtype=dtype)
    if count * colours.size <= MOST_CONSTANT_SEEDS:
        return jnp.asarray(np.arange(count)[:, None] == colours, dtype)
    return (jnp.arange(count, dtype=jnp.int32)[:, None] == jnp.asarray(colours, jnp.int32)[None, :]).astype(dtype)


def _index(places: np.ndarray) -> np.ndarray:
    return places.astype(np.int32) if places.max(initial=0) < 2**31 else places
