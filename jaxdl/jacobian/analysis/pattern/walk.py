"""The sparsity pattern of a Jacobian, read from the jaxpr: each equation says how its entries depend on others'.

Values that follow from constants alone are known (indices, masks, zeros of a matrix); values of arguments never are.
A hand-written rule is asked for its derivative, not its primal: a straight-through rule has entries where its primal
has none. An equation that nobody understands makes every output depend on all that any input depends on, and is
reported.
"""

import math
from collections.abc import Callable

import jax
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.pattern.contractions import PRODUCTS
from jaxdl.jacobian.analysis.pattern.control_flow import CONTROL
from jaxdl.jacobian.analysis.pattern.dependence import groups, identity, spread, take, union, union_of
from jaxdl.jacobian.analysis.pattern.indexing import MOVES
from jaxdl.jacobian.analysis.pattern.values import Constant, Value, fold, known


def pattern(jaxpr, n: int, constant: Callable | None = None, constants: int = 0):
    """How the outputs of a closed jaxpr depend on the n entries of its first input, and what counted as dense.

    After the first come `constants` inputs whose value `constant(i)` tells where it is known, and None where not.
    """
    walk = Walk(n)
    first, *others = jx.opened(jaxpr).invars
    asked = lambda i: Constant(lambda: constant(i)) if i < constants else None
    values = [Value(first.aval, identity(n))] + [Value(v.aval, None, asked(i)) for i, v in enumerate(others)]
    return [out.dependence for out in walk(jaxpr, values)], walk.dense


class Walk:
    """Carries values through jaxprs, equation by equation. `dense` lists what was not understood: (primitive, line).

    by_value: operations with hand-written rules are followed by what they compute, not by their derivative.
    """

    def __init__(self, n: int, by_value: bool = False):
        self.n = n
        self.by_value = by_value
        self.dense = []

    def __call__(self, jaxpr, values: list[Value]) -> list[Value]:
        """The values of a jaxpr's outputs."""
        plain = jx.opened(jaxpr)
        env = dict(zip(plain.invars, values, strict=True))
        env.update((v, known(c, v.aval)) for v, c in zip(plain.constvars, getattr(jaxpr, "consts", ()), strict=True))
        read = lambda atom: env[atom] if jx.is_variable(atom) else known(atom.val, atom.aval)
        for eqn in jx.needed_equations(jaxpr):
            env.update(zip(eqn.outvars, self.equation(eqn, [read(v) for v in eqn.invars]), strict=True))
        return [read(v) for v in plain.outvars]

    def equation(self, eqn, values):
        if all(v.dependence is None for v in values):
            return fold(eqn, values)
        out = [v.aval for v in eqn.outvars]
        name, unknown = eqn.primitive.name, jx.unknown_parameter(eqn)
        if name in CONTROL and not unknown:
            outputs = CONTROL[name](self, eqn, values)
        elif not any(map(_moves, out)):
            return [Value(aval) for aval in out]
        else:
            rule = _not_understood if unknown else RULES.get(name, _not_understood)
            outputs = [Value(aval, p) for aval, p in zip(out, rule(self, eqn, values), strict=True)]
        return [v if v.dependence is None or _moves(v.aval) else Value(v.aval, None, v.constant) for v in outputs]

    def report(self, eqn, why=""):
        found = (eqn.primitive.name + (f" ({why})" if why else ""), jx.where(eqn))
        if found not in self.dense:
            self.dense.append(found)


def _moves(aval):
    """Whether a value of this type has a derivative."""
    return jax.numpy.issubdtype(aval.dtype, jax.numpy.inexact)


def _not_understood(walk, eqn, values):
    unknown = jx.unknown_parameter(eqn)
    walk.report(eqn, unknown and "{}={}".format(*unknown))
    whole = union_of(_together(v) for v in values)
    return [take(whole, np.zeros(math.prod(v.aval.shape), int)) for v in eqn.outvars]


def _together(value):
    return value.dependence and spread(groups(np.arange(value.size), 1), value.dependence)


# --- entry by entry ------------------------------------------------------------------------------------


def _elementwise(walk, eqn, values):
    return [union_of(v.widened(eqn.outvars[0].aval.shape) for v in values)]


def _cut(walk, eqn, values):
    return [None] * len(eqn.outvars)


def _each(walk, eqn, values):
    """Outputs are the inputs, one by one."""
    return [v.dependence for v in values]


def _product(walk, eqn, values):
    """Where one factor is known to be zero the other makes no difference."""
    a, b = values
    shape = eqn.outvars[0].aval.shape
    return [union(_where(a.widened(shape), b, shape), _where(b.widened(shape), a, shape))]


def _quotient(walk, eqn, values):
    a, b = values
    shape = eqn.outvars[0].aval.shape
    return [union(a.widened(shape), _where(b.widened(shape), a, shape))]


def _where(p, factor, shape):
    """p where the factor is not known to be zero."""
    array = None if p is None else factor.array()
    if array is None or (array != 0).all():
        return p
    return take(p, np.where(np.broadcast_to(array != 0, shape).ravel(), np.arange(p.size), -1))


# --- hand-written rules ------------------------------------------------------------------------------------


def _tangent(walk, eqn, values):
    """A rule that gives tangents: how they depend on the tangents given.

    What it computes of them is followed by value: it may call the operation whose rule it belongs to.
    """
    if walk.by_value and (primal := jx.primal_of(eqn)):
        return [v.dependence for v in walk(primal, values)]
    moving = [i for i, v in enumerate(values) if v.dependence is not None]

    def push(args, tangents):
        return jax.jvp(jx.in_some(jx.binding(eqn), args, moving), [args[i] for i in moving], tangents)[1]

    types = [v.aval for v in values]
    jaxpr = jax.make_jaxpr(push)(types, [types[i] for i in moving])
    inputs = [Value(v.aval, None, v.constant) for v in values] + [Value(types[i], values[i].dependence) for i in moving]
    inner = Walk(walk.n, by_value=True)
    inner.dense = walk.dense
    given = iter(inner(jaxpr, inputs))
    return [next(given).dependence if _moves(v.aval) else None for v in eqn.outvars]


def _cotangent(walk, eqn, values):
    """A rule that gives cotangents: x̄ = T ȳ has the pattern of T, and ẏ = Tᵀ ẋ that of its transpose.

    T itself is followed by value: it may call the operation whose rule it belongs to.
    """
    if walk.by_value and (primal := jx.primal_of(eqn)):
        return [v.dependence for v in walk(primal, values)]
    moving = [i for i, v in enumerate(values) if v.dependence is not None]
    smooth = [v.aval for v in eqn.outvars if _moves(v.aval)]
    sizes = [math.prod(t.shape) for t in smooth]
    total, starts = sum(sizes), np.cumsum([0, *sizes])

    def pull(args, dy):
        return jax.vjp(jx.in_some(jx.binding(eqn), args, moving), *[args[i] for i in moving])[1](dy)

    jaxpr = jax.make_jaxpr(pull)([v.aval for v in values], smooth)
    inner = Walk(total, by_value=True)
    inputs = [Value(v.aval, None, v.constant) for v in values]
    inputs += [Value(t, identity(s, b, total)) for t, s, b in zip(smooth, sizes, starts, strict=False)]
    backward = inner(jaxpr, inputs)
    for found in inner.dense:
        if found not in walk.dense:
            walk.dense.append(found)
    joined = union_of(_through(back.dependence, values[i].dependence) for back, i in zip(backward, moving, strict=True))
    parts = iter(take(joined, np.arange(b, b + s)) for s, b in zip(sizes, starts, strict=False))
    return [next(parts) if _moves(v.aval) else None for v in eqn.outvars]


def _solution(walk, eqn, values):
    """A x = b: ẋ is what the solver makes of ḃ − Ȧ x, by value; it does not move itself."""
    system = jx.linear_solve(eqn)
    operator, _, solver, _, right = system.split(values)
    product = walk(system.matvec, [*operator, *(Value(b.aval) for b in right)])
    moved = [Value(b.aval, union(b.dependence, p.dependence)) for b, p in zip(right, product, strict=True)]
    inner = Walk(walk.n, by_value=True)
    inner.dense = walk.dense
    x = inner(system.solve, [*(Value(c.aval, None, c.constant) for c in solver), *moved])
    return [v.dependence for v in x[: len(right)]] + [None] * (len(x) - len(right))


def _through(back, p):
    """Tᵀ p, for T with rows that may be full."""
    if back is None:
        return None
    out = spread(back.some.T.tocsr(), p)
    if back.every.any():
        full = spread(groups(np.flatnonzero(back.every), 1, p.size), p)
        out = union(out, take(full, np.zeros(back.inputs, int)))
    return out


_COMPLEX_AND_MARKS = {
    "complex", "conj", "imag", "layout_constraint", "name", "pcast", "pvary", "real", "reshard",
    "sharding_constraint",
}  # fmt: skip

RULES: dict[str, Callable] = {
    **dict.fromkeys(jx.ELEMENTWISE | _COMPLEX_AND_MARKS, _elementwise),
    **dict.fromkeys(jx.STEPS, _cut),
    **dict.fromkeys(["optimization_barrier", "device_put"], _each),
    "mul": _product,
    "div": _quotient,
    "custom_jvp_call": _tangent,
    "custom_linear_solve": _solution,
    **dict.fromkeys(
        ["custom_vjp_call", "custom_vjp_call_jaxpr", "call_hi_primitive", "jaxdl_op", "jaxdl_linear", "linear_call"],
        _cotangent,
    ),
    **MOVES,
    **PRODUCTS,
}
