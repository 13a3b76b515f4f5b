"""What is known of a value in a jaxpr: its type, its dependence on the inputs, and its constant value if it has one."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import jax.core
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.entry_positions import IN_NUMPY, broadcast, positions, rearranged
from jaxdl.jacobian.analysis.pattern.dependence import Dependence, groups, take, through


class Constant:
    """A value that follows from constants, computed when it is first used."""

    def __init__(self, compute: Callable[[], Any]):
        self._compute: Callable[[], Any] | None = compute
        self._value: Any = None

    def value(self) -> Any:
        """The value, or None if it cannot be computed here."""
        if self._compute is not None:
            self._value, self._compute = self._compute(), None
        return self._value


@dataclass(eq=False)
class Value:
    """A value in a jaxpr.

    Attributes:
        aval: Its shape and dtype.
        dependence: On the inputs; None if it depends on none.
        constant: None if the value is not known.
        parts: Of integers and booleans that are known in part, the array and where it is unknown.
    """

    aval: Any
    dependence: Dependence | None = None
    constant: Constant | None = field(default=None, repr=False)
    parts: Constant | None = field(default=None, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.aval.shape

    @property
    def size(self) -> int:
        return math.prod(self.aval.shape)

    def positions(self, start: int = 0) -> np.ndarray:
        """The position of each entry, from `start`, in the value's shape."""
        return positions(self.shape, start)

    @property
    def is_rounded(self) -> bool:
        """Whether the dependence has rows that count as full because there were too many entries."""
        return self.dependence is not None and self.dependence.is_rounded

    def array(self) -> np.ndarray | None:
        """The value as a NumPy array; None if it is not known."""
        value = None if self.constant is None else self.constant.value()
        if value is not None:
            return np.asarray(value)
        self.constant = None
        parts = None if self.parts is None else self.parts.value()
        return None if parts is None or parts[1].any() else np.asarray(parts[0])

    def in_parts(self) -> tuple[np.ndarray, np.ndarray]:
        """The value as an array, with zeros where it is unknown, and a mask of where it is unknown."""
        known = self.array()
        if known is not None:
            return known, np.zeros(self.shape, bool)
        if self.parts is None:
            return np.zeros(self.shape, self.aval.dtype), np.ones(self.shape, bool)
        array, unknown = self.parts.value()
        return np.where(unknown, 0, array), unknown

    def broadcast_to(self, shape: tuple[int, ...]) -> Dependence | None:
        """The dependence of the value when it is broadcast to a shape."""
        if self.shape == shape:
            return self.dependence
        return take(self.dependence, np.broadcast_to(self.positions(), shape))

    def together(self) -> Dependence | None:
        """The dependence of all entries together, as one row."""
        return self.dependence and through(groups(np.arange(self.size), 1), self.dependence)


class Propagate(Protocol):
    """What rules see of `Propagation`."""

    n: int

    def __call__(self, jaxpr: Any, values: list[Value]) -> list[Value]: ...

    def inside(self, n: int) -> Propagate: ...

    def report(self, eqn: Any, why: str = "") -> None: ...


# The dependence of each output of an equation: rule(propagate, eqn, values of its inputs).
DependenceRule = Callable[[Any, Any, list[Value]], Sequence[Dependence | None]]


def known(value: Any, aval: Any) -> Value:
    """A constant of a jaxpr."""
    if isinstance(value, jax.core.Tracer):
        return Value(aval)
    return Value(aval, None, Constant(lambda: value))


def is_partly_known(values: Sequence[Value]) -> bool:
    """Whether some of these values are known, but not all."""
    known_in_part = sum(v.constant is not None or v.parts is not None for v in values)
    return known_in_part > 0 and any(v.constant is None for v in values)


def fold(eqn: Any, values: Sequence[Value]) -> list[Value]:
    """The outputs of an equation that depends on no input: constants if all its inputs are."""
    avals = [v.aval for v in eqn.outvars]
    constants = [v.constant for v in values if v.constant is not None]
    if eqn.effects or eqn.primitive.name in jx.CALLBACKS:
        return [Value(aval) for aval in avals]
    if len(constants) < len(values):
        return _folded_in_parts(eqn, values) if is_partly_known(values) else [Value(aval) for aval in avals]
    whole = Constant(lambda: _computed(eqn, [constant.value() for constant in constants]))
    part = lambda i: Constant(lambda: None if whole.value() is None else whole.value()[i])
    return [Value(aval, None, part(i)) for i, aval in enumerate(avals)]


def _computed(eqn: Any, inputs: list[Any]) -> list[Any] | None:
    if any(x is None for x in inputs):
        return None
    if eqn.primitive.name in _ARITHMETIC and _is_same_in_numpy(eqn):
        return _in_numpy(eqn, inputs)
    with jax.ensure_compile_time_eval():
        y = jx.binding(eqn)(*inputs)
    return None if any(isinstance(leaf, jax.core.Tracer) for leaf in y) else y


def _folded_in_parts(eqn: Any, values: Sequence[Value]) -> list[Value]:
    """The outputs of an equation on indices of which some are known, if NumPy can show which of its outputs are."""
    avals = [v.aval for v in (*eqn.invars, *eqn.outvars)]
    is_index = lambda aval: isinstance(aval.dtype, np.dtype) and aval.dtype.kind in "biu"
    moves, computes = eqn.primitive.name in IN_NUMPY, eqn.primitive.name in _ARITHMETIC and _is_same_in_numpy(eqn)
    if not all(map(is_index, avals)) or not (moves or computes) or jx.unknown_parameter(eqn):
        return [Value(v.aval) for v in eqn.outvars]

    def compute():
        arrays, unknown = zip(*[v.in_parts() for v in values], strict=True)
        if moves:
            return list(zip(rearranged(eqn, arrays), rearranged(eqn, unknown), strict=True))
        if eqn.primitive.name == "select_n":
            chosen = np.choose(arrays[0], unknown[1:]) | unknown[0]
        else:
            chosen = functools.reduce(np.logical_or, unknown)
        (y,) = _in_numpy(eqn, arrays)
        return [(y, np.broadcast_to(chosen, y.shape))]

    whole = Constant(compute)
    part = lambda i: Constant(lambda: whole.value()[i])
    return [Value(v.aval, parts=part(i)) for i, v in enumerate(eqn.outvars)]


def _in_numpy(eqn: Any, inputs: Sequence[Any]) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        y = _ARITHMETIC[eqn.primitive.name](*map(np.asarray, inputs), **jx.parameters(eqn))
    return [np.asarray(y, eqn.outvars[0].aval.dtype)]


def _is_same_in_numpy(eqn: Any) -> bool:
    """Whether NumPy gives the same result; it may round or clip differently when it converts to a narrower kind."""
    types = [v.aval.dtype for v in (*eqn.invars, *eqn.outvars)]
    if jx.unknown_parameter(eqn) or not all(isinstance(dtype, np.dtype) and dtype.kind in "biufc" for dtype in types):
        return False
    return eqn.primitive.name != "convert_element_type" or np.can_cast(types[0], types[1], "same_kind")


# For indices and masks, which JAX would compile for each shape.
_ARITHMETIC: dict[str, Callable[..., Any]] = {
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
    "iota": lambda shape, dimension, **_: broadcast(np.arange(shape[dimension]), shape, (dimension,)),
    **{name: IN_NUMPY[name] for name in ("broadcast_in_dim", "concatenate", "reshape", "squeeze")},
}
