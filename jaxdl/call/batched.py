"""Calls and pullbacks under vmap, and pullbacks of some inputs and outputs only."""

import functools
from dataclasses import dataclass
from typing import Any

import jax

from jaxdl import jaxpr as jx
from jaxdl.call.bound_pullback import BoundPullback
from jaxdl.call.tracing import rule
from jaxdl.call.wrapped import WrappedCall, WrappedPullback
from jaxdl.closures import traced


@dataclass(frozen=True)
class BatchedCall(WrappedCall):
    """A call under vmap. `mapped` says which arguments have a batch axis, their first."""

    mapped: tuple[bool, ...]
    size: int
    axis_name: Any

    def __repr__(self) -> str:
        return f"vmap({self.call})"

    @property
    def described(self) -> str:
        """The settings as text, and which arguments have a batch axis."""
        mapped = ", ".join(str(i) for i, m in enumerate(self.mapped) if m)
        return f"{self.call.described}; vmap over arguments {mapped}"

    def refuse(self, moving: tuple[int, ...]) -> None:
        self.call.refuse(moving)

    def primal(self, *flat: Any) -> Any:
        return self._vmap(self.call.primal)(*flat)

    def stock(self, *flat: Any) -> Any:
        return self._vmap(self.call.stock)(*flat)

    def rule(self, *flat: Any) -> Any:
        avals = map(jax.typeof, flat)
        types = [jx.unbatched_type(self.size, x) if m else x for x, m in zip(avals, self.mapped, strict=True)]
        (run,), _ = traced((functools.partial(rule, self.call), *types), axis=(self.axis_name, self.size))
        y, bound = run.types
        # A residual that depends on no mapped argument (usually the weights) is kept once, not per example.
        has_batch = tuple(jx.dependent_outputs(run.jaxpr, self.mapped)[len(y) :])
        out_axes = (0, [0 if k else None for k in has_batch])
        y, residuals = self._vmap(lambda *flat: _output_and_residuals(rule(self.call, *flat)), out_axes)(*flat)
        pullback = BatchedPullback(bound.pullback, has_batch, self.mapped, self.size, self.axis_name)
        return y, BoundPullback(pullback, residuals)

    def _vmap(self, f, out_axes: Any = 0):
        in_axes = tuple(0 if m else None for m in self.mapped)
        return jax.vmap(f, in_axes, out_axes, axis_size=self.size, axis_name=self.axis_name)


@dataclass(frozen=True)
class BatchedPullback(WrappedPullback):
    """A pullback under vmap. The cotangent of an argument without a batch axis is summed over the batch."""

    has_batch: tuple[bool, ...]
    mapped: tuple[bool, ...]
    size: int
    axis_name: Any

    def __call__(self, residuals: Any, dy: Any) -> list[Any]:
        cotangents = jax.vmap(
            self.pullback,
            in_axes=([0 if b else None for b in self.has_batch], 0),
            axis_size=self.size,
            axis_name=self.axis_name,
        )(list(residuals), list(dy))
        return [c if c is None or m else c.sum(0) for c, m in zip(cotangents, self.mapped, strict=True)]


@dataclass(frozen=True)
class SelectedPullback(WrappedPullback):
    """A pullback from the differentiable outputs, where `smooth` is true, to the cotangents of the inputs `moving`."""

    smooth: tuple[bool, ...]
    moving: tuple[int, ...]

    def __call__(self, residuals: Any, dy: Any) -> list[Any]:
        given = iter(dy)
        cotangents = self.pullback(residuals, [next(given) if s else None for s in self.smooth])
        return [cotangents[i] for i in self.moving]


def _output_and_residuals(returned):
    y, bound = returned
    return y, bound.residuals


jx.hide_from_source_lines(__file__)
