"""Sparse Jacobians: the pattern is read from the jaxpr, coloured, and filled by a few products."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.core
import numpy as np
from scipy import sparse as sp

from jaxdl.jacobian.analysis.pattern import colouring
from jaxdl.jacobian.analysis.pattern.dependence import Matrix, independent
from jaxdl.jacobian.analysis.pattern.propagation import sparsity_pattern
from jaxdl.jacobian.analysis.vector_function import Outputs, VectorFunction
from jaxdl.jacobian.methods.arguments import Argnums
from jaxdl.jacobian.methods.base import Call, P, PlannedJacobian, method
from jaxdl.jacobian.methods.compressed_products import CompressedJacobian
from jaxdl.jacobian.methods.sparse_plan import SparsePlan
from jaxdl.jacobian.methods.sweeps import sweeps_at_once
from jaxdl.jacobian.saved_plans import with_plan

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Pattern = Any  # a SciPy sparse matrix or a boolean array


@method
def sparse(
    f: Callable[P, Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    pattern: Pattern = None,
    probe: bool = True,
    plan: SparsePlan | str | os.PathLike[str] | None = None,
    chunk: int | None = None,
    max_bytes: int | None = None,
) -> SparseJacobian[P]:
    """The Jacobian by compressed products: as many sweeps as its pattern has colours.

    The pattern is read from the jaxpr. It holds for all values of the arguments and for the values of arrays that f
    closes over. It is coloured by columns, by rows or by both, and kept for each program.

    Args:
        f: The function to differentiate.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        has_aux: Whether f returns a pair (output, aux).
        holomorphic: Whether f is a holomorphic function of complex numbers.
        pattern: The (m, n) pattern, as a SciPy sparse matrix or a boolean array, to use instead of the one that is
            found; all outputs by all inputs, each flattened and joined.
        probe: Whether a given pattern is compared with one random product at each call. Under jit and vmap, which
            cannot raise, a wrong pattern makes the result NaN.
        plan: A plan of this function, `plan(*args)`, or the path of the file in which it was saved, to use instead of
            a new one. It is refused for other programs, types, versions and values of arrays that f closes over.
        chunk: How many sweeps to compute at a time; by default all.
        max_bytes: Computes as many sweeps at a time as keep the temporary memory of the compiled function, without its
            arguments and the entries, at or below this; found by compiling.

    Returns:
        A function of f's arguments that returns the Jacobian as a dense array, as `jax.jacrev(f)` does. Its methods
        `bcoo(*args)` and `scipy(*args)` return sparse matrices and never compute the dense one; `plan(*args)` shows the
        pattern, the sweeps, and what was not understood and counts as dense.

    Raises:
        TypeError: If f is not callable; when called, if inputs or outputs cannot be differentiated.
        ValueError: When called, if the given pattern has the wrong shape or lacks entries, if JAX has neither mode for
            f, if both `chunk` and `max_bytes` are given, or if a single sweep needs more memory.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> jacobian.sparse(lambda x: x[1:] * x[:-1]).bcoo(jnp.ones(1000)).nse
        1998
    """
    prepare = functools.partial(prepare_sparse, pattern=pattern, probe=probe, chunk=chunk, max_bytes=max_bytes)
    prepare = with_plan(prepare, plan, SparsePlan)
    return SparseJacobian("sparse", f, prepare, argnums, has_aux, holomorphic)


class SparseJacobian(PlannedJacobian[P, SparsePlan]):
    """What `sparse` and `sparse_hessian` return: called with f's arguments, it returns a dense array.

    Its other methods return sparse matrices and the plan.
    """

    def plan(self, *args: P.args, **kwargs: P.kwargs) -> SparsePlan:
        """The pattern, the colours and the sweeps for arguments of these types, a report; `plan(…).plot()` draws it."""
        return self.evaluate(lambda call: _compressed(call).plan, args, kwargs)

    def bcoo(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The Jacobian with sparse blocks; also under jit.

        Returns:
            The structure that the Jacobian itself has, with a `BCOO` of shape output.shape + input.shape for each
            block. With `has_aux` a pair of this and aux.
        """
        return self.in_form(_bcoo, args, kwargs)

    def value_and_bcoo(self, *args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any]:
        """The value of f and the Jacobian as `bcoo` returns it; also under jit.

        Returns:
            A pair of f(*args), with `has_aux` the pair (output, aux), and the Jacobian.
        """
        return self.in_form_with_value(_bcoo, args, kwargs)

    def scipy(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The whole (m, n) matrix as a `scipy.sparse.csr_array`; not under jit.

        Returns:
            The matrix, with all entries of the outputs as rows and all entries of the differentiated arguments as
            columns, each flattened and joined. With `has_aux` a pair of this and aux.

        Raises:
            TypeError: Under jit, grad or vmap.
        """
        return self.in_form(_scipy, args, kwargs)

    def value_and_scipy(self, *args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any]:
        """The value of f and the whole matrix as `scipy` returns it; not under jit.

        Returns:
            A pair of f(*args), with `has_aux` the pair (output, aux), and the matrix.

        Raises:
            TypeError: Under jit, grad or vmap.
        """
        return self.in_form_with_value(_scipy, args, kwargs)

    def spy(self, *args: P.args, **kwargs: P.kwargs) -> Axes:
        """Draws the pattern, each entry in the colour of the sweep that computes it; `plan(*args).plot(path)` saves it.

        Returns:
            The axes of matplotlib.
        """
        return self.plan(*args, **kwargs).plot().axes[0]


def _compressed(call: Call) -> CompressedJacobian:
    if isinstance(call.prepared, CompressedJacobian):
        return call.prepared
    function = call.function
    empty = independent(function.m, function.n).rows
    plan = SparsePlan(empty, np.full(function.n, -1), np.full(function.m, -1))
    return CompressedJacobian(function, plan)


def entries(call: Call, with_outputs: bool) -> tuple[CompressedJacobian, Outputs | None, jax.Array]:
    """The values at `plan.coordinates`, with the function's outputs if they are wanted."""
    compressed = _compressed(call)
    run = compressed.compiled_with_outputs if with_outputs else compressed.compiled
    outputs, data, passed = run(call.x, *call.others)
    return compressed, outputs, compressed.checked(data, passed)


def _bcoo(call: Call, with_outputs: bool) -> tuple[Outputs | None, Any]:
    from jax.experimental.sparse import BCOO  # slow to import

    compressed, outputs, data = entries(call, with_outputs)
    blocks = compressed.blocks([y.shape for y in call.function.outputs], [x.shape for x in call.inputs])
    return outputs, call.arranged(
        [
            BCOO((data[entries].astype(x.dtype), indices), shape=y.shape + x.shape, unique_indices=True)
            for x, (entries, indices) in zip(call.inputs, row, strict=True)
        ]
        for y, row in zip(call.function.outputs, blocks, strict=True)
    )


def _scipy(call: Call, with_outputs: bool) -> tuple[Outputs | None, Matrix]:
    compressed, outputs, data = entries(call, with_outputs)
    if isinstance(data, jax.core.Tracer):
        raise TypeError(
            f"jacobian.{call.function.name}.scipy: SciPy has no matrices under jit, grad or vmap; take .bcoo there"
        )
    plan = compressed.plan
    data = np.asarray(data)[plan.places] if plan.is_filled else np.asarray(data)
    return outputs, sp.csr_array((data, plan.pattern.indices, plan.pattern.indptr), plan.pattern.shape)


def prepare_sparse(
    function: VectorFunction,
    pattern: Pattern = None,
    probe: bool = True,
    chunk: int | None = None,
    max_bytes: int | None = None,
    decided: dict[str, Any] | None = None,
) -> CompressedJacobian:
    if decided is None:
        plan = _plan(function, pattern) if function.potential is None else _symmetric_plan(function, pattern)
    elif pattern is None:
        plan = SparsePlan.of_data(decided)
    else:
        raise ValueError(f"jacobian.{function.name}: give pattern or plan, not both")
    run = lambda chunk: CompressedJacobian(function, plan, probe and plan.is_given, chunk)
    in_chunks = lambda chunk: lambda *given: run(chunk).entries(*given)[1]
    return run(sweeps_at_once(function, in_chunks, max(sum(plan.sweeps), 1), chunk, max_bytes))


def _plan(function: VectorFunction, pattern: Pattern) -> SparsePlan:
    no_forward, no_reverse = function.hindrances
    if no_forward and no_reverse:
        raise ValueError(
            f"jacobian.{function.name}: JAX has neither mode of the function as a whole. Forward: {no_forward}. "
            f"Reverse: {no_reverse}"
        )
    found, dense = _pattern(function, pattern)
    columns, rows, why = colouring.cheapest(found, not no_forward, not no_reverse)
    return SparsePlan(found, columns, rows, dense, why, is_given=pattern is not None)


def _symmetric_plan(gradient: VectorFunction, pattern: Pattern) -> SparsePlan:
    found, dense = _pattern(gradient, pattern)
    found = sp.csr_array(found + found.T)
    found.sort_indices()
    return SparsePlan(
        *(found, colouring.symmetric(found), np.full(gradient.m, -1), dense),
        why="symmetric, by columns",
        is_symmetric=True,
        is_given=pattern is not None,
    )


def _pattern(function: VectorFunction, pattern: Pattern) -> tuple[Matrix, tuple[tuple[str, str], ...]]:
    """The given pattern, or that of the jaxpr; and what counts as dense."""
    if pattern is not None:
        return _as_csr(function, pattern), ()
    (found,), dense = sparsity_pattern(function.jaxpr, function.n, function.constant, len(function.constants))
    return (independent(function.m, function.n) if found is None else found).matrix(), tuple(dense)


def _as_csr(function: VectorFunction, pattern: Pattern) -> Matrix:
    """A given pattern as a sorted boolean CSR matrix."""
    matrix: Matrix = sp.csr_array(pattern).astype(bool)
    if matrix.shape != (function.m, function.n):
        raise ValueError(
            f"jacobian.{function.name}: the pattern must be of shape ({function.m}, {function.n}), outputs by inputs, "
            f"got {matrix.shape}"
        )
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix
