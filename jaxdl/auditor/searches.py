"""Searches: loops that stop at their own tolerance, so that values have fewer digits than their format."""

import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl import jaxpr as jx
from jaxdl.auditor.programs import in_float64
from jaxdl.auditor.subject import Subject, magnitude

COARSE = 0.05  # of the result: the most that a search changes it in further steps; other loops change it by more
NEAR = 1e-6  # of the result: the most that a search may still change it where values determine a slope
ROUNDING = 1e-12  # of the result: a search that changes it by less has converged to all digits


class Search(NamedTuple):
    """A function with a loop that stops at its own tolerance.

    Attributes:
        longer: The jaxpr of the function with twice as many steps; None where these change the values by too much to
            determine a slope.
        moved: By how much they change each output at most.
        part: The largest relative change.
    """

    longer: Any
    moved: tuple[float, ...]
    part: float


@functools.lru_cache(maxsize=64)
def search(subject: Subject) -> Search | None:
    """The search in a function; None where there is none, or one that has converged to all digits.

    Further steps change the result of a search little, and that of other loops, such as an integration, much.
    """
    if "while" not in jx.primitives(subject.value):
        return None
    longer, _ = jx.trace(lambda *x: jx.evaluate(subject.value, x, _longer), *subject.types)
    values, later = (in_float64(jaxpr, *subject.inputs) for jaxpr in (subject.value, longer))
    if values is None or later is None:
        return None
    moved = tuple(magnitude(a - b) if _is_inexact(a) else 0.0 for a, b in zip(values, later, strict=True))
    parts = [by / max(1e-30, magnitude(a)) for by, a in zip(moved, values, strict=True)]
    if not any(0 < part <= COARSE for part in parts) or max(parts) <= ROUNDING:
        return None
    return Search(longer if max(parts) <= NEAR else None, moved, max(parts))


def _is_inexact(x):
    return np.issubdtype(np.asarray(x).dtype, np.inexact)


def _longer(eqn):
    """Replaces a loop by one with twice as many steps, and an assertion (a branch with a callback) by its success."""
    if eqn.primitive.name == "cond":
        quiet = [branch for branch in jx.branches(eqn) if "pure_callback" not in jx.primitives(branch)]
        if len(quiet) == 1 < len(jx.branches(eqn)):
            return lambda index, *args: jx.evaluate(quiet[0], args, _longer)
    return _longer_loop(eqn) if eqn.primitive.name == "while" else None


def _longer_loop(eqn):
    loop = jx.while_(eqn)

    def run(*args):
        to_test, to_body, start = loop.split(args)
        of = lambda jaxpr, *given: jx.evaluate(jaxpr, given, lambda eqn: None)
        test = lambda carry: of(loop.test, *to_test, *carry)[0]
        step = lambda carry: of(loop.body, *to_body, *carry)
        count = jnp.zeros(test(start).shape, np.int32)  # of steps; under vmap, for each element
        counted = lambda carry: [carry[0] + 1, *step(carry[1:])]
        times, *end = jx.while_loop(lambda carry: test(carry[1:]), counted, [count, *start])
        return lax.fori_loop(0, times.max(), lambda _, carry: step(carry), end)

    return run
