"""The straight-line code of an elimination order: products and sums of partial derivatives, each computed once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxdl.jacobian.analysis.elimination.scalar_graphs import ScalarGraph

Operand = Any  # a constant, or (sign, step)


@dataclasses.dataclass(frozen=True)
class Accumulation:
    """Straight-line code for the Jacobian.

    Attributes:
        steps: ("partial", number, place), ("·", step, step or constant), ("+" or "−", step, step or constant).
        entries: The Jacobian's nonzero entries by (row, column): a constant, or (sign, step).
    """

    steps: list[tuple[str, Any, Any]]
    entries: dict[tuple[int, int], Operand]

    @property
    def multiplications(self) -> int:
        return sum(step[0] == "·" for step in self.steps)


def accumulate(graph: ScalarGraph, order: Sequence[int]) -> Accumulation:
    """Eliminates the vertices of a graph in this order; products by ±1 and of constants take no step."""
    code = _Code()
    ins, outs = {}, {}
    for (u, v), weight in graph.edges.items():
        ins.setdefault(v, {})[u] = outs.setdefault(u, {})[v] = code.partial(weight)
    for v in order:
        before, after = ins.pop(v, {}), outs.pop(v, {})
        for u in before:
            del outs[u][v]
        for w in after:
            del ins[w][v]
        for u, a in before.items():
            for w, b in after.items():
                new = code.times(a, b)
                if w in outs[u]:
                    new = code.plus(outs[u][w], new)
                outs[u][w] = ins[w][u] = new
                if new == 0.0:
                    del outs[u][w], ins[w][u]
    entries = {(i, u): w for i, v in enumerate(graph.outputs) for u, w in ins.get(v, {}).items()}
    return Accumulation(code.steps, entries)


class _Code:
    """Steps in order, equal ones once: a·b is b·a, and signs are kept apart."""

    def __init__(self):
        self.steps: list[tuple[str, Any, Any]] = []
        self._numbers: dict[Any, int] = {}

    def step(self, kind: str, a: Any, b: Any) -> int:
        key = (kind, a, b, type(a), type(b))  # the number 2 of a step is not the constant 2.0
        if key not in self._numbers:
            self._numbers[key] = len(self.steps)
            self.steps.append((kind, a, b))
        return self._numbers[key]

    def partial(self, weight: Any) -> Operand:
        """A partial derivative: a number, or a sum of terms (see `ScalarGraph`)."""
        if isinstance(weight, float):
            return weight
        sign, number, place = weight[0]
        total: Operand = (sign, self.step("partial", number, place))
        for term in weight[1:]:
            total = self.plus(total, self.partial((term,)) if isinstance(term, tuple) else term)
        return total

    def times(self, a: Operand, b: Operand) -> Operand:
        if isinstance(a, float) and isinstance(b, float):
            return a * b
        if isinstance(b, float):
            a, b = b, a
        if isinstance(a, float):
            sign = -b[0] if a < 0 else b[0]
            return (sign, b[1]) if abs(a) == 1.0 else (sign, self.step("·", b[1], abs(a)))
        return a[0] * b[0], self.step("·", *sorted((a[1], b[1])))

    def plus(self, a: Operand, b: Operand) -> Operand:
        if isinstance(a, float) and isinstance(b, float):
            return a + b
        if isinstance(a, float):
            a, b = b, a
        if isinstance(b, float):
            return a[0], self.step("+", a[1], a[0] * b)
        (s, i), (t, j) = sorted((a, b), key=lambda operand: operand[1])
        if i == j:
            return 0.0 if s == -t else (s, self.step("·", i, 2.0))
        return s, self.step("+" if s == t else "−", i, j)
