"""Sparse Jacobians and Hessians: the pattern is read from the jaxpr, coloured, and had by a few compressed products."""

import functools

import jax
import numpy as np
from scipy import sparse as sp

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.modes import hindrances
from jaxdl.jacobian.analysis.pattern import colouring
from jaxdl.jacobian.analysis.pattern.dependence import nothing
from jaxdl.jacobian.analysis.pattern.walk import pattern as read_pattern
from jaxdl.jacobian.methods.base import Jacobian, Vector, method
from jaxdl.jacobian.methods.compressed_products import Compressed, Plan, checked
from jaxdl.report import figure, png, write_whole


class Sparse(Jacobian):
    """A Jacobian that is also to be had as `.bcoo`, `.scipy`; `.plan` says how, `.spy` draws the pattern."""

    def plan(self, *args, **kwargs) -> Plan:
        """The pattern, the colours and the sweeps for arguments of these types."""
        return self.evaluated(_compressed, args, kwargs).plan

    def bcoo(self, *args, **kwargs):
        """The result with each block as a `BCOO` of shape output.shape + input.shape; also under jit."""
        from jax.experimental.sparse import BCOO  # slow to import

        compressed, call, data = self.evaluated(_entries, args, kwargs)
        blocks = compressed.blocks([y.shape for y in call.vector.outputs], [x.shape for x in call.inputs])
        result = call.arranged(
            [
                BCOO((data[entries].astype(x.dtype), indices), shape=y.shape + x.shape, unique_indices=True)
                for x, (entries, indices) in zip(call.inputs, row, strict=True)
            ]
            for y, row in zip(call.vector.outputs, blocks, strict=True)
        )
        return (result, self.f(*args, **kwargs)[1]) if self.has_aux else result

    def scipy(self, *args, **kwargs) -> sp.csr_array:
        """The whole (m, n) matrix: all outputs, flattened, one below the other, by all inputs. Not under jit."""
        compressed, _, data = self.evaluated(_entries, args, kwargs)
        if isinstance(data, jax.core.Tracer):
            raise TypeError(
                f"jacobian.{self.name}.scipy: SciPy has no matrices under jit, grad or vmap; take .bcoo there"
            )
        pattern = compressed.plan.pattern
        data = np.asarray(data)[compressed.plan.places] if compressed.plan.is_filled else np.asarray(data)
        result = sp.csr_array((data, pattern.indices, pattern.indptr), pattern.shape)
        return (result, self.f(*args, **kwargs)[1]) if self.has_aux else result

    def spy(self, *args, path=None, **kwargs):
        """Draws the pattern, each entry in the colour of the sweep that finds it: matplotlib's Axes.

        With `path`, it is written there as a PNG file too.
        """
        return drawn(self.plan(*args, **kwargs), path)


def _compressed(call) -> Compressed:
    if isinstance(call.prepared, Compressed):
        return call.prepared
    vector = call.vector
    empty = nothing(vector.m, vector.n).some
    return Compressed(vector, Plan(empty, np.zeros(vector.n, int) - 1, np.zeros(vector.m, int) - 1))


def _entries(call):
    compressed = _compressed(call)
    return compressed, call, checked(compressed, *compressed.compiled(call.x, *call.others))


def drawn(plan, path):
    row, column = colouring.coordinates(plan.pattern)
    forward = plan.sweeps[0] * plan.pattern.shape[0]
    colour = np.where(plan.places < forward, plan.columns[column], plan.sweeps[0] + plan.rows[row])
    m, n = plan.pattern.shape
    with figure(width=5, height=5 * np.clip(m / max(n, 1), 0.3, 3)) as (fig, axes):
        size = np.clip(72 * 4 / max(m, n, 1), 0.2, 12)
        axes.scatter(column, row, s=size**2, c=colour, cmap="turbo", marker="s", linewidths=0, rasterized=True)
        axes.set(xlim=(-0.5, n - 0.5), ylim=(m - 0.5, -0.5), aspect="equal", xlabel="input", ylabel="output")
        axes.set_title(f"{plan.pattern.nnz:,} entries, {plan.sweeps[0]} forward + {plan.sweeps[1]} reverse sweeps")
        if path is not None:
            write_whole(path, png(fig))
    return axes


@functools.partial(method, kind=Sparse)
def sparse(vector: Vector, *, pattern=None, probe: bool = True):
    """The Jacobian by compressed products: as many sweeps as its pattern has colours.

    The pattern is found from the jaxpr, for all values of the arguments and for these ones of closed-over arrays,
    coloured by columns, rows or both, and kept for the program that f is. The result is dense;
    `sparse(f).bcoo(*args)`, `.scipy(*args)` never make the dense matrix; `.plan(*args)` tells the pattern, the sweeps
    and what was not understood and counts as dense; `.spy(*args)` draws it.

    pattern: the (m, n) pattern as a SciPy sparse matrix or a boolean array, in place of the one found, for all outputs
    and inputs flattened and joined. It is held against one random product at each call: an entry outside it raises
    ValueError, or makes the result NaN under jit and vmap, where nothing can be raised. probe: False to do without.
    """
    no_forward, no_reverse = hindrances(vector.f, jx.opened(vector.jaxpr).eqns, vector.types)
    if no_forward and no_reverse:
        raise ValueError(
            f"jacobian.{vector.name}: JAX has neither mode of the function as a whole. Forward: {no_forward}. "
            f"Reverse: {no_reverse}"
        )
    found, dense = _pattern(vector) if pattern is None else (_given(vector, pattern), ())
    columns, rows, why = colouring.cheapest(found, not no_forward, not no_reverse)
    return Compressed(
        vector, Plan(found, columns, rows, tuple(dense), why, False, pattern is not None), probe and pattern is not None
    )


@functools.partial(method, kind=Sparse)
def _second(vector: Vector, *, pattern=None, probe: bool = True):
    found, dense = _pattern(vector) if pattern is None else (_given(vector, pattern), ())
    found = sp.csr_array(found + found.T)
    found.sort_indices()
    columns = colouring.symmetric(found)
    plan = Plan(found, columns, np.full(vector.m, -1), tuple(dense), "symmetric, by columns", True, pattern is not None)
    return Compressed(vector, plan, probe and pattern is not None)


def sparse_hessian(f, argnums=0, has_aux=False, holomorphic=False, *, pattern=None, probe=True):
    """The Hessian of a scalar function by compressed Hessian-vector products, with the result of `jax.hessian`.

    The pattern of the gradient is found and coloured so that of each entry and its mirror image one can be read
    (star colouring). Options and outputs as for `sparse`.
    """
    if not callable(f):
        raise TypeError(f"jacobian.sparse_hessian: expected a function, got {type(f).__name__}")
    gradient = jax.grad(f, argnums, has_aux, holomorphic)
    jacobian = _second(gradient, argnums, has_aux, holomorphic, pattern=pattern, probe=probe)
    jacobian.name = "sparse_hessian"
    return jacobian


def _pattern(vector):
    (found,), dense = read_pattern(vector.jaxpr, vector.n, vector.constant, len(vector.constants))
    return (nothing(vector.m, vector.n) if found is None else found).matrix(), dense


def _given(vector, pattern):
    """A pattern from outside as a sorted boolean CSR matrix."""
    matrix = sp.csr_array(pattern).astype(bool)
    if matrix.shape != (vector.m, vector.n):
        raise ValueError(
            f"jacobian.{vector.name}: the pattern must be of shape ({vector.m}, {vector.n}), outputs by inputs, "
            f"got {matrix.shape}"
        )
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix
