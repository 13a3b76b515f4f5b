"""The Jacobian by vertex elimination: few multiplications, in straight-line code that XLA fuses."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxdl.jacobian.analysis.elimination.accumulation import Accumulation, accumulate
from jaxdl.jacobian.analysis.elimination.orders import search_order
from jaxdl.jacobian.analysis.elimination.scalar_graphs import ScalarGraph, scalar_graph
from jaxdl.jacobian.analysis.elimination.straight_line import StraightLine
from jaxdl.jacobian.analysis.vector_function import VectorFunction
from jaxdl.jacobian.methods.arguments import Argnums
from jaxdl.jacobian.methods.base import P, PlannedJacobian, method
from jaxdl.report import Report, Table, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_SELECTED_COLUMNS = 32
MOST_STEPS = 8192


@dataclasses.dataclass(frozen=True)
class EliminationPlan(Report):
    """An elimination order for the graph of a function's scalars.

    `save("plan.json")` writes it and `load` reads it.

    Attributes:
        order: The vertices, in the order of their elimination.
        multiplications: The numbers of multiplications of the orders "forward", "reverse" and "markowitz", of the best
            order "found", and of the "emitted" code of this plan, in which equal products are computed once.
        fingerprint: A hash of the graph.
    """

    order: tuple[int, ...]
    multiplications: dict[str, int]
    fingerprint: str

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EliminationPlan:
        """Reads a plan that was saved as JSON.

        Args:
            path: The file.

        Raises:
            ValueError: If the file has no plan.
        """
        try:
            return cls.of_data(json.loads(Path(path).read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"EliminationPlan.load: {path} holds no elimination plan ({error}); write one with EliminationPlan.save"
            ) from None

    @classmethod
    def of_data(cls, data: dict[str, Any]) -> EliminationPlan:
        """The plan that `to_json` gave these data for."""
        order, counts, fingerprint = (data[field.name] for field in dataclasses.fields(cls))
        return cls(tuple(map(int, order)), {str(k): int(n) for k, n in counts.items()}, str(fingerprint))

    def check(self, name: str, graph: ScalarGraph) -> None:
        """Checks that the plan is for a graph.

        Raises:
            ValueError: If it is not.
        """
        if self.fingerprint != graph.fingerprint or sorted(self.order) != list(graph.inner):
            raise ValueError(
                f"jacobian.{name}: the plan was made for another graph (fingerprint {self.fingerprint}, "
                f"{len(self.order)} vertices; this function's: {graph.fingerprint}, {len(graph.inner)}); "
                f"leave it out and a new one is searched"
            )

    def table(self) -> Table:
        """The number of multiplications of each order."""
        rows = [(name, f"{count:,}") for name, count in self.multiplications.items()]
        vertices = "1 vertex" if len(self.order) == 1 else f"{len(self.order):,} vertices"
        title = f"Elimination of {vertices} (graph {self.fingerprint})"
        return Table(title, ("order", "multiplications"), rows)

    def to_json(self) -> dict[str, Any]:
        """The plan's attributes, as `load` reads them."""
        return dataclasses.asdict(self)

    def _figure(self) -> Figure:
        with figure(width=5) as (fig, axes):
            axes.bar(list(self.multiplications), list(self.multiplications.values()))
            axes.set(ylabel="multiplications", title=f"{len(self.order):,} vertices")
        return fig


@method
def eliminate(
    f: Callable[P, Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    plan: EliminationPlan | str | os.PathLike[str] | None = None,
    seconds: float = 5.0,
    seed: int = 0,
) -> PlannedJacobian[P, EliminationPlan]:
    """The Jacobian by vertex elimination on the graph of f's scalars, in a cross-country order, as straight-line code.

    For functions of up to a few hundred scalars, best inside jit and vmap. Hand-written rules are used. Each loop, and
    each other primitive that is not elementwise, is one dense block, by JAX.

    Args:
        f: The function to differentiate.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        has_aux: Whether f returns a pair (output, aux).
        holomorphic: Must be False.
        plan: The order, or the path of the file in which a plan was saved; by default it is searched for, once for each
            type of arguments.
        seconds: The time limit of the search.
        seed: Of the search.

    Returns:
        A function of f's arguments that returns the Jacobian, as `jax.jacrev(f)` does; its `plan(*args)` is the
        `EliminationPlan`.

    Raises:
        TypeError: If f is not callable; when called, if f has complex numbers, or inputs or outputs that cannot be
            differentiated.
        ValueError: When called, if the graph has more than `scalar_graphs.MOST_VERTICES` vertices or `MOST_EDGES`
            edges, its code more than `MOST_STEPS` steps, or the plan is for another graph.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> J = jacobian.eliminate(lambda x: jnp.sin(x[0] * x[1]) * x)
        >>> J(jnp.ones(2)).shape
        (2, 2)
        >>> plan = J.plan(jnp.ones(2))  # pass it on: jacobian.eliminate(f, plan=plan)
    """
    plan = EliminationPlan.load(plan) if isinstance(plan, str | os.PathLike) else plan
    prepare = functools.partial(prepare_elimination, plan=plan, seconds=seconds, seed=seed)
    return PlannedJacobian("eliminate", f, prepare, argnums, has_aux, holomorphic)


def elimination_plan(
    f: Callable[..., Any], *args: Any, argnums: Argnums = 0, has_aux: bool = False, seconds: float = 5.0, seed: int = 0
) -> EliminationPlan:
    """The plan by which `eliminate(f, argnums, has_aux)` works on these arguments.

    For keyword arguments of f use `eliminate(f, …).plan(*args, **kwargs)`.

    Args:
        f: The function to differentiate.
        *args: Its arguments.
        argnums: Which arguments to differentiate.
        has_aux: Whether f returns a pair (output, aux).
        seconds: The time limit of the search.
        seed: Of the search.

    Returns:
        The plan.

    Raises:
        TypeError: As `eliminate`.
        ValueError: As `eliminate`.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> f = lambda x: jnp.sin(x[0] * x[1]) * x
        >>> plan = jacobian.elimination_plan(f, jnp.ones(2), seconds=0.1)
        >>> plan.multiplications["found"] <= plan.multiplications["reverse"]
        True
    """
    return eliminate(f, argnums, has_aux, seconds=seconds, seed=seed).plan(*args)


def prepare_elimination(
    function: VectorFunction, plan: EliminationPlan | None = None, seconds: float = 5.0, seed: int = 0
) -> Elimination:
    if jnp.issubdtype(function.x.dtype, jnp.complexfloating):
        raise TypeError(f"jacobian.{function.name}: takes real functions, got {function.x.dtype}; use jacobian.reverse")
    graph = scalar_graph(function)
    if plan is None:
        found = search_order(graph, seconds, seed)
        plan = EliminationPlan(tuple(found.orders["emitted"]), found.multiplications, graph.fingerprint)
    plan.check(function.name, graph)
    return Elimination(function, graph, plan)


class Elimination:
    """Called as (x, *others), it returns the (m, n) Jacobian by the code of an elimination order."""

    def __init__(self, function: VectorFunction, graph: ScalarGraph, plan: EliminationPlan):
        self.plan: EliminationPlan = plan
        self.partials: StraightLine = graph.partials
        self.shape: tuple[int, int] = (function.m, function.n)
        self.code: Accumulation = accumulate(graph, plan.order)
        if len(self.code.steps) > MOST_STEPS:
            raise ValueError(
                f"jacobian.{function.name}: the code would have {len(self.code.steps):,} steps and compile slowly; "
                f"the most are {MOST_STEPS:,}; jacobian.best chooses among methods that work on arrays"
            )
        self.numbers: list[int] = list(dict.fromkeys(step[1] for step in self.code.steps if step[0] == "partial"))
        self.run: Callable[..., jax.Array] = jax.jit(self._run)
        both = lambda x, *others: (function.with_aux(x, *others), self._run(x, *others))
        self.with_outputs: Callable[..., Any] = jax.jit(both)  # XLA finds what they share

    def __call__(self, x: jax.Array, *others: Any) -> jax.Array:
        return self.run(x, *others)

    def _run(self, x: jax.Array, *others: Any) -> jax.Array:
        computed = self.partials.evaluate((x, *others), self.numbers)
        with jax.numpy_dtype_promotion("standard"):
            dtype = jnp.result_type(x, *computed)
        arrays = {number: jnp.ravel(a).astype(dtype) for number, a in zip(self.numbers, computed, strict=True)}
        values = []
        operand = lambda b: b if isinstance(b, float) else values[b]
        for kind, a, b in self.code.steps:
            if kind == "partial":
                values.append(jax.lax.index_in_dim(arrays[a], b, keepdims=False))
            elif kind == "·":
                values.append(values[a] * operand(b))
            else:
                values.append(values[a] + operand(b) if kind == "+" else values[a] - operand(b))
        return self._matrix(values, dtype)

    def _matrix(self, values: list[Any], dtype: Any) -> jax.Array:
        """The matrix, in a form that XLA compiles to few loops on a CPU.

        Stacked rows become one loop, which recomputes for each entry what it needs: good where that is little.
        Otherwise each column becomes a loop, and one more selects among them, which is slow for many columns.
        """
        m, n = self.shape
        entry = lambda i, j: self.code.entries.get((i, j), 0.0)
        line = functools.partial(_line, values, dtype)
        if self.code.multiplications < m * n:
            return jnp.stack([line([entry(i, j) for j in range(n)]) for i in range(m)])
        columns = [line([entry(i, j) for i in range(m)]) for j in range(n)]
        if n > MOST_SELECTED_COLUMNS:
            return jnp.stack(columns, 1)
        number, matrix = jax.lax.broadcasted_iota(jnp.int32, (m, n), 1), jnp.zeros((m, n), dtype)
        for j, column in enumerate(columns):
            matrix = jnp.where(number == j, jnp.broadcast_to(column[:, None], (m, n)), matrix)
        return matrix


def _line(values: list[Any], dtype: Any, entries: list[Any]) -> jax.Array:
    """A vector of entries, with runs of equal entries as broadcasts."""
    parts = []
    for value, run in itertools.groupby(entries):
        if isinstance(value, float):
            scalar = jnp.asarray(value, dtype)
        else:
            scalar = values[value[1]] if value[0] > 0 else -values[value[1]]
        parts.append(jnp.broadcast_to(scalar, (len(list(run)),)))
    return jnp.concatenate(parts)
