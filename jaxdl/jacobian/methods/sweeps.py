"""The Jacobian by sweeps: a row for each output (reverse) or a column for each input (forward), in chunks if asked."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.jacobian.analysis.modes import linearize
from jaxdl.jacobian.analysis.vector_function import split
from jaxdl.jacobian.methods.base import Vector, method


@method
def reverse(vector: Vector, *, chunk: int | None = None, max_bytes: int | None = None):
    """The Jacobian by reverse sweeps, one for each output, as `jax.jacrev`.

    chunk: this many rows at a time instead of all at once. max_bytes: as many rows at a time as keep the temporary
    memory of the compiled function, beside its arguments and the matrix, at or below this; measured by compiling.
    Raises ValueError if a single row needs more. Takes f, argnums, has_aux and holomorphic as `jax.jacrev`.
    """
    return in_chunks(vector, rows, vector.m, chunk, max_bytes)


@method
def forward(vector: Vector, *, chunk: int | None = None, max_bytes: int | None = None):
    """The Jacobian by forward sweeps, one for each input, as `jax.jacfwd`; also through hand-written rules.

    chunk, max_bytes: as for `reverse`, in columns.
    """
    return in_chunks(vector, columns, vector.n, chunk, max_bytes)


def rows(vector: Vector, x, others, chunk: int):
    """ȳ = e_i for each i: x̄ is row i."""
    pullback = jax.vjp(lambda xs: vector.of_arrays(xs, *others), split(x, vector.inputs))[1]

    def sweeps(one_hot):
        (cotangents,) = jax.vmap(pullback)(_rows_as(one_hot, vector.outputs))
        return _joined([c.reshape(len(one_hot), -1) for c in cotangents], 1)

    return _in_place(sweeps, vector.m, (vector.m, vector.n), 0, chunk, x.dtype)


def columns(vector: Vector, x, others, chunk: int):
    """ẋ = e_j for each j: ẏ is column j."""
    along, xs = lambda xs: vector.of_arrays(xs, *others), split(x, vector.inputs)
    push = (lambda t: jax.jvp(along, (xs,), (t,))[1]) if chunk >= vector.n else linearize(along, xs)[1]

    def sweeps(one_hot):
        tangents = jax.vmap(push, out_axes=-1)(_rows_as(one_hot, vector.inputs))
        return _joined([t.reshape(-1, len(one_hot)) for t in tangents], 0)

    return _in_place(sweeps, vector.n, (vector.m, vector.n), 1, chunk, x.dtype)


def _rows_as(rows, types):
    """Each row as arrays of these types. Outside of vmap, where XLA need not move what lies right already."""
    ends = np.cumsum([math.prod(t.shape) for t in types])[:-1]
    parts = jnp.split(rows, ends, 1)
    return [part.reshape(len(rows), *t.shape).astype(t.dtype) for part, t in zip(parts, types, strict=True)]


def _joined(parts, axis):
    if len(parts) == 1:
        return parts[0]
    with jax.numpy_dtype_promotion("standard"):
        return jnp.concatenate(parts, axis, dtype=jnp.result_type(*parts))


def _in_place(sweeps, count, shape, axis, chunk, dtype):
    """One-hot vectors through `sweeps`, `chunk` at a time, into the matrix; the last two chunks may overlap.

    The vectors are made as they are needed, and the matrix is written in place: neither takes memory twice.
    """
    if chunk >= count:
        return sweeps(jnp.eye(count, dtype=dtype))

    def put(i, matrix):
        start = jnp.minimum(i * chunk, count - chunk)
        one_hot = jax.nn.one_hot(start + jnp.arange(chunk), count, dtype=dtype)
        return jax.lax.dynamic_update_slice_in_dim(matrix, sweeps(one_hot).astype(dtype), start, axis)

    return jax.lax.fori_loop(0, -(-count // chunk), put, jnp.zeros(shape, dtype))


def in_chunks(vector, sweeps, count, chunk, max_bytes):
    if chunk is not None and max_bytes is not None:
        raise ValueError(f"jacobian.{vector.name}: give chunk or max_bytes, not both")
    if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
        raise ValueError(f"jacobian.{vector.name}: chunk must be a positive integer, got {chunk!r}")
    if max_bytes is not None:
        chunk = within(vector, sweeps, count, max_bytes)
    size = min(chunk or count, count)
    return lambda x, *others: sweeps(vector, x, others, size)


def within(vector, sweeps, count, max_bytes) -> int:
    """The most sweeps at a time whose compiled temporary memory is at most max_bytes."""
    used = {}

    def temporary(chunk):
        if chunk not in used:
            run = jax.jit(lambda x, *others: sweeps(vector, x, others, chunk))
            used[chunk] = run.lower(*vector.types).compile().memory_analysis().temp_size_in_bytes
        return used[chunk]

    if temporary(count) <= max_bytes:
        return count
    if temporary(1) > max_bytes:
        raise ValueError(
            f"jacobian.{vector.name}: one sweep at a time takes {temporary(1):,} bytes of temporary memory, "
            f"max_bytes is {max_bytes:,}"
        )
    fits, too_many = 1, count
    while too_many - fits > max(1, fits // 8):
        # Memory is nearly a straight line in the number of sweeps: look where the budget lies on it.
        slope = (temporary(too_many) - temporary(fits)) / (too_many - fits)
        between = fits + int((max_bytes - temporary(fits)) / slope) if slope > 0 else (fits + too_many) // 2
        tried = min(max(between, fits + 1), too_many - 1)
        fits, too_many = (tried, too_many) if temporary(tried) <= max_bytes else (fits, tried)
    return fits
