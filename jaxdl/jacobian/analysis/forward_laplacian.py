"""The forward Laplacian: one pass through a jaxpr that carries values, derivatives and Laplacians.

With the derivatives J_i along k directions, L = Σ_i ∂²x/∂i² of each value x, an equation y = g(x) gives

    J_i ← g'(x) J_i,    L ← g'(x) L + Σ_i g''(x)[J_i, J_i]

(Li et al. 2023, arXiv:2307.08214). The last term is 0 for linear equations; elementwise ones and products need sums
over i only; any other equation takes the derivative of its derivative along each direction. Derivatives that are known
to be 0 are left out as long as equations move entries, act entry by entry, or sum a few (`moving_values`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis import moving_values as mv
from jaxdl.jacobian.analysis.entry_positions import IN_NUMPY
from jaxdl.jacobian.analysis.fingerprints import fingerprint
from jaxdl.jacobian.analysis.modes import linearize
from jaxdl.jacobian.analysis.moving_values import Moving

# Linear, or linear around almost every point, in all inputs that are no integers.
LINEAR = {
    "add", "add_any", "broadcast_in_dim", "clamp", "complex", "concatenate", "conj", "convert_element_type", "cumsum",
    "dynamic_slice", "dynamic_update_slice", "expand_dims", "fft", "gather", "imag", "max", "min", "neg", "pad", "real",
    "reduce_max", "reduce_min", "reduce_precision", "reduce_sum", "reduce_window_sum", "rem", "reshape", "rev",
    "scatter", "scatter-add", "scatter_add", "select_and_gather_add", "select_n", "slice", "sort", "split", "squeeze",
    "sub", "transpose",
} | jx.IDENTITIES  # fmt: skip

# These are so for real numbers.
LINEAR_IF_REAL = {"abs"}

# Linear in each of two inputs alone.
BILINEAR = {"mul", "dot_general", "conv_general_dilated"}

# For each primitive the input in which it is linear while the others do not move.
LINEAR_IN = {"div": 0, "triangular_solve": 1}


# They bring entries together along axes: the parameter with these axes, and whether the output has them.
ALONG_AXES = {
    "cumsum": ("axis", True), "reduce_max": ("axes", False), "reduce_min": ("axes", False),
    "reduce_sum": ("axes", False), "sort": ("dimension", True),
}  # fmt: skip

Inputs = Sequence[Moving]
Function = Callable[..., list[jax.Array]]  # of the values of moving inputs


def evaluate(jaxpr: Any, inputs: Sequence[Any]) -> list[Any]:
    """The outputs of a jaxpr for inputs that are arrays or `Moving`; so are the outputs."""
    plain = jx.opened(jaxpr)
    values = dict(zip(plain.constvars, getattr(jaxpr, "consts", ()), strict=True))
    values.update(zip(plain.invars, inputs, strict=True))
    for eqn in plain.eqns:
        outputs = _equation(eqn, [jx.value_of(v, values) for v in eqn.invars])
        values.update(zip(eqn.outvars, outputs, strict=True))
    return [jx.value_of(v, values) for v in plain.outvars]


def _equation(eqn: Any, inputs: Sequence[Any]) -> list[Any]:
    moving = [i for i, x in enumerate(inputs) if isinstance(x, Moving)]
    primals = [x.value if isinstance(x, Moving) else x for x in inputs]
    if not moving or eqn.primitive.name in jx.STEPS:
        return jx.binding(eqn)(*primals)
    if _is_log_determinant(eqn):
        return _log_determinant(jx.binding(eqn), inputs[0])
    if eqn.primitive.name in jx.CALLS | jx.CHECKPOINTS and not _is_curve(eqn, moving):
        return evaluate(jx.inner_jaxprs(eqn)[0], inputs)
    if eqn.primitive.name == "scan" and not jx.unknown_parameter(eqn):
        return _scan(jx.scan(eqn), [mv.with_zeros(x) if isinstance(x, Moving) else x for x in inputs])
    moves = [jnp.issubdtype(v.aval.dtype, jnp.inexact) for v in eqn.outvars]
    steady = [] if all(moves) else jx.binding(eqn)(*primals)
    found = iter(_moving_outputs(eqn, inputs, moving, jx.in_some(jx.binding(eqn), primals, moving)))
    return [next(found) if does_move else steady[i] for i, does_move in enumerate(moves)]


def _is_curve(eqn: Any, moving: Sequence[int]) -> bool:
    """Whether a call is a function of one real number, entry by entry: cheaper as a whole than in its equations."""
    shape = eqn.outvars[0].aval.shape
    return len(moving) == 1 and jx.is_elementwise(jx.inner_jaxprs(eqn)[0], shape) and _rule(eqn, moving) is _elementwise


def _moving_outputs(eqn: Any, inputs: Sequence[Any], moving: Sequence[int], g: Function) -> list[Moving]:
    if (product := _product_without_sum(eqn, inputs, moving, g)) is not None:
        return [product]
    rule, xs = _rule(eqn, moving), [inputs[i] for i in moving]
    compressed = _compressed(eqn, inputs, moving, rule) if any(x.directions for x in xs) else None
    if compressed is None:
        return rule(g, list(map(mv.dense, xs)))
    xs, directions = compressed
    return list(map(mv.named, rule(g, xs), directions))


def _compressed(eqn: Any, inputs: Sequence[Any], moving: Sequence[int], rule: Any) -> mv.Compressed | None:
    """The moving inputs in such rows that the rule can take one row after the other; None if there are none."""
    name, xs = eqn.primitive.name, [inputs[i] for i in moving]
    if rule is _elementwise or name in jx.ELEMENTWISE | jx.IDENTITIES:
        return mv.aligned(xs) if xs[0].value.shape == eqn.outvars[0].aval.shape else None
    if name in IN_NUMPY:
        return mv.moved(eqn, inputs)
    if len(xs) > 1 or len(eqn.outvars) > 1:
        return None
    if name in ALONG_AXES:
        axes, keeps_axes = ALONG_AXES[name]
        return mv.reduced(xs[0], np.ravel(jx.parameters(eqn)[axes]).tolist(), keeps_axes)
    if name == "dot_general":
        return mv.multiplied(jx.dot(eqn), moving[0], xs[0], eqn.invars[1 - moving[0]].aval.ndim)
    return None


def _product_without_sum(eqn: Any, inputs: Sequence[Any], moving: Sequence[int], g: Function) -> Moving | None:
    if eqn.primitive.name != "dot_general" or len(moving) > 1 or inputs[moving[0]].directions is None:
        return None
    x, out = inputs[moving[0]], eqn.outvars[0].aval
    found = mv.outer_product(jx.dot(eqn), moving[0], x, inputs[1 - moving[0]], out.dtype)
    if found is None:
        return None
    (y,) = _linear(g, [x._replace(along=x.along[:0], directions=None)])
    return mv.named(y._replace(along=found[0].reshape(-1, *out.shape)), found[1])


def _rule(eqn: Any, moving: Sequence[int]) -> Callable[[Function, Inputs], list[Moving]]:
    name = eqn.primitive.name
    is_real = not any(jnp.issubdtype(eqn.invars[i].aval.dtype, jnp.complexfloating) for i in moving)
    if name in LINEAR or (is_real and name in LINEAR_IF_REAL):
        return _linear
    if [LINEAR_IN.get(name)] == list(moving) or (name in BILINEAR and len(moving) == 1):
        return _linear
    if name in BILINEAR:
        return functools.partial(_bilinear, _summed_dots(eqn) if name == "dot_general" else _summed(eqn))
    return _elementwise if is_real and _is_elementwise(eqn, moving) else _general


def _is_elementwise(eqn: Any, moving: Sequence[int]) -> bool:
    shape = eqn.outvars[0].aval.shape
    if len(eqn.outvars) > 1 or any(eqn.invars[i].aval.shape != shape for i in moving):
        return False
    if jx.called(eqn) is None:
        return eqn.primitive.name in jx.ELEMENTWISE

    def derivative(*args):
        given = [args[i] for i in moving]
        return jax.jvp(jx.in_some(jx.binding(eqn), args, moving), given, given)

    return jx.is_elementwise(jx.trace(derivative, *[v.aval for v in eqn.invars])[0], shape)  # its rule may not be


def _linear(g: Function, xs: Inputs) -> list[Moving]:
    values, along, laplacians, _ = zip(*xs, strict=True)
    ys, push = linearize(g, *values)
    return list(map(Moving, ys, jax.vmap(push)(*along), _pushed(push, values, laplacians) or [None] * len(ys)))


def _pushed(push: Callable[..., Any], values: Sequence[jax.Array], laplacians: Sequence[Any]) -> Any:
    """The Laplacians of the outputs of a linear function; None if all are 0."""
    if all(x is None for x in laplacians):
        return None
    return push(*(jnp.zeros_like(v) if x is None else x for v, x in zip(values, laplacians, strict=True)))


def _bilinear(summed: Callable[..., jax.Array], g: Function, xs: Inputs) -> list[Moving]:
    """g''(x)[J_i, J_i] = 2 g(J_i of the one input, J_i of the other)."""
    return _bent(_linear(g, xs), [2 * summed(*(x.along for x in xs))])


def _summed(eqn: Any) -> Callable[..., jax.Array]:
    """Σ_i of an equation with two inputs and one output, on row i of each."""
    return lambda a, b: jax.vmap(jx.binding(eqn))(a, b)[0].sum(0)


def _summed_dots(eqn: Any) -> Callable[..., jax.Array]:
    """The same of a `dot_general`, which contracts the axis of i as well: one product instead of many small ones."""
    dot = jx.dot(eqn)
    moved = lambda axes: tuple(axis + 1 for axis in axes)
    numbers = tuple((0, *moved(axes)) for axes in dot.contracted), tuple(map(moved, dot.batch))
    return lambda a, b: jx.binding(eqn, dimension_numbers=numbers)(a, b)[0]


def _elementwise(g: Function, xs: Inputs) -> list[Moving]:
    """Σ_i g''(x)[J_i, J_i] = Σ_ab ∂²g/∂a∂b Σ_i J_i of a · J_i of b, entry by entry."""
    values, numbers = tuple(x.value for x in xs), range(len(xs))
    axes = [tuple(jnp.ones_like(v) if a == b else jnp.zeros_like(v) for b, v in enumerate(values)) for a in numbers]
    slope = lambda a: lambda *values: jax.jvp(g, values, axes[a])[1][0]
    bend = lambda a, b: (1 if a == b else 2) * jax.jvp(slope(a), values, axes[b])[1]
    terms = [bend(a, b) * (xs[a].along * xs[b].along).sum(0) for a in numbers for b in range(a + 1)]
    return _bent(_linear(g, xs), [jnp.asarray(sum(terms))])


def _general(g: Function, xs: Inputs) -> list[Moving]:
    values = tuple(x.value for x in xs)
    bend = lambda *v: jax.jvp(lambda *values: jax.jvp(g, values, v)[1], values, v)[1]
    return _bent(_linear(g, xs), [bent.sum(0) for bent in jax.vmap(bend)(*(x.along for x in xs))])


def _bent(ys: Inputs, terms: Sequence[jax.Array]) -> list[Moving]:
    """The outputs with a term added to each Laplacian."""
    added = lambda laplacian, term: term if laplacian is None else laplacian + term
    return [y._replace(laplacian=added(y.laplacian, term)) for y, term in zip(ys, terms, strict=True)]


def _scan(scan: jx.Scan, inputs: Sequence[Any]) -> list[Any]:
    """The same loop on values that move. What moves after any step moves from the start."""
    consts, carry, xs = scan.split(inputs)
    count = next(len(x.along) for x in inputs if isinstance(x, Moving))

    def lifted(value, like):
        if isinstance(value, Moving) or not isinstance(like, Moving):
            return value
        return Moving(value, jnp.zeros((count, *value.shape), value.dtype), jnp.zeros_like(value))

    def step(carry, x):
        after = [mv.with_zeros(y) if isinstance(y, Moving) else y for y in evaluate(scan.body, [*consts, *carry, *x])]
        return list(map(lifted, after[: scan.carry], carry)), after[scan.carry :]

    xs = [_with_axis(x, 1, 0) for x in xs]
    moves = lambda values: [isinstance(x, Moving) for x in values]
    next_carry = lambda: jax.eval_shape(step, carry, jax.tree.map(lambda x: x[0], xs))[0]
    while moves(after := next_carry()) != moves(carry):
        carry = list(map(lifted, carry, after))
    carry, ys = jax.lax.scan(step, carry, xs, length=scan.length, reverse=scan.reverse)
    return [*carry, *(_with_axis(y, 0, 1) for y in ys)]


def _with_axis(x: Any, source: int, destination: int) -> Any:
    """An array that is scanned over, with the axis of its steps first, or back behind that of the directions."""
    return x._replace(along=jnp.moveaxis(x.along, source, destination)) if isinstance(x, Moving) else x


def _is_log_determinant(eqn: Any) -> bool:
    """Whether an equation is a call of `jnp.linalg.slogdet`: the same program, not only the name."""
    return eqn.primitive.name in jx.CALLS and jx.label(eqn) == "slogdet" and _is_program_of_slogdet(eqn)


def _is_program_of_slogdet(eqn: Any) -> bool:
    (matrix, *others), outputs = [v.aval for v in eqn.invars], [v.aval.shape for v in eqn.outvars]
    if others or outputs != [matrix.shape[:-2]] * 2:
        return False
    (own,) = jx.opened(_slogdet(matrix.shape, matrix.dtype)).eqns
    return fingerprint(jx.inner_jaxprs(eqn)[0]) == fingerprint(jx.inner_jaxprs(own)[0])


@functools.cache
def _slogdet(shape: tuple[int, ...], dtype: np.dtype) -> Any:
    return jx.trace(lambda a: tuple(jnp.linalg.slogdet(a)), jax.ShapeDtypeStruct(shape, dtype))[0]


def _log_determinant(g: Callable[..., Any], a: Moving) -> list[Any]:
    """∂ log|det A| = tr(A⁻¹ ∂A), and Σ_i g''[J_i, J_i] = −Σ_i tr(A⁻¹ J_i A⁻¹ J_i)."""
    sign, value = g(a.value)
    inverse = jnp.linalg.inv(a.value)
    trace_of_product = lambda a, b: (a * jnp.swapaxes(b, -1, -2)).sum((-2, -1))  # faster than einsum on a CPU
    found = mv.along_axis_of_matrices(a)
    if found is None:
        a = mv.dense(a)
        products = jnp.einsum("...ij,k...jl->k...il", inverse, a.along)
        bent, along = trace_of_product(products, products), jnp.trace(products, axis1=-2, axis2=-1)
        moved = Moving(value, along, -bent.sum(0))
    else:
        axis, directions = found
        slopes = (jnp.swapaxes(inverse, -1, -2)[None] * a.along).sum(axis)  # (rows of derivatives, batch, lines)
        along = jnp.moveaxis(slopes, -1, 0).reshape(-1, *value.shape)
        moved = mv.named(Moving(value, along, -(along * along).sum(0)), directions)
    if a.laplacian is not None:
        moved = _bent([moved], [trace_of_product(inverse, a.laplacian)])[0]
    return [sign, moved]
