"""The Laplacian of a function: the sum of its second derivatives along all axes of its input."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Generic

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.forward_laplacian import evaluate
from jaxdl.jacobian.analysis.modes import hindrance, hindrances
from jaxdl.jacobian.analysis.moving_values import Moving, start, with_zeros
from jaxdl.jacobian.analysis.pattern.dependence import Matrix
from jaxdl.jacobian.analysis.pattern.propagation import sparsity_pattern
from jaxdl.jacobian.analysis.vector_function import VectorFunction, join
from jaxdl.jacobian.methods.arguments import Argnums
from jaxdl.jacobian.methods.base import Call, Jacobian, P, method
from jaxdl.jacobian.methods.gradients import gradient

CACHE_BYTES = 2_500_000  # measured: larger values take twice the time
FEWEST = 8  # directions in a pass, which also computes the values and Laplacians
FEWER = 0.6  # of the values of several passes: one pass that computes no more, in compressed rows, is faster

Passed = tuple[jax.Array, jax.Array, jax.Array]  # y; the derivatives along k directions, (k, m); the Laplacian


@method
def laplacian(f: Callable[P, Any], argnums: Argnums = 0, *, chunk: int | None = None) -> Laplacian[P]:
    """The Laplacian Σ ∂²f/∂xᵢ² of each output of f, exact, in one pass through f.

    The pass carries the value, the derivatives along all axes and the Laplacian of each intermediate value (the forward
    Laplacian, Li et al. 2023). It takes about as many operations as f on n + 2 points, where a Hessian-vector product
    for each axis takes four times as many, and Taylor mode twice as many; an equation without a rule of its own takes
    one forward derivative of a forward derivative for each axis. Axes whose mixed derivatives are all 0, by the
    sparsity pattern of the Hessian, share one direction, and derivatives of intermediate values that are known to be 0
    are left out. If a hand-written rule of f has no forward mode, the second derivatives are those of the gradient
    along each direction.

    Args:
        f: The function to differentiate twice; its output may be any array or pytree of arrays.
        argnums: Which arguments to differentiate, as in `jax.hessian`; the sum is over all their entries.
        chunk: How many directions to compute at a time, at most; by default all, or as many as keep intermediate
            values in a CPU's cache. Memory grows with chunk times the size of these.

    Returns:
        A function of f's arguments that returns the Laplacian, like f's output. Its method
        `value_jacobian_and_laplacian(*args)` returns all three, from one pass along all axes.

    Raises:
        TypeError: If f is not callable; when called, if inputs or outputs are not real.
        ValueError: When called, if `chunk` is not positive, or JAX has neither mode for f.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> float(jacobian.laplacian(lambda x: (x**3).sum())(jnp.array([1.0, 2.0])))
        18.0
    """
    if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
        raise ValueError(f"jacobian.laplacian: chunk must be a positive integer, got {chunk!r}")
    return Laplacian(f, argnums, chunk)


class Laplacian(Generic[P]):
    """What `laplacian` returns: called with f's arguments, it returns the Laplacian, like f's output."""

    def __init__(self, f: Callable[P, Any], argnums: Argnums, chunk: int | None):
        prepare = functools.partial(DirectionalPasses, chunk=chunk)
        self.bound: Jacobian[P] = Jacobian("laplacian", f, prepare, argnums, False, False)

    def __repr__(self) -> str:
        return repr(self.bound)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """The Laplacian of each output at these arguments of f."""
        return self.bound.evaluate(lambda call: _arranged(call, _passed(call, along_axes=False))[2], args, kwargs)

    def value_jacobian_and_laplacian(self, *args: P.args, **kwargs: P.kwargs) -> tuple[Any, Any, Any]:
        """f(*args), the Jacobian as `jax.jacfwd` returns it, and the Laplacian, from one pass along all axes.

        Examples:
            >>> import jax.numpy as jnp
            >>> from jaxdl import jacobian
            >>> f = lambda x: (x**3).sum()
            >>> y, J, L = jacobian.laplacian(f).value_jacobian_and_laplacian(jnp.ones(2))
            >>> float(y), J.tolist(), float(L)
            (2.0, [3.0, 3.0], 12.0)
        """
        return self.bound.evaluate(lambda call: _arranged(call, _passed(call, along_axes=True)), args, kwargs)


def _passed(call: Call, along_axes: bool) -> Passed:
    function = call.function
    if function.m and function.n:
        return call.prepared(call.x, *call.others, along_axes=along_axes)
    y = function(call.x, *call.others)
    return y, jnp.zeros((function.n, function.m), y.dtype), jnp.zeros_like(y)


def _arranged(call: Call, passed: Passed) -> tuple[Any, Any, Any]:
    y, derivatives, laplacian = passed
    value = lambda vector: call.value((vector, []))[0]
    blocks = call.blocks(derivatives.T) if len(derivatives) == call.function.n else None
    return value(y), blocks, value(laplacian)


class DirectionalPasses:
    """Derivatives and Laplacian of a function along directions that together cover all axes.

    Args:
        function: The function.
        chunk: How many directions to compute at a time; None for all.
    """

    def __init__(self, function: VectorFunction, chunk: int | None):
        no_forward, no_reverse = hindrances(function, jx.opened(function.jaxpr).eqns, function.types)
        if no_forward and no_reverse:
            raise ValueError(
                f"jacobian.laplacian: JAX has neither mode of the function as a whole. Forward: {no_forward}. "
                f"Reverse: {no_reverse}"
            )
        self.function: VectorFunction = function
        self.colours: np.ndarray = _colours(function) if not no_reverse else np.arange(function.n)
        self.chunk: int | None = chunk
        self.largest: int = max((v.aval.size for eqn in jx.equations(function.jaxpr) for v in eqn.outvars), default=1)
        self.along: Callable[..., Passed] = _of_gradients(function) if no_forward else _forward
        self.has_forward_mode: bool = not no_forward

    def __call__(self, x: jax.Array, *others: Any, along_axes: bool) -> Passed:
        colours = np.arange(x.size) if along_axes else self.colours
        count = int(colours.max()) + 1
        passes = -(-count // (self.chunk or self._directions_at_once(x)))
        chunk = -(-count // passes)
        of_entries = jnp.asarray(colours, jnp.int32)

        def along(first):
            numbers = first + jnp.arange(chunk, dtype=jnp.int32)  # beyond the last one the directions are 0
            return self.along(self.function, x, others, (numbers[:, None] == of_entries[None]).astype(x.dtype))

        if self.has_forward_mode:
            whole = lambda: _compressed(self.function, x, others, colours)
            if passes == 1 or (self.chunk is None and _computed(whole) <= FEWER * passes * _computed(lambda: along(0))):
                return whole()
        if passes == 1:
            return along(0)
        y, derivatives, laplacians = jax.lax.map(along, jnp.arange(0, count, chunk, dtype=jnp.int32))
        return y[0], derivatives.reshape(-1, y.shape[1])[:count], laplacians.sum(0)

    def _directions_at_once(self, x: jax.Array) -> int:
        """As many as keep each intermediate value in a CPU's cache, where these are not so few that values dominate."""
        return max(FEWEST, CACHE_BYTES // (self.largest * x.dtype.itemsize * jx.mapped_points(x)))


def _computed(f: Callable[[], Any]) -> float:
    """How many numbers f computes, among them those of each step in between."""
    return jx.counted(jx.trace(f)[0], lambda eqn: sum(map(jx.size, eqn.outvars)))


def _forward(function: VectorFunction, x: jax.Array, others: tuple[Any, ...], directions: jax.Array) -> Passed:
    return _evaluated(function, Moving(x, directions, None), others, len(directions))


def _compressed(function: VectorFunction, x: jax.Array, others: tuple[Any, ...], colours: np.ndarray) -> Passed:
    """The pass along one direction for each colour."""
    count = int(colours.max()) + 1
    return _evaluated(function, start(x, colours.astype(np.int32), count), others, count)


def _evaluated(function: VectorFunction, x: Moving, others: tuple[Any, ...], count: int) -> Passed:
    (y,) = evaluate(function.jaxpr, [x, *others])
    if not isinstance(y, Moving):
        return y, jnp.zeros((count, y.size), y.dtype), jnp.zeros_like(y)
    value, along, laplacian, _ = with_zeros(y)
    assert laplacian is not None
    return value, along, laplacian


def _of_gradients(function: VectorFunction) -> Callable[..., Passed]:
    """The pass along directions by derivatives of the gradients: forward over reverse, or else reverse over reverse."""
    forward_over_reverse = lambda x, *others: jax.jvp(_gradients(function, others), (x,), (x,), has_aux=True)
    return _reverse_over_reverse if hindrance(forward_over_reverse, function.types) else _forward_over_reverse


def _gradients(function: VectorFunction, others: tuple[Any, ...]) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """The gradients of all outputs, (m, n), and the outputs."""

    def gradients(x):
        y, pullback = jax.vjp(lambda x: function(x, *others), x)
        return _all_rows(pullback, y), y

    return gradients


def _all_rows(pullback: Callable[..., Any], y: jax.Array) -> jax.Array:
    return jax.vmap(lambda dy: pullback(dy)[0])(jnp.eye(y.size, dtype=y.dtype))


def _forward_over_reverse(
    function: VectorFunction, x: jax.Array, others: tuple[Any, ...], directions: jax.Array
) -> Passed:
    """vᵀ H v for each output and each direction v, with H v as the derivative of the gradient along v."""

    def along(v):
        gradients, bent, y = jax.jvp(_gradients(function, others), (x,), (v,), has_aux=True)
        return y, gradients @ v, bent @ v

    y, derivatives, second = jax.vmap(along)(directions)
    return y[0], derivatives, second.sum(0)


def _reverse_over_reverse(
    function: VectorFunction, x: jax.Array, others: tuple[Any, ...], directions: jax.Array
) -> Passed:
    """vᵀ H v for each output and each direction v, with H v as the gradient of the derivative along v."""

    def along(v):
        slopes, pullback = jax.vjp(lambda x: _gradients(function, others)(x)[0] @ v, x)
        return slopes, _all_rows(pullback, slopes) @ v

    derivatives, second = jax.vmap(along)(directions)
    return function(x, *others), derivatives, second.sum(0)


def _colours(function: VectorFunction) -> np.ndarray:
    """A number for each axis; axes with the same number have mixed derivatives of 0 in all outputs."""
    total = lambda *given: [join(function.of_arrays(*given)).sum()]
    (y,) = jax.eval_shape(total, list(function.inputs), *function.others)
    potential = dataclasses.replace(function, of_arrays=total, outputs=(y,))
    (found,), _ = sparsity_pattern(gradient(potential).jaxpr, function.n, function.constant, len(function.constants))
    return np.zeros(function.n, int) if found is None else _independent_sets(found.matrix())


def _independent_sets(pattern: Matrix) -> np.ndarray:
    """The first free colour for each vertex of a graph, those with the most neighbours first."""
    graph = (pattern + pattern.T).tocsr()
    n = graph.shape[0]
    if graph.nnz == n * n:
        return np.arange(n)
    colours = np.full(n, -1)
    for i in np.argsort(-np.diff(graph.indptr), kind="stable"):
        taken = set(colours[graph.indices[graph.indptr[i] : graph.indptr[i + 1]]].tolist())
        colours[i] = next(colour for colour in range(n) if colour not in taken)
    return colours
