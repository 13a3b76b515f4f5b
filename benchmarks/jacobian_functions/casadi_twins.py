"""JAX functions as expressions of CasADi: the jaxpr is evaluated on columns of CasADi's scalars.

An array is a column with the entries in row-major order, so that an elementwise primitive is one operation of CasADi,
and a primitive that moves entries is one look-up by positions, for which the primitive itself runs on positions.
"""

import functools
import math
import operator
from typing import Any, NamedTuple

import numpy as np

from jaxdl import automatic
from jaxdl import jaxpr as jx

MOST_OPERATIONS, MOST_ENTRIES = 100_000, 50_000  # of the function, of its Jacobian: each is a node of the expression
MOST_COMPILED = 3_000  # instructions that are compiled by C; longer programs are interpreted


class Untranslatable(NotImplementedError):
    """A function that is not translated, with the reason."""


class Column(NamedTuple):
    """An array of expressions: its entries one below the other, and its shape."""

    entries: Any
    shape: tuple[int, ...]


def jacobian_in_casadi(f, x, batch: int = 0):
    """The Jacobian of f at vectors like x as a function of CasADi: from (batch,) + x.shape to the dense matrices."""
    import casadi

    jaxpr, _ = jx.trace(automatic(f), x)
    if (operations := jx.flops(jaxpr)) > MOST_OPERATIONS:
        raise Untranslatable(f"{operations:,.0f} operations, each a node: more than {MOST_OPERATIONS:,}")
    variable = casadi.SX.sym("x", x.size)
    (y,) = run(jaxpr, [Column(variable, x.shape)])
    y = column(y)
    if (entries := casadi.jacobian_sparsity(y, variable).nnz()) > MOST_ENTRIES:
        raise Untranslatable(f"{entries:,} nonzero entries, each a node: more than {MOST_ENTRIES:,}")
    transposed = casadi.densify(casadi.jacobian(y, variable).T)  # CasADi stores columns, NumPy rows
    options = {"cse": True}
    each = casadi.Function("each", [variable], [transposed], options)
    if each.n_instructions() <= MOST_COMPILED:
        options |= {"jit": True, "compiler": "shell", "jit_options": {"flags": ["-O3", "-march=native"]}}
    points = casadi.MX.sym("points", x.size, batch or 1)
    return casadi.Function("jacobian", [points], [each.map(batch or 1)(points)], options)


def compiled_by_casadi(f, x, batch: int = 0):
    """A function of no arguments that computes the Jacobians at x, in float64, without copies; and where they are."""
    point = np.ascontiguousarray(x, np.float64)
    one = x[0] if batch else x
    function = jacobian_in_casadi(f, one, batch)
    result = np.zeros(function.size_out(0)[::-1])
    buffer, trigger = function.buffer()
    buffer.set_arg(0, memoryview(point.reshape(-1)))
    buffer.set_res(0, memoryview(result.reshape(-1)))

    def compute(_keep=(buffer, point, function)):
        trigger()
        return result

    return compute


def run(jaxpr, values):
    """The outputs of a jaxpr for columns and constant arrays."""
    plain = jx.opened(jaxpr)
    known = dict(zip(plain.constvars, map(np.asarray, getattr(jaxpr, "consts", ())), strict=True))
    known.update(zip(plain.invars, values, strict=True))
    read = lambda atom: known[atom] if jx.is_variable(atom) else np.asarray(atom.val)
    for eqn in plain.eqns:
        known.update(zip(eqn.outvars, outputs(eqn, [*map(read, eqn.invars)]), strict=True))
    return [read(v) for v in plain.outvars]


def outputs(eqn, inputs):
    name, shape = eqn.primitive.name, eqn.outvars[0].aval.shape
    if not any(isinstance(x, Column) for x in inputs):
        return [np.asarray(y) for y in jx.binding(eqn)(*inputs)]
    if name in jx.CALLS | jx.CHECKPOINTS | jx.CUSTOM_RULES:
        return run(jx.inner_jaxprs(eqn)[0], inputs)
    if name == "select_n" and not isinstance(inputs[0], Column):
        return moved(eqn, inputs)
    if name in ELEMENTWISE:
        return [Column(ELEMENTWISE[name](jx.parameters(eqn), *(broadcast(x, shape) for x in inputs)), shape)]
    if name in RULES:
        return RULES[name](eqn, inputs)
    raise Untranslatable(f"no translation of {name}")


def column(x):
    import casadi

    return x.entries if isinstance(x, Column) else casadi.DM(np.asarray(x, np.float64).reshape(-1))


def broadcast(x, shape):
    """The entries of x in the shape of an elementwise operation: CasADi repeats numbers, but no axes."""
    own = np.shape(x) if not isinstance(x, Column) else x.shape
    if own in ((), shape):
        return column(x)
    return taken(column(x), np.broadcast_to(np.arange(math.prod(own)).reshape(own), shape))


def taken(entries, positions):
    """The column of the entries at these positions. CasADi gives a row for entries of a single one."""
    import casadi

    return casadi.vec(entries[np.asarray(positions).reshape(-1).tolist()])


def matrix(entries, positions):
    """The matrix with the entries at these positions, (rows, columns)."""
    import casadi

    return casadi.reshape(taken(entries, positions.T), *positions.shape)


def moved(eqn, inputs):
    """A primitive that moves entries; what a gather fills in is 0."""
    import casadi

    parts, positions, count = [], [], 0
    for x, v in zip(inputs, eqn.invars, strict=True):
        if not isinstance(x, Column) and not np.issubdtype(v.aval.dtype, np.floating):
            positions.append(x)
            continue
        size = math.prod(v.aval.shape)
        positions.append(np.arange(count, count + size, dtype=np.int32).reshape(v.aval.shape))
        parts.append(column(x))
        count += size
    entries = casadi.vertcat(*parts, 0)
    return [Column(taken(entries, np.asarray(to) % (count + 1)), to.shape) for to in jx.moved(eqn, *positions)]


def reduced(combine):
    """The rule of a reduction, from a function that combines the columns of a matrix."""

    def rule(eqn, inputs):
        axes, shape = jx.reduced_axes(eqn), inputs[0].shape
        at = np.moveaxis(np.arange(math.prod(shape)).reshape(shape), axes, range(len(axes)))
        at = at.reshape(math.prod(shape[axis] for axis in axes), -1)
        return [Column(combine(matrix(column(inputs[0]), at.T)), eqn.outvars[0].aval.shape)]

    return rule


def dot_general(eqn, inputs):
    import casadi

    dot, arranged = jx.dot(eqn), []
    for place, v in enumerate(eqn.invars):
        shape = v.aval.shape
        axes = dot.batch[place], dot.free(place, len(shape)), dot.contracted[place]
        at = np.arange(math.prod(shape)).reshape(shape).transpose([axis for part in axes for axis in part])
        arranged.append(at.reshape([math.prod(shape[axis] for axis in part) for part in axes]))
    left, right = map(column, inputs)
    products = [casadi.mtimes(matrix(left, a), matrix(right, b.T)) for a, b in zip(*arranged, strict=True)]
    return [Column(casadi.vertcat(*[casadi.vec(p.T) for p in products]), eqn.outvars[0].aval.shape)]


def scan(eqn, inputs):
    import casadi

    p = jx.scan(eqn)
    fixed, carry, xs = p.split(inputs)
    stacked = []
    for i in reversed(range(p.length)) if p.reverse else range(p.length):
        y = run(p.body, [*fixed, *carry, *[element(x, i) for x in xs]])
        carry, later = y[: len(carry)], y[len(carry) :]
        stacked.insert(0 if p.reverse else len(stacked), later)
    shapes = [v.aval.shape for v in eqn.outvars[len(carry) :]]
    joined = zip(*stacked, strict=True)
    return [*carry, *(Column(casadi.vertcat(*map(column, ys)), s) for ys, s in zip(joined, shapes, strict=True))]


def element(x, i):
    if not isinstance(x, Column):
        return x[i]
    size = math.prod(x.shape[1:])
    return Column(x.entries[i * size : (i + 1) * size], x.shape[1:])


def of_casadi(name):
    """An elementwise function of CasADi by its name."""

    def apply(_, *xs):
        import casadi

        return getattr(casadi, name)(*xs)

    return apply


def select(_, condition, no, yes):
    import casadi

    return casadi.if_else(condition, yes, no)


def columns_of(m):
    import casadi

    return casadi.horzsplit(m)


same = lambda _, x: x
ELEMENTWISE = {
    "add": lambda _, x, y: x + y,
    "add_any": lambda _, x, y: x + y,
    "sub": lambda _, x, y: x - y,
    "mul": lambda _, x, y: x * y,
    "div": lambda _, x, y: x / y,
    "neg": lambda _, x: -x,
    "square": lambda _, x: x * x,
    "pow": lambda _, x, y: x**y,
    "integer_pow": lambda p, x: x ** p["y"],
    "rsqrt": lambda _, x: x**-0.5,
    "logistic": lambda _, x: 1 / (1 + of_casadi("exp")(_, -x)),
    "gt": lambda _, x, y: x > y,
    "ge": lambda _, x, y: x >= y,
    "lt": lambda _, x, y: x < y,
    "le": lambda _, x, y: x <= y,
    "eq": lambda _, x, y: x == y,
    "select_n": select,
    "max": of_casadi("fmax"),
    "min": of_casadi("fmin"),
    "abs": of_casadi("fabs"),
    **{name: of_casadi(name) for name in ("sqrt", "exp", "log", "log1p", "expm1", "sin", "cos", "tan", "tanh", "erf")},
    **{name: of_casadi(name) for name in ("asin", "acos", "atan", "atan2", "sinh", "cosh", "sign")},
    **dict.fromkeys((*jx.IDENTITIES, "convert_element_type", "stop_gradient"), same),
}
MOVING = (
    *("reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim", "slice", "dynamic_slice", "split", "rev"),
    *("pad", "concatenate", "gather", "dynamic_update_slice", "tile", "stack", "unstack"),
)
RULES = {
    **dict.fromkeys(MOVING, moved),
    "reduce_sum": reduced(lambda m: functools.reduce(operator.add, columns_of(m))),
    "reduce_max": reduced(lambda m: functools.reduce(lambda x, y: ELEMENTWISE["max"](None, x, y), columns_of(m))),
    "dot_general": dot_general,
    "scan": scan,
}
