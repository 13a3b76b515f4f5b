"""Where values tell nothing of the derivative that is meant: behind stops, and of what is drawn by rejection."""

import functools

import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.auditor.judge import half_of_the_digits
from jaxdl.auditor.subject import LARGE, Subject, in_float64, top

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
    return any(map(_is_rejection, jx.equations(subject.value)))


def _is_rejection(eqn):
    loops = jx.inner_jaxprs(eqn) if eqn.primitive.name == "while" else ()
    return eqn.primitive.name in DRAWS or any(BITS & {*jx.primitives(body)} for body in loops)


@functools.lru_cache(maxsize=64)
def unstopped(subject: Subject):
    """The jaxpr of outputs and cotangents where nothing is stopped; None where JAX cannot derive it."""
    passed = lambda eqn: (lambda *x: list(x)) if eqn.primitive.name == "stop_gradient" else None
    return subject.plain_step(lambda *x: jx.evaluate(subject.value, x, passed))
