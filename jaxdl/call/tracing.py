"""The functions of a call, traced once for each call and argument types as long as the call lasts."""

import functools
from collections.abc import Callable
from typing import Any

import jax

from jaxdl import jaxpr as jx


class TracedOnce:
    """A function `f(call, *arrays)` whose traces and programs are kept for calls that last, and for no others."""

    def __init__(self, f: Callable[..., Any]):
        self.traced_anew: Callable[..., Any] = f
        self.kept: Any = jax.jit(f, static_argnums=0, inline=jx.INLINE_WHEN_TRACED)

    def __call__(self, call: Any, *args: Any) -> Any:
        return (self.kept if call.lasts else self.traced_anew)(call, *args)

    def eval_shape(self, call: Any, *args: Any) -> Any:
        """The shapes and dtypes of the result."""
        if call.lasts:
            return self.kept.eval_shape(call, *args)
        return jax.eval_shape(functools.partial(self.traced_anew, call), *args)


@TracedOnce
def primal(call, *flat):
    return call.primal(*flat)


@TracedOnce
def rule(call, *flat):
    return call.rule(*flat)


@TracedOnce
def evaluate(call, *flat):
    return jax.tree.leaves(rule(call, *flat)[0])


@TracedOnce
def pull(pullback, residuals, dy):
    return pullback(residuals, dy)


@TracedOnce
def push(pullback, residuals, tangents, dy):
    """The transposed pullback, which maps tangents forward; only the type of dy is used."""
    cotangents, transposed = jax.vjp(lambda *dy: pullback(residuals, dy), *dy)
    return transposed([None if c is None else t for c, t in zip(cotangents, tangents, strict=True)])


jx.hide_from_source_lines(__file__)
