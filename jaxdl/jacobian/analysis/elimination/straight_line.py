"""A jaxpr as a sequence of equations between numbered values, with calls inlined and known values evaluated.

Equal equations on equal values become one (value numbering), so that their scalars are one vertex of the graph.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.core
import numpy as np

from jaxdl import jaxpr as jx

INLINED = jx.CALLS | jx.CHECKPOINTS


@dataclasses.dataclass(frozen=True)
class NumberedEquation:
    """An equation with the numbers of its inputs and outputs."""

    eqn: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def evaluate(self, values: Sequence[Any]) -> list[Any]:
        return jx.binding(self.eqn)(*values)


class StraightLine:
    """The equations of a closed jaxpr, in order.

    Args:
        jaxpr: The closed jaxpr.
        known: The values of those inputs that are constants, by their places.

    Attributes:
        steps: The equations.
        inputs: The numbers of the inputs, 0, 1, …
        outputs: The numbers of the outputs.
        given: The values of constants, by number.
    """

    def __init__(self, jaxpr: Any, known: Mapping[int, Any] | None = None):
        self.steps: list[NumberedEquation] = []
        self.given: dict[int, Any] = {}
        self.count: int = 0
        self._literals, self._seen = {}, {}
        self.inputs: list[int] = [self._new() for _ in jx.opened(jaxpr).invars]
        self.given.update({self.inputs[place]: value for place, value in (known or {}).items()})
        self.outputs: list[int] = self._inline(jaxpr, self.inputs)

    def evaluate(self, arguments: Sequence[Any], outputs: Sequence[int]) -> list[Any]:
        """The values with the numbers `outputs`, by the steps that they need."""
        needed, steps = set(outputs), []
        for step in reversed(self.steps):
            if needed.intersection(step.outputs):
                needed.update(step.inputs)
                steps.append(step)
        values = self.given | dict(zip(self.inputs, arguments, strict=True))
        for step in reversed(steps):
            values.update(zip(step.outputs, step.evaluate([values[i] for i in step.inputs]), strict=True))
        return [values[number] for number in outputs]

    def known(self, number: int) -> Any:
        """The value with a number if it is a constant, else None."""
        value = self.given.get(number)
        return None if value is None or isinstance(value, jax.core.Tracer) else value

    def _new(self):
        self.count += 1
        return self.count - 1

    def _constant(self, value):
        number = self._new()
        self.given[number] = value
        return number

    def _literal(self, atom):
        key = atom.aval, np.asarray(atom.val).tobytes()
        if key not in self._literals:
            self._literals[key] = self._constant(atom.val)
        return self._literals[key]

    def _inline(self, jaxpr, inputs):
        plain = jx.opened(jaxpr)
        numbers = dict(zip(plain.invars, inputs, strict=True))
        numbers.update(zip(plain.constvars, map(self._constant, getattr(jaxpr, "consts", ())), strict=True))
        read = lambda atom: numbers[atom] if jx.is_variable(atom) else self._literal(atom)
        for eqn in jx.needed_equations(jaxpr):
            numbers.update(zip(eqn.outvars, self._equation(eqn, tuple(map(read, eqn.invars))), strict=True))
        return [read(atom) for atom in plain.outvars]

    def _equation(self, eqn, inputs):
        if eqn.primitive.name in INLINED and not jx.unknown_parameter(eqn):
            return self._inline(jx.inner_jaxprs(eqn)[0], inputs)
        key = _key(eqn, inputs)
        if key in self._seen:
            return self._seen[key]
        step = NumberedEquation(eqn, inputs, tuple(self._new() for _ in eqn.outvars))
        values = list(map(self.known, inputs))
        is_pure = not eqn.effects and eqn.primitive.name not in jx.CALLBACKS
        if is_pure and all(value is not None for value in values):
            with jax.ensure_compile_time_eval():
                self.given.update(zip(step.outputs, step.evaluate(values), strict=True))
        else:
            self.steps.append(step)
        if key is not None:
            self._seen[key] = step.outputs
        return step.outputs


def _key(eqn, inputs):
    """A key that equal equations share; None for an equation that cannot be compared."""
    if eqn.effects or jx.inner_jaxprs(eqn) or eqn.primitive.name in jx.CALLBACKS:
        return None
    try:
        key = eqn.primitive, inputs, tuple(sorted(jx.parameters(eqn).items(), key=lambda item: item[0]))
        hash(key)
    except TypeError:
        return None
    return key
