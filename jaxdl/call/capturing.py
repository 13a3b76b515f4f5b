"""Calls of ops whose functions or settings close over traced values, which become further arguments of the call."""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl import jaxpr as jx
from jaxdl.call.bound_pullback import BoundPullback
from jaxdl.call.op_call import OpCall
from jaxdl.call.wrapped import WrappedCall
from jaxdl.closures import Traced, name_of, traced


@dataclass(frozen=True, eq=False)
class CapturingCall(WrappedCall):
    """A call traced for its arguments. The captured values come after the arguments.

    names: those of the captured values in the user's functions, for error messages.
    """

    arity: int
    traced_primal: Traced
    traced_rule: Traced
    traced_pullback: Traced | None
    names: tuple[str, ...]

    @property
    def lasts(self) -> bool:
        return False

    @property
    def forms(self) -> Any:
        """The op's further rules; none where values are captured, since another rule may capture other values."""
        return () if self.names else self.call.forms

    def in_form(self, name: str) -> "CapturingCall":
        """The call with another of the op's rules."""
        call, types = self.call.in_form(name), [v.aval for v in self.traced_primal.jaxpr.invars]
        (rule,), captured = traced((call.rule, *types))
        if captured:
            raise self.call.fault(f"its form {name!r} closes over traced values: pass them as arguments of the op")
        return replace(self, call=call, traced_rule=rule)

    @property
    def stock_function(self) -> Any:
        """None where values are captured: it would use them by closure."""
        return None if self.names else self.call.stock_function

    def __repr__(self) -> str:
        return self.name

    def primal(self, *flat: Any) -> Any:
        flat, captured = self._parted(flat)
        return self.traced_primal(captured, *flat)

    def stock(self, *flat: Any) -> Any:
        return self.primal(*flat) if self.stock_function is None else self.call.stock(*flat)

    def rule(self, *flat: Any) -> Any:
        flat, captured = self._parted(flat)
        y, bound = self.traced_rule(captured, *flat)
        if self.traced_pullback is None:
            return y, bound
        pullback = CapturingPullback(self, self.traced_pullback, len(bound.residuals))
        return y, BoundPullback(pullback, [*bound.residuals, *captured])

    def refuse(self, moving: tuple[int, ...]) -> None:
        """Raises TypeError where a captured value is among the inputs to differentiate: the rule has no cotangent of
        it."""
        for i in moving:
            if i >= self.arity:
                name = self.names[i - self.arity]
                raise self.call.fault(
                    f"its definition, rule or a setting closes over {name}, and the derivative with respect to that "
                    f"is needed, which the rule does not give: pass it as an argument of the op"
                )

    def _parted(self, flat):
        return flat[: self.arity], flat[self.arity :]


@dataclass(frozen=True)
class CapturingPullback:
    """The pullback of a `CapturingCall`. The residuals after the first `kept` are the captured values."""

    call: CapturingCall
    function: Traced
    kept: int

    lasts = False

    def __repr__(self) -> str:
        return repr(self.call)

    def __call__(self, residuals: Any, dy: Any) -> list[Any]:
        own, captured = residuals[: self.kept], residuals[self.kept :]
        return self.function(captured, *own, *jax.tree.leaves(dy)) + [None] * len(captured)


def capture(call: OpCall, flat: list[Any]) -> tuple[CapturingCall, list[Any], list[Any]]:
    """Traces a call for its arguments.

    Inside shard_map the arguments are marked as varying over the axes over which the captured values vary.

    Returns:
        The traced call, its arguments, and the traced values that its functions close over.
    """
    types = [*map(jax.typeof, flat)]
    (primal, rule), captured = traced((call.primal, *types), (call.rule, *types))
    if not captured:
        return CapturingCall(call, len(flat), primal, rule, None, ()), flat, []
    alike = jx.vary_alike([*flat, *captured])[: len(flat)]
    if any(a is not b for a, b in zip(alike, flat, strict=True)):
        return capture(call, alike)
    y, bound = rule.types
    dy = [t.to_tangent_aval() if jnp.issubdtype(t.dtype, jnp.inexact) else None for t in y]
    (pullback,), all_captured = traced((bound.pullback.cotangents, bound.residuals, dy), known=captured)
    if len(all_captured) > len(captured):
        raise bound.pullback.capture_fault(all_captured[-1])
    functions = call.definition, call.derivative, *filter(callable, jax.tree.leaves(call.settings))
    names = tuple(name_of(c, *functions) for c in captured)
    return CapturingCall(call, len(flat), primal, rule, pullback, names), flat, captured


jx.hide_from_source_lines(__file__)
