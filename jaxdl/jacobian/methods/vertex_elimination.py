"""The Jacobian by vertex elimination: few multiplications, in straight-line code that XLA fuses."""

import dataclasses
import functools
import itertools
import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp

from jaxdl.jacobian.analysis.elimination.accumulation import accumulation
from jaxdl.jacobian.analysis.elimination.orders import search
from jaxdl.jacobian.analysis.elimination.scalar_graph import scalar_graph
from jaxdl.jacobian.methods.base import Vector, method
from jaxdl.report import write_whole

MOST_CHOSEN = 32


@dataclasses.dataclass(frozen=True)
class EliminationPlan:
    """An elimination order for one graph.

    multiplications: of the orders "forward", "reverse", "markowitz" and of the best "found"; "emitted" are those of
    this plan's code, in which equal products are computed once.
    """

    order: tuple[int, ...]
    multiplications: dict[str, int]
    fingerprint: str

    def save(self, path: str | os.PathLike) -> None:
        """Writes the plan as JSON, whole or not at all."""
        write_whole(path, json.dumps(dataclasses.asdict(self)).encode() + b"\n")

    @classmethod
    def load(cls, path: str | os.PathLike) -> "EliminationPlan":
        """Reads what `save` wrote. Raises ValueError if the file holds no plan."""
        try:
            fields = json.loads(Path(path).read_text(encoding="utf-8"))
            order, counts, fingerprint = (fields[field.name] for field in dataclasses.fields(cls))
            return cls(tuple(map(int, order)), {str(k): int(n) for k, n in counts.items()}, str(fingerprint))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"EliminationPlan.load: {path} holds no elimination plan ({error}); write one with EliminationPlan.save"
            ) from None

    def check(self, name, graph):
        if self.fingerprint != graph.fingerprint or sorted(self.order) != list(graph.inner):
            raise ValueError(
                f"jacobian.{name}: the plan was made for another graph (fingerprint {self.fingerprint}, "
                f"{len(self.order)} vertices; this function's: {graph.fingerprint}, {len(graph.inner)}); "
                f"leave it out and a new one is searched"
            )


@method
def eliminate(vector: Vector, *, plan: EliminationPlan | None = None, seconds: float = 5.0, seed: int = 0):
    """The Jacobian by vertex elimination on the graph of f's scalars, in a cross-country order, as straight-line code.

    The order is searched for once for each type of arguments, for at most `seconds`, from `seed`; or it is that of
    `plan`. For functions of some hundred scalars (ValueError beyond `scalar_graph.MOST_VERTICES`), best inside jit
    and vmap. Hand-written rules are used. Loops and other primitives that are not elementwise are one dense block
    each, by JAX. Takes f, argnums, has_aux as `jax.jacrev`; no complex numbers (TypeError).
    """
    if jnp.issubdtype(vector.x.dtype, jnp.complexfloating):
        raise TypeError(f"jacobian.{vector.name}: takes real functions, got {vector.x.dtype}; use jacobian.reverse")
    graph = scalar_graph(vector)
    if plan is None:
        plan = made(graph, seconds, seed)
    plan.check(vector.name, graph)
    return Elimination(vector, graph, plan)


def made(graph, seconds, seed) -> EliminationPlan:
    found = search(graph, seconds, seed)
    return EliminationPlan(tuple(found.orders["emitted"]), found.multiplications, graph.fingerprint)


def elimination_plan(f, *args, argnums=0, has_aux=False, seconds: float = 5.0, seed: int = 0) -> EliminationPlan:
    """The plan by which `eliminate(f, argnums, has_aux)` works on these arguments, to look at or to save."""
    return eliminate(f, argnums, has_aux, seconds=seconds, seed=seed).evaluated(lambda call: call.plan, args, {})


class Elimination:
    """`run(x, *others)`: the matrix by the steps of an order."""

    def __init__(self, vector, graph, plan):
        self.plan, self.partials, self.shape = plan, graph.partials, (vector.m, vector.n)
        self.code = accumulation(graph, plan.order)
        self.numbers = list(dict.fromkeys(step[1] for step in self.code.steps if step[0] == "partial"))
        self.run = jax.jit(self._run)

    def __call__(self, x, *others):
        return self.run(x, *others)

    def _run(self, x, *others):
        arrays = self.partials.evaluate((x, *others), self.numbers)
        with jax.numpy_dtype_promotion("standard"):
            dtype = jnp.result_type(x, *arrays)
        arrays = {number: jnp.ravel(a).astype(dtype) for number, a in zip(self.numbers, arrays, strict=True)}
        values = []
        of = lambda value: value if isinstance(value, float) else values[value]
        for kind, a, b in self.code.steps:
            if kind == "partial":
                values.append(jax.lax.index_in_dim(arrays[a], b, keepdims=False))
            elif kind == "·":
                values.append(values[a] * of(b))
            else:
                values.append(values[a] + of(b) if kind == "+" else values[a] - of(b))
        return self._assembled(values, dtype)

    def _assembled(self, values, dtype):
        """The matrix, so that XLA makes few loops of it on a CPU.

        Stacked rows become one loop, which computes for each entry anew what it needs: right where that is little.
        Else each column becomes a loop, and one more chooses among them; with many columns that costs too much.
        """
        m, n = self.shape
        entry = lambda i, j: self.code.entries.get((i, j), 0.0)
        line = functools.partial(_line, values, dtype)
        if self.code.multiplications < m * n:
            return jnp.stack([line([entry(i, j) for j in range(n)]) for i in range(m)])
        columns = [line([entry(i, j) for i in range(m)]) for j in range(n)]
        if n > MOST_CHOSEN:
            return jnp.stack(columns, 1)
        number, matrix = jax.lax.broadcasted_iota(jnp.int32, (m, n), 1), jnp.zeros((m, n), dtype)
        for j, column in enumerate(columns):
            matrix = jnp.where(number == j, jnp.broadcast_to(column[:, None], (m, n)), matrix)
        return matrix


def _line(values, dtype, entries):
    """A vector of entries, runs of equal ones as one."""
    parts = []
    for value, run in itertools.groupby(entries):
        if isinstance(value, float):
            scalar = jnp.asarray(value, dtype)
        else:
            scalar = values[value[1]] if value[0] > 0 else -values[value[1]]
        parts.append(jnp.broadcast_to(scalar, (len(list(run)),)))
    return jnp.concatenate(parts)
