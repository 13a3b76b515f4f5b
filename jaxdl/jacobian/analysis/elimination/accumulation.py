"""What is left to compute once the order is known: products and sums of partials, each once."""

import dataclasses

from jaxdl.jacobian.analysis.elimination.scalar_graph import ScalarGraph


@dataclasses.dataclass(frozen=True)
class Accumulation:
    """Straight-line code for the Jacobian: `steps` are ("·", a, b) and ("+", a, b), a partial, or a constant.

    Values are (sign, step), or a number where they are constant. entries: the Jacobian's nonzero ones, by (row,
    column).
    """

    steps: list
    entries: dict

    @property
    def multiplications(self) -> int:
        return sum(step[0] == "·" for step in self.steps)


def accumulation(graph: ScalarGraph, order) -> Accumulation:
    """Eliminates the vertices of a graph in this order; products by ±1 and of constants take no step."""
    steps = _Steps()
    ins, outs = {}, {}
    for (u, v), weight in graph.edges.items():
        ins.setdefault(v, {})[u] = outs.setdefault(u, {})[v] = steps.partial(weight)
    for v in order:
        before, after = ins.pop(v, {}), outs.pop(v, {})
        for u in before:
            del outs[u][v]
        for w in after:
            del ins[w][v]
        for u, a in before.items():
            for w, b in after.items():
                new = steps.times(a, b)
                if w in outs[u]:
                    new = steps.plus(outs[u][w], new)
                outs[u][w] = ins[w][u] = new
                if new == 0.0:
                    del outs[u][w], ins[w][u]
    return Accumulation(
        steps.listed, {(i, u): w for i, v in enumerate(graph.outputs) for u, w in ins.get(v, {}).items()}
    )


class _Steps:
    """Steps in order, equal ones once: a·b is b·a, and signs are kept apart."""

    def __init__(self):
        self.listed, self.numbers = [], {}

    def step(self, *step):
        key = (*step, *map(type, step))  # a step's number 2 is not the constant 2.0
        if key not in self.numbers:
            self.numbers[key] = len(self.listed)
            self.listed.append(step)
        return self.numbers[key]

    def partial(self, weight):
        if isinstance(weight, float):
            return weight
        sign, number, place = weight[0]
        total = (sign, self.step("partial", number, place))
        for term in weight[1:]:
            total = self.plus(total, self.partial((term,)) if isinstance(term, tuple) else term)
        return total

    def times(self, a, b):
        if isinstance(a, float) and isinstance(b, float):
            return a * b
        if isinstance(b, float):
            a, b = b, a
        if isinstance(a, float):
            sign = -b[0] if a < 0 else b[0]
            return (sign, b[1]) if abs(a) == 1.0 else (sign, self.step("·", b[1], abs(a)))
        return a[0] * b[0], self.step("·", *sorted((a[1], b[1])))

    def plus(self, a, b):
        if isinstance(a, float) and isinstance(b, float):
            return a + b
        if isinstance(a, float):
            a, b = b, a
        if isinstance(b, float):
            return a[0], self.step("+", a[1], a[0] * b)
        (s, i), (t, j) = sorted((a, b), key=lambda value: value[1])
        if i == j:
            return 0.0 if s == -t else (s, self.step("·", i, 2.0))
        return s, self.step("+" if s == t else "−", i, j)
