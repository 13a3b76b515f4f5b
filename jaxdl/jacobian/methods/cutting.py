"""The Jacobian across the narrowest places of the computation."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.cuts import active, nested_cuts
from jaxdl.jacobian.analysis.matrix_chain import (
    Bracketing,
    as_data,
    bracketing,
    multiplied,
    of_data,
    steps,
    sweeps,
    useful_points,
)
from jaxdl.jacobian.analysis.modes import hindrances, linearize
from jaxdl.jacobian.analysis.operation_counts import work
from jaxdl.jacobian.analysis.vector_function import Outputs, VectorFunction, join, split_arrays
from jaxdl.jacobian.methods.arguments import Argnums
from jaxdl.jacobian.methods.base import P, PlannedJacobian, method
from jaxdl.jacobian.saved_plans import SavedPlan, with_plan
from jaxdl.report import Table, count_text, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@method
def cut(
    f: Callable[P, Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    plan: CutPlan | str | os.PathLike[str] | None = None,
) -> PlannedJacobian[P, CutPlan]:
    """The Jacobian accumulated across the narrowest vertex cuts of the computational graph.

    With a code of 8 entries between 784 inputs and 784 outputs: 8 cotangents from the code backward, 8 tangents
    forward, and one matrix product, instead of 784 sweeps. Dynamic programming finds how to multiply across several
    cuts; without a narrow place it is the cheaper one of forward and reverse. Bodies of scan, while and cond are not
    cut.

    Args:
        f: The function to differentiate.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        has_aux: Whether f returns a pair (output, aux).
        holomorphic: Whether f is a holomorphic function of complex numbers.
        plan: A plan of this function, `plan(*args)`, or the path of the file in which it was saved, to use instead of
            a new one. It is refused for other programs, types and versions.

    Returns:
        A function of f's arguments that returns the Jacobian, as `jax.jacrev(f)` does; its `plan(*args)` shows the
        cuts.

    Raises:
        TypeError: If f is not callable; when called, if inputs or outputs cannot be differentiated.
        ValueError: When called, if parts of f have only forward mode and parts only reverse mode, with no narrow place
            between them.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> w = jnp.ones((1, 50))
        >>> jacobian.cut(lambda x: jnp.tanh(w.T @ (w @ x))).plan(jnp.ones(50)).sizes
        [50, 1, 50]
    """
    return PlannedJacobian("cut", f, with_plan(prepare_cut, plan, CutPlan), argnums, has_aux, holomorphic)


@dataclasses.dataclass(frozen=True, eq=False)
class CutPlan(SavedPlan):
    """How `cut` multiplies the Jacobian; `save("plan.json")` writes what `cut(f, plan="plan.json")` reads.

    Attributes:
        sizes: The numbers of entries of the input, of each cut, and of the output.
        operations: The estimated cost, in floating-point operations of a large matrix product.
        way: Which sweeps and products; None if no output depends on the input.
        points: The variables of the input, of each cut, and of the output, by their numbers in the function's jaxpr.
    """

    method: ClassVar[str] = "cut"

    sizes: list[int]
    operations: float
    way: Bracketing | None
    points: list[list[int]] = dataclasses.field(default_factory=list)

    @property
    def sweeps(self) -> int:
        """The number of sweeps, each through a part of the function or all of it."""
        return sweeps(self.way, self.sizes) if self.way else 0

    def _steps(self) -> list[Any]:
        return steps(self.way, self.sizes) if self.way else []

    def table(self) -> Table:
        """One row for each step."""
        path = " → ".join(f"{size:,}" for size in self.sizes)
        title = f"Jacobian of {self.sizes[-1]:,} × {self.sizes[0]:,} in {self.sweeps:,} sweeps across {path}"
        size = lambda point: f"{self.sizes[point]:,}"
        count = lambda step: f"{step.sweeps:,}" if step.sweeps else ""
        rows = [(step.kind, size(step.start), size(step.end), count(step)) for step in self._steps()]
        note = f"about {count_text(self.operations)} operations"
        return Table(title, ("step", "from", "to", "sweeps"), rows, note).without_empty_columns()

    def data(self) -> dict[str, Any]:
        """The sizes, sweeps, operations and steps; and the points and the way as `cut` reads them."""
        return {
            "points": self.points,
            "way": as_data(self.way),
            "sizes": self.sizes,
            "sweeps": self.sweeps,
            "operations": self.operations,
            "steps": [step._asdict() for step in self._steps()],
        }

    def _figure(self) -> Figure:
        with figure(width=5) as (fig, axes):
            names = ["input", *(f"cut {i}" for i in range(1, len(self.sizes) - 1)), "output"]
            axes.bar(names, self.sizes)
            axes.set(ylabel="entries", title=f"{self.sweeps:,} sweeps")
        return fig


def prepare_cut(function: VectorFunction, decided: dict[str, Any] | None = None) -> CutFunction:
    jaxpr = jx.inlined(function.jaxpr)
    plain = jx.opened(jaxpr)
    start, end, live = plain.invars[0], plain.outvars[0], active(plain)
    if not jx.is_variable(end) or end not in live:
        return CutFunction(function, jaxpr, ((start,), (end,)), (), None, 0.0)
    if decided is not None:
        variables = _variables(plain)
        chain = _Chain.of(plain, live, [tuple(variables[i] for i in point) for point in decided["points"]])
        way, cost = of_data(decided["way"]), decided["operations"]
        return CutFunction(function, jaxpr, chain.points, chain.segments, way, cost)
    cuts = nested_cuts(plain, live, min(function.m, function.n))
    chain = _Chain.of(plain, live, [(start,), *(cut.values for cut in cuts), (end,)]).shortened()
    cost, way = bracketing(chain.sizes, chain.forward, chain.backward)
    if math.isinf(cost):
        no_forward, no_reverse = function.hindrances
        raise ValueError(
            f"jacobian.{function.name}: JAX has neither mode of a part of the function, or some parts have only "
            f"forward mode and some only reverse, and no narrow place between them; write the rule (custom_vjp) as a "
            f"custom_jvp or a jaxdl.op. Forward: {no_forward}. Reverse: {no_reverse}"
        )
    return CutFunction(function, jaxpr, chain.points, chain.segments, way, cost)


def _variables(jaxpr: Any) -> list[Any]:
    """All variables of a jaxpr in a fixed order."""
    return [*jaxpr.constvars, *jaxpr.invars, *(v for eqn in jaxpr.eqns for v in eqn.outvars)]


@dataclasses.dataclass(frozen=True)
class _Chain:
    """A function as a chain of functions between points.

    Attributes:
        points: Groups of variables, from the input over the cuts to the output.
        segments: The equations between points.
        forward: Operations of a forward sweep through each segment; infinite where JAX has no such mode.
        backward: The same for reverse sweeps.
    """

    points: tuple[Any, ...]
    segments: tuple[Any, ...]
    forward: tuple[float, ...]
    backward: tuple[float, ...]

    @classmethod
    def of(cls, jaxpr: Any, live: set[Any], points: Sequence[Any]) -> _Chain:
        """The chain between these points of a jaxpr whose `active` variables are `live`."""
        level = {v: k for k, point in enumerate(points) for v in point}
        segments: list[list[Any]] = [[] for _ in points[1:]]
        for eqn in jaxpr.eqns:
            if live.intersection(eqn.outvars):
                k = max(level[v] for v in eqn.invars if jx.is_variable(v) and v in live)
                segments[k].append(eqn)
                level.update((v, k) for v in eqn.outvars if v in live and v not in level)
        costs = map(_costs, points, points[1:], segments)
        return cls(tuple(points), tuple(map(tuple, segments)), *zip(*costs, strict=True))

    @property
    def sizes(self) -> list[int]:
        """The number of entries at each point."""
        return [sum(map(jx.size, point)) for point in self.points]

    def shortened(self) -> _Chain:
        """The chain between its useful points."""
        kept = useful_points(self.sizes, self.forward, self.backward)
        parts = [slice(*ends) for ends in itertools.pairwise(kept)]
        return _Chain(
            tuple(self.points[k] for k in kept),
            tuple(tuple(itertools.chain(*self.segments[part])) for part in parts),
            tuple(sum(self.forward[part]) for part in parts),
            tuple(sum(self.backward[part]) for part in parts),
        )


def _costs(here: tuple[Any, ...], there: tuple[Any, ...], eqns: Sequence[Any]) -> tuple[float, float]:
    """Operations of a sweep through a segment, forward and reverse; infinite where JAX has no such mode."""
    known = {*here, *(v for eqn in eqns for v in eqn.outvars)}
    given = [*dict.fromkeys(v for eqn in eqns for v in eqn.invars if jx.is_variable(v) and v not in known)]
    f = lambda x, *others: _along(here, there, eqns, dict(zip(given, others, strict=True)))(x)
    with jax.numpy_dtype_promotion("standard"):
        x = jax.ShapeDtypeStruct((sum(map(jx.size, here)),), jnp.result_type(*(v.aval.dtype for v in here)))
    no_forward, no_reverse = hindrances(f, eqns, (x, *(v.aval for v in given)))
    operations = float(sum(map(work, eqns)))
    return math.inf if no_forward else operations, math.inf if no_reverse else operations


def _along(here: Any, there: Any, eqns: Sequence[Any], values: dict[Any, Any]) -> Callable[[jax.Array], jax.Array]:
    """The function from the vector at a point to that at the next; other values are taken from `values`."""

    def f(vector):
        moved = values | dict(zip(here, split_arrays(vector, [v.aval for v in here]), strict=True))
        jx.run(eqns, moved)
        return join([moved[v] for v in there])

    return f


@dataclasses.dataclass(frozen=True)
class CutFunction:
    """A function as a chain of functions between points, and how to multiply their Jacobians.

    Called as (x, *others), it returns the (m, n) Jacobian.

    Attributes:
        function: The function.
        jaxpr: Its jaxpr, with calls inlined.
        points: Groups of variables, from the input over the cuts to the output.
        segments: The equations between points.
        way: Which sweeps and products; None if no output depends on the input.
        cost: Of this way.
    """

    function: VectorFunction
    jaxpr: Any
    points: tuple[Any, ...]
    segments: tuple[Any, ...]
    way: Bracketing | None
    cost: float

    @property
    def sizes(self) -> list[int]:
        """The number of entries at each point."""
        return [sum(map(jx.size, point)) for point in self.points]

    @property
    def plan(self) -> CutPlan:
        numbers = {v: i for i, v in enumerate(_variables(jx.opened(self.jaxpr)))}
        points = [[numbers[v] for v in point if v in numbers] for point in self.points]
        return CutPlan(self.sizes, self.cost, self.way, points, function=self.function)

    def __call__(self, x: jax.Array, *others: Any) -> jax.Array:
        return self.with_outputs(x, *others)[1]

    def with_outputs(self, x: jax.Array, *others: Any) -> tuple[Outputs, jax.Array]:
        values = self._values(x, others)
        aux = self.function.with_aux(x, *others)[1] if self.function.arrays_for_aux else []
        if self.way is None:
            return (self._at(-1, values), aux), jnp.zeros((self.sizes[-1], self.sizes[0]), x.dtype)
        at = functools.cache(lambda k: self._at(k, values))
        ends = {}  # the values at the end of each segment, from its derivative

        @functools.cache
        def forward(k):
            ends[k], push = linearize(self._segment(k, values), at(k))
            return push

        @functools.cache
        def backward(k):
            ends[k], pullback = jax.vjp(self._segment(k, values), at(k))
            return pullback

        def push(start, end, matrix):
            matrix = jnp.eye(self.sizes[start], dtype=at(start).dtype) if matrix is None else matrix
            for k in range(start, end):
                matrix = jax.vmap(forward(k), in_axes=1, out_axes=1)(matrix.astype(at(k).dtype))
            return matrix

        def pull(start, end, matrix):
            matrix = jnp.eye(self.sizes[end], dtype=at(end).dtype) if matrix is None else matrix
            for k in reversed(range(start, end)):
                matrix = jax.vmap(lambda dy, k=k: backward(k)(dy)[0])(matrix.astype(at(k + 1).dtype))
            return matrix

        def product(after, before):
            with jax.numpy_dtype_promotion("standard"):
                return after @ before

        matrix = multiplied(self.way, push, pull, product)
        return (ends[len(self.segments) - 1], aux), matrix

    def _values(self, x: jax.Array, others: tuple[Any, ...]) -> dict[Any, Any]:
        """The values of all variables."""
        plain, values = jx.opened(self.jaxpr), {}
        values.update(zip((*plain.constvars, *plain.invars), (*self.jaxpr.consts, x, *others), strict=True))
        jx.run(plain.eqns, values)
        return values

    def _at(self, k: int, values: dict[Any, Any]) -> jax.Array:
        """The values at point k, as one vector."""
        return join([jnp.asarray(jx.value_of(v, values)) for v in self.points[k]])

    def _segment(self, k: int, values: dict[Any, Any]) -> Callable[[jax.Array], jax.Array]:
        return _along(self.points[k], self.points[k + 1], self.segments[k], values)
