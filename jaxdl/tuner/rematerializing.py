"""`rematerialized(f, max_bytes=…)`: f with a backward pass that keeps few bytes of the forward pass.

    function, plan = cut(of_arrays, arrays, max_bytes)    # a function of flat arrays, planned for their types
    function, plan = cut(of_arrays, arrays, decisions=plan.decisions)    # the same choice, perhaps in another process

`plan.decisions` is plain data for JSON: a fingerprint of the program, and for each part of it the indices of the values
that are kept. `cut` raises ValueError where the fingerprint is of another program.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Generic, ParamSpec, TypeVar

import jax
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.closures import CONSTANTS, Surroundings, traced
from jaxdl.measure import Differentiated
from jaxdl.rule import op, saving
from jaxdl.tuner.budgets import Kept, costed, within
from jaxdl.tuner.programs import backward, forward
from jaxdl.tuner.regions import Region, region_of
from jaxdl.tuner.residual_plans import ResidualPlan, choice_of, decisions_of, form_of, planned_values

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
MOST_PLANS = 100


class Rematerialized(Generic[Arguments, Result]):
    """A function with a planned backward pass: made by `rematerialized`.

    Attributes:
        max_bytes: The budget.
    """

    def __init__(self, f: Callable[Arguments, Result], max_bytes: int | None):
        functools.update_wrapper(self, f)
        self.f: Callable[Arguments, Result] = f
        self.max_bytes: int | None = max_bytes
        self.planned: dict[Any, tuple[Callable[..., Any], Surroundings]] = {}

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        arrays = [leaf for leaf in jax.tree.leaves((args, kwargs)) if jx.is_array(leaf)]
        key = _key(args, kwargs, arrays)
        if key in self.planned:
            call, surroundings = self.planned[key]
            if surroundings.are_the_same():
                return call(*arrays)
        surroundings = Surroundings(self.f)
        call, _, captured = _cut(jx.in_arrays(self.f, args, kwargs), arrays, _name(self.f), self.max_bytes)
        if key is not None and not captured:
            self.planned[key] = call, surroundings
            if len(self.planned) > MOST_PLANS:
                self.planned.pop(next(iter(self.planned)))
        return call(*arrays)

    def plan(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> ResidualPlan:
        """What the backward pass keeps for arguments of these types, a report."""
        of_arrays = jx.in_arrays(self.f, args, kwargs)
        arrays = [leaf for leaf in jax.tree.leaves((args, kwargs)) if jx.is_array(leaf)]
        return cut(of_arrays, arrays, self.max_bytes)[1]

    def __repr__(self) -> str:
        return f"rematerialized({_name(self.f)}, max_bytes={self.max_bytes})"


def rematerialized(
    f: Callable[Arguments, Result], *, max_bytes: int | None = None
) -> Rematerialized[Arguments, Result]:
    """Makes the backward pass of f keep few bytes of the forward pass, and compute the other values again.

    Which values are kept is a minimum cut of the program of both passes: those whose computation would take longest for
    their bytes. Scans are opened: what each step keeps is chosen like all else. Random numbers, collectives, callbacks
    and while loops are never computed again; `jax.checkpoint` inside f has no effect where there is a budget. The plan
    is made when the function is called, once for each structure and types of the arguments, and again when a name that
    f reads has another value.

    Args:
        f: Any JAX function.
        max_bytes: How many bytes of values, besides f's own arguments, the backward pass may keep. By default what is
            cheaper to compute again than to write and read.

    Returns:
        A function with f's arguments, values and derivatives, to any order, under all transformations. Its method
        `plan(*args)` reports what is kept for such arguments.

    Raises:
        TypeError: max_bytes is not a whole number.
        ValueError: max_bytes is negative; or, by the returned function, too small: the message has the least number.

    Examples:
        >>> f = rematerialized(lambda x: jnp.sin(jnp.sin(jnp.sin(x))).sum(), max_bytes=40)
        >>> jax.grad(f)(jnp.zeros(10))[0]
        Array(1., dtype=float32)
        >>> f.plan(jnp.zeros(10)).kept_bytes <= 40
        True
    """
    check_max_bytes("rematerialized", max_bytes)
    return Rematerialized(f, None if max_bytes is None else int(max_bytes))


def check_max_bytes(tool: str, max_bytes: Any) -> None:
    """Raises TypeError or ValueError, in the name of a tool, for a budget that is no number of bytes."""
    if max_bytes is None:
        return
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int | np.integer):
        raise TypeError(f"{tool}: max_bytes must be a whole number of bytes, got {max_bytes!r}")
    if max_bytes < 0:
        raise ValueError(f"{tool}: max_bytes must be at least 0, got {max_bytes}")


def cut(
    f: Callable[..., Any],
    arrays: Sequence[Any],
    max_bytes: int | None = None,
    *,
    decisions: dict[str, Any] | None = None,
) -> tuple[Callable[..., Any], ResidualPlan]:
    """Plans the backward pass of a function of arrays.

    Args:
        f: A function of arrays that returns any pytree.
        arrays: Its arguments; only their types matter.
        max_bytes: The budget, as for `rematerialized`.
        decisions: Those of an earlier plan, to use instead of a new choice.

    Returns:
        The function of arrays, for such arguments, and the plan.

    Raises:
        ValueError: No choice keeps so few bytes, or the decisions are of another program.

    Examples:
        >>> f, plan = cut(lambda x: jnp.sin(jnp.sin(x)).sum(), [jnp.ones(10)], max_bytes=40)
        >>> plan.kept_bytes <= 40
        True
    """
    call, made, _ = _cut(f, arrays, _name(f), max_bytes, decisions)
    automatic = Differentiated(f, arrays).stored_bytes()[0] if made else 0
    if made is None:
        return call, ResidualPlan(0, automatic, max_bytes, 0.0, (), {})
    region, kept = made
    values = tuple(planned_values(region, kept.schedule))
    return call, ResidualPlan(kept.bytes, automatic, max_bytes, kept.seconds, values, decisions_of(region, kept.choice))


def _cut(f, arrays, name, max_bytes, decisions=None):
    """The planned function, its region with what it keeps (None where f has no derivative), and captured values."""
    (of_arrays,), captured = traced((f, *arrays))
    types = jx.output_types(lambda *flat: jx.vary_alike(flat), *captured, *arrays)
    if [v.aval for v in of_arrays.jaxpr.invars] != types[len(captured) :]:  # inside shard_map
        (of_arrays,), captured = traced((f, *types[len(captured) :]))
    flat_f = lambda *flat: jax.tree.leaves(of_arrays(flat[: len(captured)], *flat[len(captured) :]))
    jaxpr, _ = jx.trace(flat_f, *types)
    made = _chosen(jaxpr, max_bytes) if decisions is None else _read(jaxpr, decisions)
    if made is None:
        return f, None, captured
    planned = _planned(name, flat_f, *made)
    call = lambda *given: jax.tree.unflatten(of_arrays.result, planned(*captured, *given))
    return call, made, captured


def _chosen(jaxpr: Any, max_bytes: int | None) -> tuple[Region, Kept] | None:
    """The region of a jaxpr and the best choice; scans become scans over segments only for a budget that needs it."""
    region = region_of(jaxpr, through_checkpoints=max_bytes is not None)
    if region is None:
        return None
    try:
        return region, within(region, max_bytes)
    except ValueError:
        segmented = region_of(jaxpr, segmented=True)
        if not region.loops or segmented is None:
            raise
    return segmented, within(segmented, max_bytes)


def _read(jaxpr: Any, decisions: dict[str, Any]) -> tuple[Region, Kept] | None:
    """The region of a jaxpr and the choice that decisions describe; None where there are none."""
    region = region_of(jaxpr, **form_of(decisions)) if decisions else None
    return None if region is None else (region, costed(region, choice_of(region, decisions)))


def _planned(name: str, primal: Callable[..., Any], region: Region, kept: Kept):
    """The op of flat arrays whose rule keeps what was chosen."""
    schedule = kept.schedule
    read = [v for v in region.inputs if v in schedule.arguments]

    def planned(*arrays):
        return primal(*arrays)

    planned.__name__ = planned.__qualname__ = name
    function = op(planned)

    @function.rule
    def planned_rule(*arrays):
        y, stored = forward(region, schedule, arrays)
        args = dict(zip(region.inputs, arrays, strict=True))
        return y, saving(pullback, stored, [args[v] for v in read])

    def pullback(stored, args, dy):
        smooth = [d for d, s in zip(dy, region.smooth, strict=True) if s]
        cotangents = iter(backward(region, schedule, dict(zip(read, args, strict=True)), stored, smooth))
        return tuple(next(cotangents) if m else None for m in region.moving)

    return function


def _key(args, kwargs, arrays):
    """What a plan depends on: types, fixed arguments and settings of JAX; None where that cannot be compared."""
    leaves, tree = jax.tree.flatten((args, kwargs))
    fixed = [leaf for leaf in leaves if not jx.is_array(leaf)]
    if not all(isinstance(v, CONSTANTS) or callable(v) for v in fixed):  # other objects may change
        return None
    exact = [jx.exactly(v) if isinstance(v, CONSTANTS) else v for v in fixed]
    key = (tree, tuple(map(jx.is_array, leaves)), tuple(map(jax.typeof, arrays)), tuple(exact), jx.trace_context())
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _name(f):
    return getattr(f, "__name__", type(f).__name__)


jx.hide_from_source_lines(__file__)
