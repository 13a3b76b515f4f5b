"""A function of vectors as a graph of scalars, whose edges are local partial derivatives.

    ∂y_i/∂x_j = Σ over paths from x_j to y_i, Π over the path's edges                       (Bauer's formula)

Slices, reshapes, concatenations and the like only rename scalars and make no vertices; so do + constant and x·1.
"""

import dataclasses
import hashlib
import json

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.elimination.partials import local_partials, size
from jaxdl.jacobian.analysis.elimination.straight_line import StraightLine
from jaxdl.jacobian.analysis.pattern.values import reshaped

MOST_VERTICES = 4096
MOST_EDGES = 65536


@dataclasses.dataclass(frozen=True)
class ScalarGraph:
    """Vertices 0 … n−1 are the inputs, then come `inner` that can be eliminated, in the order of evaluation.

    edges[u, v] is ∂v/∂u: a number where that is constant, else a tuple of terms to be added: numbers, and
    (sign, number, place) for an entry of a value that `partials` computes of x and the function's other arrays.
    Equal partials have equal names. outputs: the vertex of each output, None for a constant.
    """

    n: int
    inner: range
    edges: dict
    outputs: list
    partials: StraightLine

    @property
    def fingerprint(self) -> str:
        """The same for graphs with the same edges and the same constants on them."""
        edges = sorted([u, v, w if isinstance(w, float) else None] for (u, v), w in self.edges.items())
        return hashlib.sha256(json.dumps([self.n, self.outputs, edges]).encode()).hexdigest()[:16]


def scalar_graph(vector) -> ScalarGraph:
    """The graph of `vector.f`, without vertices that reach no output.

    Raises ValueError if it has more than MOST_VERTICES vertices or MOST_EDGES edges.
    """
    return _Builder(vector).graph()


class _Builder:
    """Numbers the scalars of each value: −1 is a scalar that does not depend on x."""

    def __init__(self, vector):
        self.vector, self.n = vector, vector.n
        self.known = {1 + i: c for i in range(len(vector.constants)) if (c := vector.constant(i)) is not None}
        self.line = StraightLine(vector.jaxpr, self.known)
        self.places = {self.line.inputs[0]: np.arange(vector.n)}
        self.incoming = [{} for _ in range(vector.n)]
        self.computed, self.slots, self.edges = {}, 0, 0
        for at, step in enumerate(self.line.steps):
            self.step(at, step)

    def step(self, at, step):
        moving = [j for j, number in enumerate(step.inputs) if number in self.places]
        if not moving:
            return
        if any(jnp.issubdtype(v.aval.dtype, jnp.complexfloating) for v in step.eqn.outvars):
            raise TypeError(
                f"jacobian.{self.vector.name}: takes real functions without complex numbers inside, got "
                f"{jx.typed(step.eqn.outvars[0].aval)} from {step.eqn.primitive.name} at {jx.where(step.eqn)}; use "
                f"jacobian.reverse, jacobian.cut or jacobian.sparse"
            )
        renamed = _renamed(step.eqn, [self.places.get(i) for i in step.inputs], [*map(self.line.known, step.inputs)])
        if renamed is not None:
            self.places.update(
                (number, where) for number, where in zip(step.outputs, renamed, strict=True) if (where >= 0).any()
            )
            return
        self.refuse_beyond(len(self.incoming), self.edges + size(step.eqn, moving))
        local = local_partials(step.eqn, moving, [*map(self.line.known, step.inputs)])
        if local is not None:
            self.vertices(at, step, local)

    def vertices(self, at, step, local):
        incoming = [[{} for _ in range(v.aval.size)] for v in step.eqn.outvars]
        for p in local.partials:
            sources = self.places[step.inputs[p.operand]].reshape(-1)[p.cols]
            weights = p.constant.tolist() if p.constant is not None else [(self.slots, i) for i in p.index.tolist()]
            for row, u, w in zip(p.rows.tolist(), sources.tolist(), weights, strict=True):
                if u >= 0 and w != 0.0:
                    incoming[p.output][row].setdefault(u, []).append(w)
            if p.constant is None:
                self.computed[at] = local.compute
                self.slots += 1
        for number, v, entries in zip(step.outputs, step.eqn.outvars, incoming, strict=True):
            where = np.array([self.vertex(edges) for edges in entries], int).reshape(v.aval.shape)
            if (where >= 0).any():
                self.places[number] = where

    def vertex(self, terms):
        """The number of a scalar with these partials: none, an old one if it is that very scalar, or a new one."""
        edges = {u: weight for u, listed in terms.items() if (weight := _added(listed)) != 0.0}
        if not edges:
            return -1
        if len(edges) == 1 and next(iter(edges.values())) == 1.0:
            return next(iter(edges))
        self.incoming.append(edges)
        self.edges += len(edges)
        self.refuse_beyond(len(self.incoming), self.edges)
        return len(self.incoming) - 1

    def refuse_beyond(self, vertices, edges):
        if vertices > MOST_VERTICES or edges > MOST_EDGES:
            raise ValueError(
                f"jacobian.{self.vector.name}: the graph of scalars has {vertices:,} vertices and {edges:,} edges so "
                f"far; the most are {MOST_VERTICES:,} and {MOST_EDGES:,}; jacobian.cut, jacobian.sparse and "
                f"jacobian.forward work on arrays"
            )

    def graph(self):
        outputs = self.places.get(self.line.outputs[0])
        outputs = [-1] if outputs is None else outputs.tolist()
        ends = {u: len(self.incoming) + i for i, u in enumerate(dict.fromkeys(u for u in outputs if u >= 0))}
        kept, todo = set(), list(ends)
        while todo:
            v = todo.pop()
            if v not in kept:
                kept.add(v)
                todo += self.incoming[v]
        used = {u for v in kept for u in self.incoming[v]}
        # An output that nothing else uses is an end itself; others get an end of their own by a free edge.
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

    def partials(self):
        """The computed partials as a straight line of their own, and what a term is called there."""
        line = StraightLine(jx.trace(self.slots_of, self.vector.x, *self.vector.others)[0], self.known)
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

    def slots_of(self, *arguments) -> list:
        """The arrays of computed partials, in order; `arguments` are x and the function's other arrays."""
        values, slots = self.line.given | dict(zip(self.line.inputs, arguments, strict=True)), []
        for at, step in enumerate(self.line.steps):
            inputs = [values[number] for number in step.inputs]
            outputs = step.evaluate(inputs)
            values.update(zip(step.outputs, outputs, strict=True))
            if at in self.computed:
                slots += self.computed[at](inputs, outputs)
        return slots


def _added(terms):
    """Numbers added up; what is left as a number or as a tuple of terms."""
    constant = sum(t for t in terms if isinstance(t, float))
    computed = tuple(t for t in terms if not isinstance(t, float))
    return float(constant) if not computed else computed if constant == 0 else (*computed, float(constant))


# --- renaming ----------------------------------------------------------------------------------------------


def _broadcast(x, shape, broadcast_dimensions, **_):
    kept = [1] * len(shape)
    for d, s in zip(broadcast_dimensions, x.shape, strict=True):
        kept[d] = s
    return np.broadcast_to(x.reshape(kept), shape)


def _slice(x, start_indices, limit_indices, strides, **_):
    strides = strides or [1] * x.ndim
    return x[tuple(map(slice, start_indices, limit_indices, strides))]


# The common ones in NumPy, for JAX would compile each; the others by running them.
_IN_NUMPY = {
    "slice": _slice,
    "broadcast_in_dim": _broadcast,
    "reshape": reshaped,
    "squeeze": lambda x, dimensions: x.squeeze(dimensions),
    "expand_dims": lambda x, dimensions: np.expand_dims(x, dimensions),
    "transpose": lambda x, permutation: x.transpose(permutation),
    "rev": lambda x, dimensions: np.flip(x, dimensions),
    "concatenate": lambda *x, dimension: np.concatenate(x, dimension),
    "stack": lambda *x, axis: np.stack(x, axis),
    "tile": lambda x, reps: np.tile(x, reps),
    "split": lambda x, sizes, axis: np.split(x, np.cumsum(sizes)[:-1], axis),
    "unstack": lambda x, axis: list(np.moveaxis(x, axis, 0)),
}
_BY_RUNNING = {"pad", "gather", "dynamic_slice", "dynamic_update_slice"}


def _replaces(eqn):
    """Whether the outputs are entries of the inputs as they are: not so for a scatter with a function of its own."""
    return eqn.primitive.name in _BY_RUNNING or jx.is_replacement(eqn)


def _renamed(eqn, places, known):
    """The scalars of a primitive that only moves them, for each output; None for another one."""
    name = eqn.primitive.name
    if jx.unknown_parameter(eqn) or (name not in _IN_NUMPY and not _replaces(eqn)):
        return None
    operands = []
    for v, where, value in zip(eqn.invars, places, known, strict=True):
        if jnp.issubdtype(v.aval.dtype, jnp.inexact):
            operands.append(np.full(v.aval.shape, -1, np.int32) if where is None else where.astype(np.int32))
        elif value is None:
            return None
        else:
            operands.append(value)
    if name in _IN_NUMPY:
        y = _IN_NUMPY[name](*operands, **jx.parameters(eqn))
        return y if eqn.primitive.multiple_results else [y]
    changed = {"fill_value": -1} if name == "gather" else {}
    with jax.ensure_compile_time_eval():
        return list(map(np.asarray, jx.binding(eqn, **changed)(*operands)))
