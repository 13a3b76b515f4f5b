"""Writes random programs as Python text; all choices come from `below(n)`, a random integer from 0 to n − 1."""

import math
import string
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from tests.programs import control_flow
from tests.programs.program import HEAD, Program, namespace
from tests.programs.vocabulary import GROUPS

MOST = 24  # numbers in an array
INPUTS = [(3,), (2,), (), (2, 3), (3, 3), (4,), (1,), (2, 1), (1, 3), (2, 2), (6,), (2, 1, 3)]
KINDS = {"float32": "real", "bfloat16": "half", "complex64": "cplx", "int32": "int"}
AS_ANOTHER = {"b", "d", "w", "p", "y", "K", "axis", "shape"}  # slots whose shape depends on another slot
TOOL_PERCENTS = {  # of the programs that run each tool; the last take seconds each
    "graph": 35, "automatic": 40, "source": 50, "sparse": 50, "cut": 40, "structured": 40, "eliminate": 25,
    "products": 15, "reverse": 10, "forward": 10, "finite": 6, "best": 6, "contrast": 8, "audit": 3,
}  # fmt: skip


@dataclass(frozen=True)
class Value:
    """A variable of the program: its name, shape and kind of number."""

    name: str
    shape: tuple
    kind: str = "real"

    @property
    def type(self):
        dtype = {kind: dtype for dtype, kind in KINDS.items()}[self.kind]
        return jax.ShapeDtypeStruct(self.shape, dtype)

    @property
    def size(self):
        return math.prod(self.shape)


class Writer:
    """Writes the statements of one function, on the values in scope, including those of enclosing functions."""

    def __init__(self, below: Callable, values: list[Value], shared: dict | None = None):
        self.below = below
        self.values = list(values)
        self.lines: list[str] = []
        self.shared = shared or {"names": 0, "constants": [], "globals": namespace()}

    # --- choices -----------------------------------------------------------------------------------

    def one_of(self, choices):
        return choices[self.below(len(choices))]

    def chance(self, percent):
        return self.below(100) >= 100 - percent  # 0, the simplest choice, is False

    def fresh(self, letter="u"):
        self.shared["names"] += 1
        return f"{letter}{self.shared['names']}"

    def weighted(self, table):
        """A random key of a table of (weight, …)."""
        place = self.below(sum(weight for weight, *_ in table.values()))
        for key, (weight, *_) in table.items():
            if place < weight:
                return key
            place -= weight

    # --- statements --------------------------------------------------------------------------------

    def statements(self, count, depth=0):
        for _ in range(count):
            if depth < 2 and self.chance(22):
                control_flow.statement(self, depth)
            else:
                self.let(self.expression())

    def expression(self):
        template = self.one_of(GROUPS[self.weighted(GROUPS)][1])
        slots = {field for _, field, *_ in string.Formatter().parse(template) if field}
        given = {}
        for slot in sorted(slots, key=lambda slot: (slot in AS_ANOTHER, slot)):
            given[slot] = getattr(self, f"_{slot}")(given)
        return template.format(**{slot: getattr(value, "name", value) for slot, value in given.items()})

    def let(self, expression, before=()):
        """Writes `before` and `u7 = expression` if it is valid and small; returns the new values."""
        found, tree = self.types([*before, f"return {expression}"])
        if not found or any(len(shape) > 4 or math.prod(shape) > MOST or kind is None for shape, kind in found):
            return []
        new = [Value(self.fresh(), *type) for type in found]
        names = ", ".join(v.name for v in new)
        is_one = jax.tree_util.treedef_is_leaf(tree)
        self.lines += [*before, f"{names} = {expression}" if is_one else f"[{names}] = jax.tree.leaves({expression})"]
        self.values += new
        return new

    def types(self, lines):
        """Shapes and kinds of what `lines` return, given the values in scope, and its tree; empty if invalid."""
        given = {v.name: v.type for v in self.values}
        text = f"def _({', '.join(given)}):\n" + "\n".join(f"    {line}" for line in lines)
        scope = dict(self.shared["globals"])
        try:
            with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
                exec(text, scope)
                found, tree = jax.tree.flatten(jax.eval_shape(lambda given: scope["_"](**given), given))
        except Exception:  # an invalid statement is not written
            return [], None
        return [(y.shape, KINDS.get(str(y.dtype))) for y in found], tree

    def inner(self, parameters):
        """A writer for the body of an inner function, with this function's values in scope."""
        return Writer(self.below, self.values + parameters, self.shared)

    # --- values ------------------------------------------------------------------------------------

    def value(self, kind="real", suits=lambda v: True):
        """A value in scope, often the latest; None if none is suitable."""
        fit = [v for v in self.values if v.kind == kind and suits(v)]
        if not fit:
            return None
        return fit[-1 - self.below(len(fit))] if self.chance(60) else fit[-1 - self.below(min(2, len(fit)))]

    def of_shape(self, shape, kind="real"):
        """A value of a shape and kind: one in scope, or an expression for it."""
        found = self.value(kind, lambda v: v.shape == shape)
        if found and not self.chance(10):
            return found
        return self.as_shape(self.value("real", lambda v: v.size > 0), shape, kind)

    def as_shape(self, source, shape, kind="real"):
        """An expression that converts a value to another shape and kind."""
        source = source or Value("jnp.ones(3, real)", (3,))
        return Value(shaped(kinded(source, kind), source.shape, shape), shape, kind)

    def _a(self, given):
        return self.value() or self.of_shape((3,))

    _c = _a

    def _b(self, given):
        return self.of_shape(given["a"].shape if "a" in given else given["r"].shape)

    _d = _b

    def _r(self, given):
        return self.value(suits=lambda v: v.shape and v.size) or self.of_shape((3,))

    def _v(self, given):
        return self.value(suits=lambda v: len(v.shape) == 1 and v.size) or self.of_shape((self.below(3) + 2,))

    def _w(self, given):
        return self.of_shape(given["v"].shape)

    def _m(self, given):
        return self.value(suits=lambda v: len(v.shape) == 2 and v.size) or self.of_shape((2, 3))

    def _p(self, given):
        return self.of_shape((given["m"].shape[1], self.below(2) + 1))

    def _s(self, given):
        square = self.value(suits=lambda v: len(v.shape) == 2 and v.shape[0] == v.shape[1] and v.size)
        return square or self.of_shape((self.below(2) + 2,) * 2)

    def _x(self, given):
        found = self.value(suits=lambda v: v.shape == (1, 4, 4, 2))
        source = self._a(given)
        wave = f"jnp.sin(jnp.arange(32, dtype=real).reshape(1, 4, 4, 2) + {source.name}.sum())"
        return found or Value(wave, (1, 4, 4, 2))

    def _z(self, given):
        found = self.value("cplx")
        source = self._a(given)
        return found or Value(f"lax.complex({source.name}, jnp.cos({source.name}))", source.shape, "cplx")

    def _y(self, given):
        return self.of_shape(given["z"].shape, "cplx")

    def _h(self, given):
        source = self._a(given)
        return self.value("half") or Value(f"{source.name}.astype(half)", source.shape, "half")

    def _i(self, given):
        return self.value("int", lambda v: len(v.shape) == 1 and v.size) or Value("np.array([1, 0, 2])", (3,), "int")

    def _k(self, given):
        return self.below(4)

    def _f(self, given):
        return self.one_of(["0.5", "2.0", "-1.5", "np.float32(0.75)", "3"])

    def _K(self, given):
        return self.constant(given["a"].shape)

    def _axis(self, given):
        return self.below(len(given["r"].shape))

    def _shape(self, given):
        n = given["r"].size
        return self.one_of([(n,), (-1, 1), *[(d, n // d) for d in range(1, n + 1) if n % d == 0]])

    def constant(self, shape):
        """A global constant: a NumPy array in float32 or float64, or a JAX array."""
        name = f"C{len(self.shared['constants']) + 1}"
        made = self.one_of(["np.array({}, np.float32)", "jnp.array({}, real)", "np.array({}, np.float64)"])
        text = made.format(numbers(len(self.shared["constants"]) + 50, shape))
        self.shared["constants"].append(f"{name} = {text}")
        exec(self.shared["constants"][-1], self.shared["globals"])
        return Value(name, shape)


def shaped(name, old, new):
    """An expression that converts an array to another shape."""
    if old == new:
        return name
    if math.prod(old) == math.prod(new):
        return f"{name}.reshape({new})"
    if not math.prod(old):
        return f"jnp.zeros({new}, {name}.dtype)"
    return f"jnp.broadcast_to({name}.sum(), {new})" if len(new) < 2 else f"jnp.resize({name}, {new})"


def kinded(value, kind):
    """An expression that converts a real array to another kind."""
    other = {"half": "{}.astype(half)", "cplx": "lax.complex({0}, 0.5 * {0})", "int": "jnp.floor({}).astype(jnp.int32)"}
    return other[kind].format(value.name) if kind in other else value.name


def numbers(seed, shape):
    """A nested list of distinct sixteenths, which are exact in all dtypes."""
    n = math.prod(shape)
    found = np.random.default_rng(seed).permutation(np.r_[-24:-1, 2:25])[: max(n, 1)] / 16
    return np.resize(found, shape).tolist()


def written(below: Callable) -> Program:
    """A program of 2 to 5 statements, each of about one to ten equations, with arguments and the tools to run."""
    writer = Writer(below, [])
    parameters, arguments, in_floats = _arguments(writer)
    writer.statements(2 + below(4))
    outputs = _outputs(writer)
    body = "\n".join(f"    {line}" for line in [*writer.lines, f"return {outputs}"])
    tools = [tool for tool, percent in TOOL_PERCENTS.items() if writer.chance(percent)] or ["graph"]
    real = writer.one_of(["float32"] * 7 + ["float64", "float64", "bfloat16"])
    text = "\n".join([
        HEAD, f"real, half, cplx = jnp.{real}, jnp.bfloat16, jnp.complex{128 if real == 'float64' else 64}",
        *writer.shared["constants"], "", "", f"def f({', '.join(parameters)}):", body, "", "",
        f"args = ({', '.join(arguments)},)", f"argnums = {in_floats}", f"tools = {tools}", "",
    ])  # fmt: skip
    return Program(text)


def _arguments(writer):
    """Names of the arguments, their values as text, and the positions of the differentiable ones."""
    parameters, arguments, places = [], [], []
    for i in range(1 + writer.below(3)):
        name, shape = "xyz"[i], writer.one_of(INPUTS)
        shape = (0,) if writer.chance(2) else shape
        number = f"jnp.array({numbers(i, shape)}, real)"
        if writer.chance(12):
            second = f"jnp.array({numbers(i + 10, (2,))}, real)"
            arguments.append(f"{{'a': {number}, 'b': [{second}]}}")
            writer.lines += [f"{name}a, {name}b = {name}['a'], {name}['b'][0]"]
            writer.values += [Value(f"{name}a", shape), Value(f"{name}b", (2,))]
        elif writer.chance(4):
            arguments.append(f"{number}.astype(cplx) * (1 + 0.5j)")
            writer.values.append(Value(name, shape, "cplx"))
        else:
            arguments.append(number)
            writer.values.append(Value(name, shape))
        parameters.append(name)
        places.append(i)
    if len(places) > 1 and writer.chance(20):
        places.pop(writer.below(len(places)))
    if writer.chance(20):
        parameters.append("i")
        arguments.append("jnp.array([2, 0, 2])")
        writer.values.append(Value("i", (3,), "int"))
    if writer.chance(8):
        parameters.append("n")
        arguments.append("2")
        writer.let(f"{writer._a({}).name}.astype(real) ** 2")
        writer.lines = [line.replace("** 2", "** n") for line in writer.lines]
    return parameters, arguments, places[0] if len(places) == 1 and writer.chance(70) else tuple(places)


def _outputs(writer):
    """The returned expression: the last value, alone or with others in a tuple or dictionary."""
    smooth = [v for v in writer.values if v.kind in ("real", "half")]
    last = smooth[-1]
    some = [last, *[writer.one_of(smooth) for _ in range(writer.below(3) if writer.chance(40) else 0)]]
    if writer.chance(15):
        return f"{last.name}.astype(real).sum()"
    if len(some) == 1:
        return some[0].name
    if writer.chance(50):
        return f"({', '.join(v.name for v in some)},)"
    return "{" + ", ".join(f"'{'kba'[j]}': {v.name}" for j, v in enumerate(some)) + "}"
