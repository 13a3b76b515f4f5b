"""Where values tell nothing of the derivative that is meant: behind stops, and of what is drawn by rejection; and where
they tell less than their format holds: of a search that stops at a tolerance of its own."""

import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl import jaxpr as jx
from jaxdl.auditor.judge import half_of_the_digits
from jaxdl.auditor.subject import LARGE, Subject, in_float64, top

COARSE = 0.05  # of its result, by which a search may still move; a loop that moves all by more is none
NEAR = 1e-6  # the same, where its values tell a slope
ROUNDING = 1e-12
BESIDE = 1e-6  # how far from a point its neighbours are
DRAWS = {"random_gamma"}  # the values jump where a draw is rejected; JAX's derivative is that of the distribution
BITS = {"random_bits", "threefry2x32", "rng_bit_generator", "rng_uniform"}


def untold(subject: Subject, inputs, u) -> list[np.ndarray]:
    """For each cotangent the entries of which values tell nothing; for u of the outputs."""
    shapes = [np.shape(inputs[i]) for i in subject.smooth]
    if is_drawn(subject):
        return [np.ones(shape, bool) for shape in shapes]
    if not has_stops(subject):
        return [np.zeros(shape, bool) for shape in shapes]
    if subject.size > LARGE:  # nobody knows: values are not asked
        return [np.ones(shape, bool) for shape in shapes]
    with_stops, without = (in_float64(jaxpr, *inputs, *u) for jaxpr in (subject.steps[1], unstopped(subject)))
    if with_stops is None or without is None:
        return [np.ones(shape, bool) for shape in shapes]
    pairs = zip(with_stops[len(u) :], without[len(u) :], strict=True)
    return [differ(a, b, half_of_the_digits(subject.dtype)) for a, b in pairs]


def differ(a, b, room):
    """Where the derivative with stops is a number, and the other is not that number."""
    with np.errstate(all="ignore"):
        return np.isfinite(a) & ~(np.abs(a - b) <= room * np.maximum(np.abs(a), 1e-3 * top(a)))


@functools.lru_cache(maxsize=64)
def has_stops(subject: Subject) -> bool:
    return "stop_gradient" in jx.primitives(subject.value)


@functools.lru_cache(maxsize=64)
def is_drawn(subject: Subject) -> bool:
    """Whether values are drawn by rejection: by JAX's gamma variates, or in a loop that draws until it has enough."""
    return bool(DRAWS & {*jx.primitives(subject.value)}) or is_drawn_in_a_loop(subject)


@functools.lru_cache(maxsize=64)
def is_drawn_in_a_loop(subject: Subject) -> bool:
    """JAX derives the draws that were accepted; what is meant is the derivative of the distribution."""
    loops = [eqn for eqn in jx.equations(subject.value) if eqn.primitive.name == "while"]
    return any(BITS & {*jx.primitives(body)} for eqn in loops for body in jx.inner_jaxprs(eqn))


@functools.lru_cache(maxsize=64)
def unstopped(subject: Subject):
    """The jaxpr of outputs and cotangents where nothing is stopped; None where JAX cannot derive it."""
    passed = lambda eqn: (lambda *x: list(x)) if eqn.primitive.name == "stop_gradient" else None
    return subject.plain_step(lambda *x: jx.evaluate(subject.value, x, passed))


class Search(NamedTuple):
    """A loop that stops when it has found something to its own tolerance.

    longer: the function with such loops run twice as long; None where values that move so far tell no slope. moved: by
    how much that moves each of its values at most. part: the same in parts of the value, the largest.
    """

    longer: Any
    moved: tuple[float, ...]
    part: float


@functools.lru_cache(maxsize=64)
def search(subject: Subject) -> Search | None:
    """The search that a function is; None where it is none, or one that has settled all digits.

    A search that goes on moves its result a little, and the error that it has left by more; an integration that goes on
    moves all.
    """
    if "while" not in jx.primitives(subject.value):
        return None
    longer, _ = jx.trace(lambda *x: jx.evaluate(subject.value, x, _as_long_again), *subject.types)
    values, later = (in_float64(jaxpr, *subject.inputs) for jaxpr in (subject.value, longer))
    if values is None or later is None:
        return None
    moved = tuple(top(a - b) if _is_inexact(a) else 0.0 for a, b in zip(values, later, strict=True))
    parts = [by / max(1e-30, top(a)) for by, a in zip(moved, values, strict=True)]
    if not any(0 < part <= COARSE for part in parts) or max(parts) <= ROUNDING:
        return None
    return Search(longer if max(parts) <= NEAR else None, moved, max(parts))


def _is_inexact(x):
    return np.issubdtype(np.asarray(x).dtype, np.inexact)


def _as_long_again(eqn):
    """What evaluates a loop, and an assertion, a branch that calls out of the program: it is taken to hold."""
    if eqn.primitive.name == "cond":
        quiet = [branch for branch in jx.branches(eqn) if "pure_callback" not in jx.primitives(branch)]
        if len(quiet) == 1 < len(jx.branches(eqn)):
            return lambda index, *args: jx.evaluate(quiet[0], args, _as_long_again)
    return _loop_as_long_again(eqn) if eqn.primitive.name == "while" else None


def _loop_as_long_again(eqn):
    loop = jx.while_(eqn)

    def run(*args):
        to_test, to_body, start = loop.split(args)
        of = lambda jaxpr, *given: jx.evaluate(jaxpr, given, lambda eqn: None)
        test = lambda carry: of(loop.test, *to_test, *carry)[0]
        step = lambda carry: of(loop.body, *to_body, *carry)
        count = jnp.zeros(test(start).shape, np.int32)  # of the steps, under vmap of each element
        counted = lambda carry: [carry[0] + 1, *step(carry[1:])]
        times, *end = jx.while_loop(lambda carry: test(carry[1:]), counted, [count, *start])
        return lax.fori_loop(0, times.max(), lambda _, carry: step(carry), end)

    return run
