"""The Jacobian of one equation in one of its inputs, as an operator: a table from primitives to operators."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.entry_positions import IN_NUMPY, as_matrices, positions, rearranged
from jaxdl.jacobian.analysis.modes import linearize
from jaxdl.jacobian.analysis.operation_counts import work
from jaxdl.jacobian.operators.base import Identity, Operator, Zero, compose
from jaxdl.jacobian.operators.diagonal import Diagonal, DiagonalPlusRankOne
from jaxdl.jacobian.operators.equations import (
    IDENTITIES,
    INDEXING,
    PartialMap,
    has_pointwise_pullback,
    is_jaxdl_op,
    is_rule,
    operation_name,
)
from jaxdl.jacobian.operators.functions import FunctionOperator, Toeplitz
from jaxdl.jacobian.operators.kronecker import Kronecker
from jaxdl.jacobian.operators.selection import AxisSum, Selection

OperatorBuilder = Callable[[PartialMap, Sequence], Operator]


def operator_builder(partial: PartialMap) -> OperatorBuilder:
    """Chooses, without values, what makes the operator of a partial map from the inputs of its equation."""
    eqn = partial.eqn
    if jx.unknown_parameter(eqn):
        return _function
    table = _OPS if is_jaxdl_op(eqn) else {} if is_rule(eqn) else _PRIMITIVES
    if special := table.get(operation_name(eqn)):
        return lambda partial, inputs: special(partial, inputs) or _function(partial, inputs)
    x, y = partial.types
    is_pointwise_rule = is_rule(eqn) and x.shape == y.shape and has_pointwise_pullback(partial)
    return _diagonal if eqn.primitive.name in jx.ELEMENTWISE or is_pointwise_rule else _function


# --- one operator each --------------------------------------------------------------------------------
# None where the structure is not known.


def _identity(partial: PartialMap, inputs: Sequence[Any]) -> Operator:
    x, y = partial.types
    return Identity(math.prod(x.shape), y.dtype)


def _zero(partial: PartialMap) -> Operator:
    x, y = partial.types
    return Zero((math.prod(y.shape), math.prod(x.shape)), y.dtype)


def _diagonal(partial: PartialMap, inputs: Sequence[Any]) -> Operator:
    """By one push of ones; after a broadcast if the input has fewer axes, or axes of length 1."""
    x, y = partial.types
    name = partial.eqn.primitive.name
    if x.shape == y.shape and (name == "add" or (name == "sub" and not partial.operand)):
        return _identity(partial, inputs)
    if name in jx.STEPS:  # not as a diagonal of zeros, which is NaN times an infinite derivative
        return _zero(partial)
    d = Diagonal(_pushed(partial, inputs, jnp.ones(x.shape, x.dtype)).reshape(-1))
    return compose(d, _broadcast_of(x.shape, y, range(len(y.shape) - len(x.shape), len(y.shape))))


def _pushed(partial: PartialMap, inputs: Sequence[Any], x_dot: jax.Array) -> jax.Array:
    if _has_only_reverse(partial.eqn):
        return _function(partial, inputs).push(x_dot.reshape(-1))
    return jax.jvp(partial.at(inputs), (inputs[partial.operand],), (x_dot,))[1]


def _indexing(partial: PartialMap, inputs: Sequence[Any]) -> Operator:
    """The equation applied to the positions of the input's entries, with −1 for entries from elsewhere."""
    x, y = partial.types
    elsewhere = lambda z: np.full(np.shape(z), -1, np.int32) if jnp.issubdtype(z.dtype, jnp.inexact) else z
    given = [positions(x.shape) if i == partial.operand else elsewhere(z) for i, z in enumerate(inputs)]
    n = math.prod(x.shape)
    if partial.eqn.primitive.name in IN_NUMPY:
        return _selection(rearranged(partial.eqn, given)[partial.output], n, y.dtype)
    index = lambda: jx.moved(partial.eqn, *given)[partial.output]
    if any(isinstance(z, jax.core.Tracer) for z in given):
        return Selection(index().reshape(-1), n, y.dtype)
    with jax.ensure_compile_time_eval():
        return _selection(np.asarray(index()), n, y.dtype)


def _selection(index: np.ndarray, n: int, dtype: Any) -> Operator:
    index = index.reshape(-1)
    return Identity(n, dtype) if np.array_equal(index, np.arange(n)) else Selection(index, n, dtype)


def _linear_solve(partial: PartialMap, inputs: Sequence[Any]) -> Operator | None:
    """The solution depends on the right-hand side and on the matrix; what only the solvers use has no effect."""
    counts = jx.linear_solve(partial.eqn).counts
    is_of_solvers = counts[0] <= partial.operand < sum(counts)
    return _zero(partial) if is_of_solvers else None


def _broadcast(partial: PartialMap, inputs: Sequence[Any]) -> Operator:
    x, y = partial.types
    return _broadcast_of(x.shape, y, jx.parameters(partial.eqn)["broadcast_dimensions"])


def _broadcast_of(shape: tuple[Any, ...], y: jax.ShapeDtypeStruct, dimensions: Iterable[int]) -> Operator:
    """The broadcast of an array of that shape to y, its axes being the `dimensions` of y."""
    kept = {d for d, k in zip(dimensions, shape, strict=True) if k == y.shape[d]}
    axes = tuple(d for d in range(len(y.shape)) if d not in kept)
    same = math.prod(shape) == math.prod(y.shape)
    return Identity(math.prod(shape), y.dtype) if same else AxisSum(y.shape, axes, y.dtype).T


def _sum(partial: PartialMap, inputs: Sequence[Any]) -> Operator:
    x, y = partial.types
    return AxisSum(x.shape, jx.reduced_axes(partial.eqn) or (), y.dtype)


def _reduction(partial: PartialMap, inputs: Sequence[Any]) -> Operator | None:
    """A sum after a diagonal: each entry has an effect on one output only, which one pull of ones gives."""
    x, y = partial.types
    axes = _axes(partial.eqn, len(x.shape))
    if axes is None:
        return None
    slopes = jax.vjp(partial.at(inputs), inputs[partial.operand])[1](jnp.ones(y.shape, y.dtype))[0]
    return compose(AxisSum(x.shape, axes, y.dtype), Diagonal(slopes.reshape(-1)))


def _axes(eqn: Any, ndim: int) -> tuple[int, ...] | None:
    """The axes over which a primitive or an op reduces; None where they are not known (an op under vmap)."""
    if jx.reduced_axes(eqn) is not None:
        return jx.reduced_axes(eqn)
    settings = dict(getattr(jx.op_call(eqn), "settings", ()))
    if "axis" not in settings:
        return None
    axis = range(ndim) if settings["axis"] is None else np.atleast_1d(settings["axis"])
    return tuple(int(a) % ndim for a in axis)


def _softmax(partial: PartialMap, inputs: Sequence[Any]) -> Operator | None:
    """diag(s) − s sᵀ; of its logarithm I − 1 sᵀ"""
    x, _ = partial.types
    axes = _axes(partial.eqn, len(x.shape))
    if axes is None:
        return None
    (axis,) = axes
    blocks = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    s = jax.nn.softmax(inputs[0], axis).reshape(blocks)
    scale = jnp.ones_like(s) if operation_name(partial.eqn) == "log_softmax" else s
    return DiagonalPlusRankOne(scale, -scale, s)


def _matrix_product(partial: PartialMap, inputs: Sequence[Any]) -> Operator:
    """I ⊗ A ⊗ I with the other factor as A, after a transposition of the input."""
    x, y = partial.types
    dot, operand = jx.dot(partial.eqn), partial.operand
    a = as_matrices(inputs[1 - operand], dot, 1 - operand).astype(y.dtype)
    batch, free, contracted = dot.batch[operand], dot.free(operand, len(x.shape)), dot.contracted[operand]
    size = math.prod(x.shape[d] for d in free)
    order = (*batch, *contracted, *free) if operand else (*batch, *free, *contracted)
    left, right = (1, size) if operand else (size, 1)
    transposition = _selection(positions(x.shape).transpose(order), math.prod(x.shape), x.dtype)
    return compose(Kronecker(a, left, right), transposition)


def _convolution(partial: PartialMap, inputs: Sequence[Any]) -> Operator | None:
    if hasattr(jx.op_call(partial.eqn), "mapped"):  # under vmap both may be mapped
        return None
    cost = work(partial.eqn)
    return Toeplitz(inputs[1 - partial.operand], partial.evaluate, partial.operand, *partial.types, cost)


def _max_pool(partial: PartialMap, inputs: Sequence[Any]) -> Operator | None:
    """Each window selects one entry. Its position is found by pushing the positions, in two parts below 4096."""
    x, y = partial.types
    if jnp.finfo(x.dtype).nmant < 23:
        return None
    position = positions(x.shape)
    push = lambda z: _pushed(partial, inputs, jnp.asarray(z, x.dtype)).reshape(-1).round().astype(jnp.int32)
    index = 4096 * push(position // 4096) + push(position % 4096)
    return Selection(jnp.where(push(np.ones(x.shape)) > 0, index, -1), position.size, y.dtype)


def _embedding(partial: PartialMap, inputs: Sequence[Any]) -> Operator | None:
    """The rows of the table are selected, none by an index outside the table."""
    x, y = partial.types
    if partial.operand or hasattr(jx.op_call(partial.eqn), "mapped"):
        return None
    rows, width = x.shape
    index = inputs[1].reshape(-1, 1).astype(jnp.int32)
    entries = jnp.where((index >= 0) & (index < rows), index * width + jnp.arange(width, dtype=jnp.int32)[None], -1)
    return Selection(entries.reshape(-1), rows * width, y.dtype)


def _function(partial: PartialMap, inputs: Sequence[Any]) -> FunctionOperator:
    """The equation's own derivative: pushed forward, or pulled back where there is no forward mode."""
    x, y = partial.types
    f, at, name = partial.at(inputs), inputs[partial.operand], operation_name(partial.eqn)
    backward = _has_only_reverse(partial.eqn)
    try:
        derivative = FirstCotangent(jax.vjp(f, at)[1]) if backward else linearize(f, at)[1]
    except Exception as error:
        if jx.is_spoilt_trace(error):
            raise
        raise NotAloneError(name) from error
    return FunctionOperator(derivative, backward, x, y, name, work(partial.eqn))


class NotAloneError(Exception):
    """An equation cannot be differentiated in one of its inputs alone, as a solver in the factors of its matrix."""


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class FirstCotangent:
    """A pullback of one argument, without the tuple around its result."""

    pullback: Any

    def __call__(self, dy):
        return self.pullback(dy)[0]


def _has_only_reverse(eqn: Any) -> bool:
    return eqn.primitive.name.startswith("custom_vjp_call") or any(
        _has_only_reverse(inner) for body in jx.inner_jaxprs(eqn) for inner in jx.opened(body).eqns
    )


_PRIMITIVES: dict[str, Callable[[PartialMap, Sequence[Any]], Operator | None]] = (
    dict.fromkeys(IDENTITIES, _identity)
    | dict.fromkeys(INDEXING, _indexing)
    | dict.fromkeys(("reduce_max", "reduce_min", "reduce_prod"), _reduction)
    | {"dot_general": _matrix_product, "reduce_sum": _sum, "broadcast_in_dim": _broadcast}
    | {"conv_general_dilated": _convolution, "reduce_window_max": _max_pool, "custom_linear_solve": _linear_solve}
)
_OPS: dict[str, Callable[[PartialMap, Sequence[Any]], Operator | None]] = (
    dict.fromkeys(("sum", "mean", "max", "logsumexp"), _reduction)
    | dict.fromkeys(("conv2d", "conv_transpose2d"), _convolution)
    | dict.fromkeys(("softmax", "log_softmax"), _softmax)
    | {"max_pool": _max_pool, "embedding": _embedding}
)
