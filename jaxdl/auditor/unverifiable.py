"""Derivatives that values alone cannot verify: behind `stop_gradient`, and of samples drawn by rejection."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.auditor.judge import half_of_the_digits
from jaxdl.auditor.programs import in_float64
from jaxdl.auditor.subject import Subject, magnitude

SAMPLERS = {"random_gamma"}  # values jump where a sample is rejected; JAX's derivative is that of the distribution


def unverifiable_entries(subject: Subject, inputs: Sequence[Any], u: Sequence[Any]) -> list[np.ndarray]:
    """For each cotangent of the inputs, for u of the outputs, which of its entries values cannot verify."""
    shapes = [np.shape(inputs[i]) for i in subject.smooth]
    if is_sampled(subject):
        return [np.ones(shape, bool) for shape in shapes]
    if not has_stops(subject):
        return [np.zeros(shape, bool) for shape in shapes]
    if subject.size > jx.LARGE:  # not computed
        return [np.ones(shape, bool) for shape in shapes]
    with_stops, without = (in_float64(jaxpr, *inputs, *u) for jaxpr in (subject.steps[1], without_stops(subject)))
    if with_stops is None or without is None:
        return [np.ones(shape, bool) for shape in shapes]
    pairs = zip(with_stops[len(u) :], without[len(u) :], strict=True)
    return [differ(a, b, half_of_the_digits(subject.dtype)) for a, b in pairs]


def differ(a: Any, b: Any, room: Any) -> np.ndarray:
    """Where a derivative a with stops is finite and differs from that without, b, by more than a relative room."""
    with np.errstate(all="ignore"):
        return np.isfinite(a) & ~(np.abs(a - b) <= room * np.maximum(np.abs(a), 1e-3 * magnitude(a)))


@functools.lru_cache(maxsize=64)
def has_stops(subject: Subject) -> bool:
    """Whether the function calls `stop_gradient`."""
    return "stop_gradient" in jx.primitives(subject.value)


@functools.lru_cache(maxsize=64)
def is_sampled(subject: Subject) -> bool:
    """Whether values are sampled by rejection: by `jax.random.gamma`, or in a loop."""
    return bool(SAMPLERS & {*jx.primitives(subject.value)}) or is_sampled_in_a_loop(subject)


@functools.lru_cache(maxsize=64)
def is_sampled_in_a_loop(subject: Subject) -> bool:
    """Whether values are sampled in a loop: JAX differentiates the accepted samples, not their distribution."""
    loops = [eqn for eqn in jx.equations(subject.value) if eqn.primitive.name == "while"]
    return any(jx.draws_bits(body) for eqn in loops for body in jx.inner_jaxprs(eqn))


@functools.lru_cache(maxsize=64)
def without_stops(subject: Subject) -> Any:
    """The jaxpr of outputs and cotangents without `stop_gradient`; None where JAX cannot derive it."""
    passed = lambda eqn: (lambda *x: list(x)) if eqn.primitive.name == "stop_gradient" else None
    return subject.plain_step(lambda *x: jx.evaluate(subject.value, x, passed))
