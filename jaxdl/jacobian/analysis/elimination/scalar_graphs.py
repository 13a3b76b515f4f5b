"""A function of vectors as a graph of scalars, whose edges are local partial derivatives.

    ∂y_i/∂x_j = Σ over paths from x_j to y_i, Π over the path's edges                       (Bauer's formula)

Slices, reshapes, concatenations and the like only rename scalars and add no vertices; neither do + constant and · 1.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.elimination.partials import local_jacobian, most_partials
from jaxdl.jacobian.analysis.elimination.straight_line import NumberedEquation, StraightLine
from jaxdl.jacobian.analysis.entry_positions import IN_NUMPY, rearranged
from jaxdl.jacobian.analysis.vector_function import VectorFunction

MOST_VERTICES = 4096
MOST_EDGES = 65536


@dataclasses.dataclass(frozen=True)
class ScalarGraph:
    """A graph of scalars.

    Attributes:
        n: Vertices 0 … n−1 are the inputs.
        inner: The vertices to eliminate, in the order of evaluation.
        edges: edges[u, v] is ∂v/∂u: a number where it is constant, else a tuple of terms to be added. A term is a
            number, or (sign, number, place) for an entry of a value that `partials` computes. Equal partial
            derivatives have equal names.
        outputs: The vertex of each output, None for a constant.
        partials: Computes the partial derivatives from x and the function's other arrays.
    """

    n: int
    inner: range
    edges: dict[tuple[int, int], Any]
    outputs: list[int | None]
    partials: StraightLine

    @property
    def fingerprint(self) -> str:
        """A hash of the edges and of the constants on them."""
        edges = sorted([u, v, w if isinstance(w, float) else None] for (u, v), w in self.edges.items())
        return hashlib.sha256(json.dumps([self.n, self.outputs, edges]).encode()).hexdigest()[:16]


def scalar_graph(function: VectorFunction) -> ScalarGraph:
    """The graph of a function, without vertices that reach no output.

    Raises:
        ValueError: If it has more than MOST_VERTICES vertices or MOST_EDGES edges.
        TypeError: If it has complex numbers.
    """
    return _Builder(function).graph()


class _Builder:
    """Gives each value that depends on x the vertices of its entries, −1 for an entry that does not depend on x."""

    def __init__(self, function: VectorFunction):
        self.function, self.n = function, function.n
        self.known = {1 + i: c for i in range(len(function.constants)) if (c := function.constant(i)) is not None}
        self.line = StraightLine(function.jaxpr, self.known)
        self.vertices: dict[int, np.ndarray] = {self.line.inputs[0]: np.arange(function.n)}
        self.incoming: list[dict[int, Any]] = [{} for _ in range(function.n)]
        self.computed: dict[int, Callable[..., Any]] = {}
        self.slots, self.edges = 0, 0
        for at, step in enumerate(self.line.steps):
            self.add(at, step)

    def add(self, at: int, step: NumberedEquation) -> None:
        """Adds the vertices and edges of an equation."""
        moving = [j for j, number in enumerate(step.inputs) if number in self.vertices]
        if not moving:
            return
        if any(jnp.issubdtype(v.aval.dtype, jnp.complexfloating) for v in step.eqn.outvars):
            raise TypeError(
                f"jacobian.{self.function.name}: takes real functions without complex numbers inside, got "
                f"{jx.typed(step.eqn.outvars[0].aval)} from {step.eqn.primitive.name} at {jx.where(step.eqn)}; use "
                f"jacobian.reverse, jacobian.cut or jacobian.sparse"
            )
        known = [*map(self.line.known, step.inputs)]
        renamed = _renamed(step.eqn, [self.vertices.get(i) for i in step.inputs], known)
        if renamed is not None:
            moved = [(i, vertices) for i, vertices in zip(step.outputs, renamed, strict=True) if (vertices >= 0).any()]
            self.vertices.update(moved)
            return
        self.check_size(len(self.incoming), self.edges + most_partials(step.eqn, moving))
        local = local_jacobian(step.eqn, moving, known)
        if local is not None:
            self.add_partials(at, step, local)

    def add_partials(self, at: int, step: NumberedEquation, local: Any) -> None:
        incoming = [[{} for _ in range(v.aval.size)] for v in step.eqn.outvars]
        for p in local.partials:
            sources = self.vertices[step.inputs[p.operand]].reshape(-1)[p.cols]
            values = p.constant.tolist() if p.constant is not None else [(self.slots, i) for i in p.index.tolist()]
            for row, u, w in zip(p.rows.tolist(), sources.tolist(), values, strict=True):
                if u >= 0 and w != 0.0:
                    incoming[p.output][row].setdefault(u, []).append(w)
            if p.constant is None:
                self.computed[at] = local.compute
                self.slots += 1
        for number, v, entries in zip(step.outputs, step.eqn.outvars, incoming, strict=True):
            vertices = np.array([self.vertex(edges) for edges in entries], int).reshape(v.aval.shape)
            if (vertices >= 0).any():
                self.vertices[number] = vertices

    def vertex(self, terms: dict[int, list[Any]]) -> int:
        """The vertex of a scalar with these partial derivatives: −1 if there is none, one with which it is equal, or a
        new one.
        """
        edges = {u: weight for u, listed in terms.items() if (weight := _added(listed)) != 0.0}
        if not edges:
            return -1
        if len(edges) == 1 and next(iter(edges.values())) == 1.0:
            return next(iter(edges))
        self.incoming.append(edges)
        self.edges += len(edges)
        self.check_size(len(self.incoming), self.edges)
        return len(self.incoming) - 1

    def check_size(self, vertices: int, edges: int) -> None:
        if vertices > MOST_VERTICES or edges > MOST_EDGES:
            raise ValueError(
                f"jacobian.{self.function.name}: the graph of scalars has {vertices:,} vertices and {edges:,} edges so "
                f"far; the most are {MOST_VERTICES:,} and {MOST_EDGES:,}; jacobian.cut, jacobian.sparse and "
                f"jacobian.forward work on arrays"
            )

    def graph(self) -> ScalarGraph:
        outputs = self.vertices.get(self.line.outputs[0])
        outputs = [-1] if outputs is None else outputs.tolist()
        ends = {u: len(self.incoming) + i for i, u in enumerate(dict.fromkeys(u for u in outputs if u >= 0))}
        kept, todo = set(), list(ends)
        while todo:
            v = todo.pop()
            if v not in kept:
                kept.add(v)
                todo += self.incoming[v]
        used = {u for v in kept for u in self.incoming[v]}
        # An output that nothing else uses is an end itself; others get a new end, by an edge of 1.
        edges = {v: self.incoming[v] for v in sorted(kept) if v >= self.n}
        for u, end in ends.items():
            edges[end] = {u: 1.0} if u in used or u < self.n else edges.pop(u)
        inner = [v for v in edges if v < len(self.incoming)]
        new = {v: v for v in range(self.n)} | {v: self.n + i for i, v in enumerate((*inner, *ends.values()))}
        partials, named = self.partials()
        return ScalarGraph(
            self.n,
            range(self.n, self.n + len(inner)),
            {
                (new[u], new[v]): weight if isinstance(weight, float) else _added([named(term) for term in weight])
                for v, sources in edges.items()
                for u, weight in sources.items()
            },
            [new[ends[u]] if u >= 0 else None for u in outputs],
            partials,
        )

    def partials(self) -> tuple[StraightLine, Callable[..., Any]]:
        """What computes the partial derivatives, and a function from a term to its name there."""
        line = StraightLine(jx.trace(self.slots_of, self.function.x, *self.function.others)[0], self.known)
        negated = {step.outputs[0]: step.inputs[0] for step in line.steps if step.eqn.primitive.name == "neg"}

        def named(term):
            if isinstance(term, float):
                return term
            slot, place = term
            number, sign = line.outputs[slot], 1.0
            while number in negated:
                number, sign = negated[number], -sign
            known = line.known(number)
            return (sign, number, place) if known is None else sign * float(np.asarray(known).reshape(-1)[place])

        return line, named

    def slots_of(self, *arguments) -> list[Any]:
        """The computed arrays of partial derivatives, in order; `arguments` are x and the function's other arrays."""
        values, slots = self.line.given | dict(zip(self.line.inputs, arguments, strict=True)), []
        for at, step in enumerate(self.line.steps):
            inputs = [values[number] for number in step.inputs]
            outputs = step.evaluate(inputs)
            values.update(zip(step.outputs, outputs, strict=True))
            if at in self.computed:
                slots += self.computed[at](inputs, outputs)
        return slots


def _added(terms: Sequence[Any]) -> float | tuple[Any, ...]:
    """The sum of terms: a number, or a tuple of terms with at most one number."""
    constant = sum(t for t in terms if isinstance(t, float))
    computed = tuple(t for t in terms if not isinstance(t, float))
    return float(constant) if not computed else computed if constant == 0 else (*computed, float(constant))


# --- renaming ----------------------------------------------------------------------------------------------


# JAX itself runs these on vertices.
_BY_JAX = {"gather", "dynamic_slice", "dynamic_update_slice"}


def _renamed(eqn: Any, vertices: Sequence[np.ndarray | None], known: Sequence[Any]) -> list[np.ndarray] | None:
    """The vertices of each output of an equation that only moves entries; None for other equations."""
    name = eqn.primitive.name
    is_run_by_jax = name in _BY_JAX or jx.is_replacement(eqn)
    if jx.unknown_parameter(eqn) or not (name in IN_NUMPY or is_run_by_jax):
        return None
    operands = []
    for v, here, value in zip(eqn.invars, vertices, known, strict=True):
        if jnp.issubdtype(v.aval.dtype, jnp.inexact):
            operands.append(np.full(v.aval.shape, -1, np.int32) if here is None else here.astype(np.int32))
        elif value is None:
            return None
        else:
            operands.append(value)
    if name in IN_NUMPY:
        return rearranged(eqn, operands)
    with jax.ensure_compile_time_eval():
        return list(map(np.asarray, jx.moved(eqn, *operands)))
