"""The Jacobian of one equation with respect to one of its inputs, as an operator: a table from primitives to kinds."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.modes import linearize
from jaxdl.jacobian.analysis.operation_counts import work
from jaxdl.jacobian.operators.base import Diagonal, Identity, Operator, Zero, chain
from jaxdl.jacobian.operators.equations import (
    MOVES,
    SAME,
    Edge,
    is_pointwise_rule,
    is_rule,
    name_of,
    own_op,
)
from jaxdl.jacobian.operators.kinds import Kronecker, Linear, RankOne, Selection, Toeplitz, Total


def kind(edge: Edge) -> Callable:
    """The function of an edge and the inputs of its equation that gives its operator; decided without values."""
    eqn = edge.eqn
    if jx.unknown_parameter(eqn):
        return _linear
    table = _OPS if own_op(eqn) else {} if is_rule(eqn) else _PRIMITIVES
    if special := table.get(name_of(eqn)):
        return lambda edge, inputs: special(edge, inputs) or _linear(edge, inputs)
    x, y = edge.types
    if eqn.primitive.name in jx.ELEMENTWISE or (x.shape == y.shape and is_rule(eqn) and is_pointwise_rule(edge)):
        return _diagonal
    return _linear


def whole(vector, x, others) -> Operator:
    """The Jacobian of a whole function as one linear function."""
    along = lambda x: vector.f(x, *others)
    after = jax.eval_shape(along, x)
    return Linear(linearize(along, x)[1], False, vector.x, after, "linear", float(vector.n * vector.m))


# --- one kind each -----------------------------------------------------------------------------------


def _identity(edge, inputs):
    x, y = edge.types
    return Identity(math.prod(x.shape), y.dtype)


def _diagonal(edge, inputs):
    """One push of ones, after a broadcast where the input has axes of length 1, or none."""
    x, y = edge.types
    name = edge.eqn.primitive.name
    if x.shape == y.shape and (name == "add" or (name == "sub" and not edge.place)):
        return _identity(edge, inputs)
    if name == "stop_gradient":
        return Zero((math.prod(y.shape), math.prod(x.shape)), y.dtype)
    d = Diagonal(_pushed(edge, inputs, jnp.ones(x.shape, x.dtype)).reshape(-1))
    return chain(d, _spread(x.shape, y, range(len(y.shape) - len(x.shape), len(y.shape))))


def _pushed(edge, inputs, x_dot):
    return (
        _linear(edge, inputs).push(x_dot.reshape(-1))
        if _reverse_only(edge.eqn)
        else jax.jvp(edge.along(inputs), (inputs[edge.place],), (x_dot,))[1]
    )


def _moved(edge, inputs):
    """The same move made by the numbers of the entries, with −1 for what comes from elsewhere."""
    x, y = edge.types
    numbers = np.arange(math.prod(x.shape), dtype=np.int32).reshape(x.shape)
    elsewhere = lambda z: np.full(np.shape(z), -1, np.int32) if jnp.issubdtype(z.dtype, jnp.inexact) else z
    given = [numbers if i == edge.place else elsewhere(z) for i, z in enumerate(inputs)]
    index = lambda: jx.moved(edge.eqn, *given)[edge.out]
    if any(isinstance(z, jax.core.Tracer) for z in given):
        return Selection(index().reshape(-1), numbers.size, y.dtype)
    with jax.ensure_compile_time_eval():
        return _selection(np.asarray(index()), numbers.size, y.dtype)


def _selection(index, n, dtype):
    index = index.reshape(-1)
    return Identity(n, dtype) if np.array_equal(index, np.arange(n)) else Selection(index, n, dtype)


def _solver(edge, inputs):
    """The solution moves with the right-hand side and with what the product Ax holds; the solvers only find it."""
    x, y = edge.types
    counts = jx.linear_solve(edge.eqn).counts
    is_of_solvers = counts[0] <= edge.place < sum(counts)
    return Zero((math.prod(y.shape), math.prod(x.shape)), y.dtype) if is_of_solvers else None


def _broadcast(edge, inputs):
    x, y = edge.types
    return _spread(x.shape, y, jx.parameters(edge.eqn)["broadcast_dimensions"])


def _spread(shape, y, places):
    """The broadcast of an array of that shape, with its axes at these places among those of y."""
    kept = {d for d, k in zip(places, shape, strict=True) if k == y.shape[d]}
    axes = tuple(d for d in range(len(y.shape)) if d not in kept)
    same = math.prod(shape) == math.prod(y.shape)
    return Identity(math.prod(shape), y.dtype) if same else Total(y.shape, axes, y.dtype).T


def _sum(edge, inputs):
    x, y = edge.types
    return Total(x.shape, jx.reduced_axes(edge.eqn), y.dtype)


def _reduction(edge, inputs):
    """Each entry reaches one output only: a sum of the entries times what one pull of ones gives them."""
    x, y = edge.types
    axes = _axes(edge.eqn, len(x.shape))
    if axes is None:
        return None
    slopes = jax.vjp(edge.along(inputs), inputs[edge.place])[1](jnp.ones(y.shape, y.dtype))[0]
    return chain(Total(x.shape, axes, y.dtype), Diagonal(slopes.reshape(-1)))


def _axes(eqn, ndim):
    """The axes over which a primitive or an op reduces; None where that is not said (an op under vmap)."""
    if jx.reduced_axes(eqn) is not None:
        return jx.reduced_axes(eqn)
    settings = dict(getattr(jx.op_call(eqn), "settings", ()))
    if "axis" not in settings:
        return None
    axis = range(ndim) if settings["axis"] is None else np.atleast_1d(settings["axis"])
    return tuple(int(a) % ndim for a in axis)


def _softmax(edge, inputs):
    """diag(s) − s sᵀ; of its logarithm I − 1 sᵀ"""
    x, _ = edge.types
    axes = _axes(edge.eqn, len(x.shape))
    if axes is None:
        return None
    (axis,) = axes
    blocks = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    s = jax.nn.softmax(inputs[0], axis).reshape(blocks)
    return RankOne(s, -s, s) if name_of(edge.eqn) != "log_softmax" else RankOne(jnp.ones_like(s), -jnp.ones_like(s), s)


def _product(edge, inputs):
    """With both factors as stacks of matrices: (batch, free, contracted) and (batch, contracted, free)."""
    x, y = edge.types
    (contracted, batch), other = _dimensions(edge.eqn, edge.place), inputs[1 - edge.place]
    (other_contracted, other_batch) = _dimensions(edge.eqn, 1 - edge.place)
    free = [d for d in range(len(x.shape)) if d not in (*contracted, *batch)]
    other_free = [d for d in range(other.ndim) if d not in (*other_contracted, *other_batch)]
    sizes = lambda shape, dims: math.prod(shape[d] for d in dims)
    a = other.transpose(*other_batch, *other_free, *other_contracted).astype(y.dtype)
    a = a.reshape(sizes(x.shape, batch), sizes(other.shape, other_free), sizes(x.shape, contracted))
    order = (*batch, *contracted, *free) if edge.place else (*batch, *free, *contracted)
    left, right = (1, sizes(x.shape, free)) if edge.place else (sizes(x.shape, free), 1)
    return chain(Kronecker(a, left, right), _transposition(x, order))


def _dimensions(eqn, place):
    contracted, batch = jx.dot(eqn)
    return contracted[place], batch[place]


def _transposition(x, order):
    n = math.prod(x.shape)
    return _selection(np.arange(n, dtype=np.int32).reshape(x.shape).transpose(order), n, x.dtype)


def _convolution(edge, inputs):
    if hasattr(jx.op_call(edge.eqn), "mapped"):  # under vmap both may be mapped
        return None
    return Toeplitz(inputs[1 - edge.place], edge.bound, edge.place, *edge.types, work(edge.eqn))


def _max_pool(edge, inputs):
    """Each window selects one entry: which, say the digits of the entries' numbers pushed through."""
    x, y = edge.types
    if jnp.finfo(x.dtype).nmant < 23:
        return None
    numbers = np.arange(math.prod(x.shape)).reshape(x.shape)
    push = lambda z: _pushed(edge, inputs, jnp.asarray(z, x.dtype)).reshape(-1).round().astype(jnp.int32)
    index = 4096 * push(numbers // 4096) + push(numbers % 4096)
    return Selection(jnp.where(push(np.ones(x.shape)) > 0, index, -1), numbers.size, y.dtype)


def _rows(edge, inputs):
    """A table's rows are selected, and nothing by an index outside it."""
    x, y = edge.types
    if edge.place or hasattr(jx.op_call(edge.eqn), "mapped"):
        return None
    rows, width = x.shape
    index = inputs[1].reshape(-1, 1).astype(jnp.int32)
    entries = jnp.where((index >= 0) & (index < rows), index * width + jnp.arange(width, dtype=jnp.int32)[None], -1)
    return Selection(entries.reshape(-1), rows * width, y.dtype)


def _linear(edge, inputs):
    """The equation's own derivative, pushed forward, or pulled back where there is only that."""
    x, y = edge.types
    along, at, name = edge.along(inputs), inputs[edge.place], name_of(edge.eqn)
    if _reverse_only(edge.eqn):
        pullback = jax.vjp(along, at)[1]
        return Linear(_First(pullback), True, x, y, name, work(edge.eqn))
    return Linear(linearize(along, at)[1], False, x, y, name, work(edge.eqn))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class _First:
    """A pullback of one argument, without its tuple."""

    pullback: Any

    def __call__(self, dy):
        return self.pullback(dy)[0]


def _reverse_only(eqn):
    bodies = jx.inner_jaxprs(eqn)
    return eqn.primitive.name.startswith("custom_vjp_call") or any(
        _reverse_only(inner) for body in bodies for inner in jx.opened(body).eqns
    )


_PRIMITIVES = (
    dict.fromkeys(SAME, _identity)
    | dict.fromkeys(MOVES, _moved)
    | dict.fromkeys(("reduce_max", "reduce_min", "reduce_prod"), _reduction)
    | {"dot_general": _product, "reduce_sum": _sum, "broadcast_in_dim": _broadcast}
    | {"conv_general_dilated": _convolution, "reduce_window_max": _max_pool, "custom_linear_solve": _solver}
)
_OPS = (
    dict.fromkeys(("sum", "mean", "max", "logsumexp"), _reduction)
    | dict.fromkeys(("conv2d", "conv_transpose2d"), _convolution)
    | dict.fromkeys(("softmax", "log_softmax"), _softmax)
    | {"max_pool": _max_pool, "embedding": _rows}
)
