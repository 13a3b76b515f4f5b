"""What is known of a value on the way through a jaxpr: its type, its dependence on the inputs, its constant if any."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.pattern.dependence import Dependence, take


class Constant:
    """A value that follows from constants: computed when a rule asks for it, and only then."""

    def __init__(self, compute: Callable):
        self.compute = compute

    def value(self):
        """The value, or None where it turned out that it cannot be computed here."""
        if self.compute is not None:
            self.result, self.compute = self.compute(), None
        return self.result


@dataclass(eq=False)
class Value:
    """aval: shape and dtype. dependence: None for none. constant: None where the value is not known."""

    aval: Any
    dependence: Dependence | None = None
    constant: Constant | None = field(default=None, repr=False)

    @property
    def shape(self):
        return self.aval.shape

    @property
    def size(self) -> int:
        return math.prod(self.aval.shape)

    def index(self, before: int = 0):
        """The number of each entry, in the value's shape."""
        return np.arange(before, before + self.size, dtype=np.int32).reshape(self.shape)

    def array(self):
        """The value as a NumPy array; None where it is not known."""
        value = None if self.constant is None else self.constant.value()
        if value is None:
            self.constant = None
            return None
        return np.asarray(value)

    def widened(self, shape):
        """The dependence in a larger shape: axes of size one serve all entries along them."""
        return self.dependence if self.shape == shape else take(self.dependence, np.broadcast_to(self.index(), shape))


def known(value, aval) -> Value:
    if isinstance(value, jax.core.Tracer):
        return Value(aval)
    return Value(aval, None, Constant(lambda: value))


def fold(eqn, values) -> list[Value]:
    """The outputs of an equation that depends on no input: known if its inputs are, computed if anyone asks."""
    avals = [v.aval for v in eqn.outvars]
    if eqn.effects or eqn.primitive.name in jx.CALLBACKS or any(v.constant is None for v in values):
        return [Value(aval) for aval in avals]
    whole = Constant(lambda: _computed(eqn, [v.constant.value() for v in values]))
    part = lambda i: Constant(lambda: None if whole.value() is None else whole.value()[i])
    return [Value(aval, None, part(i)) for i, aval in enumerate(avals)]


def _computed(eqn, inputs):
    if any(x is None for x in inputs):
        return None
    name = eqn.primitive.name
    if name in _PLAIN and _is_plain(eqn):
        with np.errstate(all="ignore"):
            y = _PLAIN[name](*map(np.asarray, inputs), **jx.parameters(eqn))
        return [np.asarray(y, eqn.outvars[0].aval.dtype)]
    with jax.ensure_compile_time_eval():
        y = jx.binding(eqn)(*inputs)
    return None if any(isinstance(leaf, jax.core.Tracer) for leaf in y) else y


def _is_plain(eqn):
    """Whether NumPy means the same: where numbers become narrower of kind, it does not round and clip as XLA does."""
    types = [v.aval.dtype for v in (*eqn.invars, *eqn.outvars)]
    if jx.unknown_parameter(eqn) or not all(isinstance(dtype, np.dtype) and dtype.kind in "biufc" for dtype in types):
        return False
    return eqn.primitive.name != "convert_element_type" or np.can_cast(types[0], types[1], "same_kind")


def broadcast(a, shape, dimensions):
    """`jax.lax.broadcast_in_dim`: axis i of a is axis dimensions[i] of the result."""
    aligned = np.ones(len(shape), int)
    aligned[list(dimensions)] = a.shape
    return np.broadcast_to(a.reshape(aligned), shape)


def reshaped(a, new_sizes, dimensions, **_):
    """`jax.lax.reshape`: with `dimensions` the axes come into that order first."""
    return (a if dimensions is None else a.transpose(dimensions)).reshape(new_sizes)


# Arithmetic on indices and masks, without a compilation for each shape.
_PLAIN = {
    "add": lambda a, b, **_: a + b,
    "sub": lambda a, b, **_: a - b,
    "mul": lambda a, b, **_: a * b,
    "lt": lambda a, b, **_: a < b,
    "le": lambda a, b, **_: a <= b,
    "gt": lambda a, b, **_: a > b,
    "ge": lambda a, b, **_: a >= b,
    "eq": lambda a, b, **_: a == b,
    "ne": lambda a, b, **_: a != b,
    "and": lambda a, b, **_: a & b,
    "or": lambda a, b, **_: a | b,
    "select_n": lambda which, *cases, **_: np.choose(which, cases),
    "convert_element_type": lambda a, **_: a,
    "broadcast_in_dim": lambda a, shape, broadcast_dimensions, **_: broadcast(a, shape, broadcast_dimensions),
    "iota": lambda shape, dimension, **_: broadcast(np.arange(shape[dimension]), shape, (dimension,)),
    "concatenate": lambda *parts, dimension, **_: np.concatenate(parts, dimension),
    "reshape": reshaped,
    "squeeze": lambda a, dimensions, **_: a.squeeze(dimensions),
}
