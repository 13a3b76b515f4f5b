"""Linear systems with a Jacobian, solved by the structure that its sparsity pattern shows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy import sparse as sp
from scipy.sparse import csgraph
from scipy.sparse.linalg import splu

from jaxdl.jacobian.analysis.band_solver import solve_banded
from jaxdl.jacobian.analysis.pattern import colouring
from jaxdl.jacobian.analysis.pattern.dependence import Matrix
from jaxdl.jacobian.analysis.vector_function import VectorFunction
from jaxdl.jacobian.methods.arguments import Argnums
from jaxdl.jacobian.methods.base import Jacobian, P, method
from jaxdl.jacobian.methods.products import LinearMap
from jaxdl.jacobian.methods.sparse_jacobians import prepare_sparse

WIDEST_BAND = 16  # diagonals: a step of the elimination in JAX takes microseconds, however narrow the band
LARGEST_BLOCK = 64


@method
def solve(f: Callable[P, Any], argnums: Argnums = 0) -> Callable[P, LinearMap]:
    """Solves J v = b with the square Jacobian J of f, directly, by the structure of its sparsity pattern.

    A block-diagonal J, in any order of the entries, is solved block by block; a banded one, after its entries are
    ordered (reverse Cuthill-McKee), by elimination in the band; any other by SuperLU of SciPy on the host, which runs
    inside jit as a callback. The entries are computed by `sparse`. Solutions can be differentiated.

    Args:
        f: The function to differentiate, with as many outputs as differentiated inputs.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.

    Returns:
        A function of f's arguments that returns b ↦ J⁻¹ b, with b like the output and J⁻¹ b like the differentiated
        arguments. Where J is singular the result is not finite.

    Raises:
        TypeError: If f is not callable; when called, if inputs or outputs cannot be differentiated.
        ValueError: When called, if the Jacobian is not square.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> f = lambda x: x**2 - 2
        >>> x = jnp.ones(3)
        >>> (x - jacobian.solve(f)(x)(f(x))).tolist()  # a step of Newton's method
        [1.5, 1.5, 1.5]
    """
    bound = Jacobian("solve", f, DirectSolver, argnums, False, False)

    def at(*args: P.args, **kwargs: P.kwargs) -> LinearMap:
        call = bound.evaluate(lambda call: call, args, kwargs)
        if not call.function.n:
            return lambda b: call.in_tree.unflatten([jnp.zeros(x.shape, x.dtype) for x in call.inputs])
        solve_vector = call.prepared(call.x, *call.others)
        unravel = ravel_pytree(call.in_tree.unflatten([jnp.zeros(x.shape, x.dtype) for x in call.inputs]))[1]
        return lambda b: unravel(solve_vector(ravel_pytree(b)[0].astype(call.x.dtype)))

    return at


class DirectSolver:
    """Called as (x, *others), it returns b ↦ J⁻¹ b between vectors.

    Args:
        function: The function to differentiate.

    Raises:
        ValueError: If its Jacobian is not square.
    """

    def __init__(self, function: VectorFunction):
        if function.m != function.n:
            raise ValueError(
                f"jacobian.solve needs a square Jacobian: f takes {function.n} numbers and gives {function.m}"
            )
        self.compressed = prepare_sparse(function)
        pattern = self.compressed.plan.pattern
        self.row, self.column = colouring.coordinates(pattern)
        self.form: Callable[[jax.Array, bool], LinearMap] = _form(pattern, self.row, self.column)

    def __call__(self, x: jax.Array, *others: Any) -> LinearMap:
        values = self.entries(x, *others)
        n, row, column = x.size, jnp.asarray(self.row), jnp.asarray(self.column)
        times = lambda v: jax.ops.segment_sum(values * v[column], row, n)
        direct, transposed = self.form(values, False), self.form(values, True)
        return lambda b: jax.lax.custom_linear_solve(times, b, lambda _, b: direct(b), lambda _, b: transposed(b))

    def entries(self, x: jax.Array, *others: Any) -> jax.Array:
        """The entries of J in its pattern, from which `form(entries, transposed)` makes b ↦ J⁻¹ b or J⁻ᵀ b."""
        _, values, _ = self.compressed.compiled(x, *others)
        return values[self.compressed.plan.places] if self.compressed.plan.is_filled else values


def _form(pattern: Matrix, row: np.ndarray, column: np.ndarray) -> Callable[[jax.Array, bool], LinearMap]:
    n = pattern.shape[0]
    graph = sp.csr_array(pattern + pattern.T + sp.eye_array(n, dtype=bool))
    count, label = csgraph.connected_components(graph, directed=False)
    largest = int(np.bincount(label).max())
    if count > 1 and largest <= LARGEST_BLOCK:
        return _blocks(label, count, largest, row, column)
    order = csgraph.reverse_cuthill_mckee(graph, symmetric_mode=True)
    if np.abs(row - column).max() <= np.abs(np.argsort(order)[row] - np.argsort(order)[column]).max():
        order = np.arange(n)
    place = np.argsort(order)
    offsets = place[column] - place[row]
    lower, upper = max(int(-offsets.min()), 0), max(int(offsets.max()), 0)
    if lower + upper <= WIDEST_BAND:
        return _band(order, place, max(lower, upper), row, column)
    return _on_the_host(n, row, column)


def _blocks(label: np.ndarray, count: int, size: int, row: np.ndarray, column: np.ndarray) -> Any:
    """Each connected component is a block, filled up by the identity."""
    order = np.argsort(label, kind="stable")
    first = np.concatenate([[0], np.cumsum(np.bincount(label))])
    place = np.empty(len(label), int)
    place[order] = np.arange(len(label)) - first[label[order]]
    fill = np.zeros((count, size, size))
    fill[:, range(size), range(size)] = np.arange(size)[None] >= np.bincount(label)[:, None]

    def form(values, transposed):
        i, j = (column, row) if transposed else (row, column)
        matrices = jnp.asarray(fill, values.dtype).at[label[i], place[i], place[j]].add(values)

        def direct(b):
            sides = jnp.zeros((count, size), values.dtype).at[label, place].set(b)
            return jnp.linalg.solve(matrices, sides[..., None])[label, place, 0]

        return direct

    return form


def _band(order: np.ndarray, place: np.ndarray, width: int, row: np.ndarray, column: np.ndarray) -> Any:
    def form(values, transposed):
        i, j = (place[column], place[row]) if transposed else (place[row], place[column])
        band = jnp.zeros((len(order), 2 * width + 1), values.dtype).at[i, j - i + width].add(values)
        return lambda b: solve_banded(band, width, b[order])[place]

    return form


def _on_the_host(n: int, row: np.ndarray, column: np.ndarray) -> Any:
    def form(values, transposed):
        def direct(values, b):
            dtype = np.result_type(np.float64, values.dtype)
            matrix = sp.csc_array((np.asarray(values, dtype), (row, column)), (n, n))
            try:
                return splu(matrix).solve(np.asarray(b, dtype), "T" if transposed else "N").astype(b.dtype)
            except RuntimeError:  # exactly singular
                return np.full_like(b, np.nan)

        on_host = lambda values, b: direct(np.asarray(values), np.asarray(b))
        return lambda b: jax.pure_callback(on_host, b, values, b, vmap_method="sequential")

    return form
