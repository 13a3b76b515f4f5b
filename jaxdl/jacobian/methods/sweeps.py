"""The Jacobian by sweeps: one for each output (reverse) or each input (forward), all at once or in chunks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.jacobian.analysis.modes import linearize_with_aux, value_and_products
from jaxdl.jacobian.analysis.vector_function import Outputs, VectorFunction, join, pieces, split_arrays
from jaxdl.jacobian.methods.arguments import Argnums
from jaxdl.jacobian.methods.base import Jacobian, P, method

Swept = tuple[Outputs, jax.Array]  # the function's outputs and the matrix


@method
def reverse(
    f: Callable[P, Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    chunk: int | None = None,
    max_bytes: int | None = None,
) -> Jacobian[P]:
    """The Jacobian by reverse sweeps, one for each output, as `jax.jacrev`.

    Those of each example in the parameters are `jax.vmap(jacobian.reverse(f), (None, 0))(params, batch)`, as fast as
    `jax.vmap` of `jax.grad`.

    Args:
        f: The function to differentiate.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        has_aux: Whether f returns a pair (output, aux).
        holomorphic: Whether f is a holomorphic function of complex numbers.
        chunk: How many rows to compute at a time; by default all.
        max_bytes: Computes as many rows at a time as keep the temporary memory of the compiled function, without its
            arguments and the matrix, at or below this; found by compiling.

    Returns:
        A function of f's arguments that returns the Jacobian, as `jax.jacrev(f)` does.

    Raises:
        TypeError: If f is not callable; when called, if inputs or outputs cannot be differentiated.
        ValueError: When called, if both `chunk` and `max_bytes` are given, or a single row needs more memory.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> jacobian.reverse(jnp.sin, max_bytes=1_000_000)(jnp.zeros(3)).shape
        (3, 3)
    """
    prepare = functools.partial(prepare_reverse, chunk=chunk, max_bytes=max_bytes)
    return Jacobian("reverse", f, prepare, argnums, has_aux, holomorphic)


@method
def forward(
    f: Callable[P, Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    chunk: int | None = None,
    max_bytes: int | None = None,
) -> Jacobian[P]:
    """The Jacobian by forward sweeps, one for each input, as `jax.jacfwd`; also through hand-written rules.

    Args:
        f: The function to differentiate.
        argnums: Which arguments to differentiate, as in `jax.jacfwd`.
        has_aux: Whether f returns a pair (output, aux).
        holomorphic: Whether f is a holomorphic function of complex numbers.
        chunk: How many columns to compute at a time; by default all.
        max_bytes: Computes as many columns at a time as keep the temporary memory of the compiled function, without
            its arguments and the matrix, at or below this; found by compiling.

    Returns:
        A function of f's arguments that returns the Jacobian, as `jax.jacfwd(f)` does.

    Raises:
        TypeError: If f is not callable; when called, if inputs or outputs cannot be differentiated.
        ValueError: When called, if both `chunk` and `max_bytes` are given, or a single column needs more memory.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> jacobian.forward(lambda x: jnp.stack([x, x**2, x**3]))(2.0).tolist()
        [1.0, 4.0, 12.0]
    """
    prepare = functools.partial(prepare_forward, chunk=chunk, max_bytes=max_bytes)
    return Jacobian("forward", f, prepare, argnums, has_aux, holomorphic)


def prepare_reverse(
    function: VectorFunction, chunk: int | None = None, max_bytes: int | None = None
) -> Callable[..., jax.Array]:
    return Sweeps(function, reverse_sweeps, function.m, chunk, max_bytes)


def prepare_forward(
    function: VectorFunction, chunk: int | None = None, max_bytes: int | None = None
) -> Callable[..., jax.Array]:
    return Sweeps(function, forward_sweeps, function.n, chunk, max_bytes)


class Sweeps:
    """Called as (x, *others), it returns the (m, n) matrix by sweeps, `chunk` at a time.

    Args:
        function: The function to differentiate.
        sweeps: `reverse_sweeps` or `forward_sweeps`.
        count: The number of sweeps.
        chunk: How many to compute at a time; by default all.
        max_bytes: The temporary memory to keep to, instead of a chunk.
    """

    def __init__(
        self,
        function: VectorFunction,
        sweeps: Callable[..., Swept],
        count: int,
        chunk: int | None,
        max_bytes: int | None,
    ):
        run = lambda chunk: lambda x, *others: sweeps(function, x, others, chunk)
        chunk = sweeps_at_once(function, lambda chunk: lambda *given: run(chunk)(*given)[1], count, chunk, max_bytes)
        self.with_outputs: Callable[..., Swept] = run(chunk)

    def __call__(self, x: jax.Array, *others: Any) -> jax.Array:
        return self.with_outputs(x, *others)[1]


def reverse_sweeps(function: VectorFunction, x: jax.Array, others: tuple[Any, ...], chunk: int) -> Swept:
    """ȳ = e_i for each i: x̄ is row i."""
    lists, xs = lambda xs: function.lists(xs, *others), split_arrays(x, function.inputs)
    y, pullback, aux = jax.vjp(lists, xs, has_aux=True)

    def sweep(one_hot):
        (cotangents,) = jax.vmap(pullback)(_split_rows(one_hot, function.outputs))
        return _joined([c.reshape(len(one_hot), -1) for c in cotangents], 1)

    return (join(y), aux), _matrix(sweep, function.m, (function.m, function.n), 0, chunk, x.dtype)


def forward_sweeps(function: VectorFunction, x: jax.Array, others: tuple[Any, ...], chunk: int) -> Swept:
    """ẋ = e_j for each j: ẏ is column j."""
    lists, xs = lambda xs: function.lists(xs, *others), split_arrays(x, function.inputs)
    columns = lambda tangents, count: _joined([t.reshape(-1, count) for t in tangents], 0)
    if chunk >= function.n:
        seeds = _split_rows(jnp.eye(function.n, dtype=x.dtype), function.inputs)
        y, tangents, aux = value_and_products(lists, xs, seeds, axis=-1)
        return (join(y), aux), columns(tangents, function.n)
    y, push, aux = linearize_with_aux(lists, xs)

    def sweep(one_hot):
        return columns(jax.vmap(push, out_axes=-1)(_split_rows(one_hot, function.inputs)), len(one_hot))

    return (join(y), aux), _matrix(sweep, function.n, (function.m, function.n), 1, chunk, x.dtype)


def _split_rows(rows: jax.Array, types: Sequence[Any]) -> list[jax.Array]:
    """Each row as arrays of these types. Done outside of vmap, where XLA copies less."""
    parts = pieces(rows, types, 1)
    return [part.reshape(len(rows), *t.shape).astype(t.dtype) for part, t in zip(parts, types, strict=True)]


def _joined(parts: list[jax.Array], axis: int) -> jax.Array:
    if len(parts) == 1:
        return parts[0]
    with jax.numpy_dtype_promotion("standard"):
        return jnp.concatenate(parts, axis, dtype=jnp.result_type(*parts))


def _matrix(
    sweep: Callable[..., Any], count: int, shape: tuple[int, int], axis: int, chunk: int, dtype: Any
) -> jax.Array:
    """The matrix of sweeps of one-hot vectors, `chunk` at a time. The last two chunks may overlap.

    The vectors are computed when they are needed, and the matrix is written in place: neither takes memory twice.
    """
    if chunk >= count:
        return sweep(jnp.eye(count, dtype=dtype))

    def put(i, matrix):
        start = jnp.minimum(i * chunk, count - chunk)
        one_hot = jax.nn.one_hot(start + jnp.arange(chunk), count, dtype=dtype)
        return jax.lax.dynamic_update_slice_in_dim(matrix, sweep(one_hot).astype(dtype), start, axis)

    return jax.lax.fori_loop(0, -(-count // chunk), put, jnp.zeros(shape, dtype))


def sweeps_at_once(
    function: VectorFunction, run: Callable[[int], Any], count: int, chunk: int | None, max_bytes: int | None
) -> int:
    """How many of `count` sweeps to compute at a time by `run(chunk)(x, *others)`, from the options of a method.

    Raises:
        ValueError: If both options are given, or `chunk` is not positive, or one sweep needs more memory.
    """
    if chunk is not None and max_bytes is not None:
        raise ValueError(f"jacobian.{function.name}: give chunk or max_bytes, not both")
    if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
        raise ValueError(f"jacobian.{function.name}: chunk must be a positive integer, got {chunk!r}")
    if max_bytes is not None:
        return _largest_chunk(function, run, count, max_bytes)
    return min(chunk or count, count)


def _largest_chunk(function: VectorFunction, run: Callable[[int], Any], count: int, max_bytes: int) -> int:
    """The most sweeps at a time whose compiled temporary memory is at most max_bytes, up to an eighth fewer."""

    @functools.cache
    def temporary(chunk: int) -> int:
        memory = jax.jit(run(chunk)).lower(*function.types).compile().memory_analysis()
        return 0 if memory is None else memory.temp_size_in_bytes

    if temporary(count) <= max_bytes:
        return count
    if temporary(1) > max_bytes:
        raise ValueError(
            f"jacobian.{function.name}: one sweep at a time takes {temporary(1):,} bytes of temporary memory, "
            f"max_bytes is {max_bytes:,}"
        )
    fits, too_many = 1, count
    while too_many - fits > max(1, fits // 8):
        # Memory is almost linear in the number of sweeps: interpolate.
        slope = (temporary(too_many) - temporary(fits)) / (too_many - fits)
        between = fits + int((max_bytes - temporary(fits)) / slope) if slope > 0 else (fits + too_many) // 2
        tried = min(max(between, fits + 1), too_many - 1)
        fits, too_many = (tried, too_many) if temporary(tried) <= max_bytes else (fits, tried)
    return fits
