"""The witnesses at arrays: the derivative of a subject along a direction, exact or from values alone."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxdl.auditor.judge import half_of_the_digits
from jaxdl.auditor.searches import search
from jaxdl.auditor.slopes import UNKNOWN, NumericalWitness, Slopes, exact_slope
from jaxdl.auditor.subject import Subject
from jaxdl.double_precision import NoDoublePrecision


class ArrayWitnesses:
    """The exact and the numerical witness of a subject. A direction is a list like the differentiated inputs."""

    def __init__(self, subject: Subject):
        self.subject: Subject = subject

    def slope(self, inputs: Sequence[Any], u: Sequence[Any], along: Sequence[Any]) -> tuple[Slopes, dict[str, str]]:
        """The derivative of Re Σ u·f along a direction, and what each witness says.

        It is that of the exact witness if there is one, else that of the numerical witness. An entry of the direction
        may be None, for zeros.
        """
        slope = exact_slope(self.subject, inputs, u, along)
        said = {} if slope is None else {"exact": slope_text(slope)}
        if slope is None or np.isnan(slope.low):
            smooth = self.subject.smooth
            full = [np.zeros_like(inputs[i]) if a is None else a for i, a in zip(smooth, along, strict=True)]
            try:
                slope = self.numerical(inputs, u, full)
                said["numerical"] = slope_text(slope)
            except NoDoublePrecision as error:
                slope = UNKNOWN
                said["numerical"] = str(error)
        return slope, said

    def numerical(self, inputs: Sequence[Any], u: Sequence[Any], along: Sequence[Any]) -> Slopes:
        """The derivative from values alone.

        The values of a search are accurate only as far as it has converged. There it is the derivative of a run that is
        twice as long; its uncertainty is how far both are apart, and half of the digits that still changed.
        """
        slope = NumericalWitness(self.subject).slope(inputs, u, along)
        found = search(self.subject)
        if found is None or np.isnan(slope.low):
            return slope
        if found.longer is None:
            return UNKNOWN
        converged = NumericalWitness(self.subject, found.longer).slope(inputs, u, along)
        if np.isnan(converged.low):  # more steps may fail after convergence
            converged = slope
        if self._is_staircase(slope) or self._is_staircase(converged):
            return UNKNOWN
        apart = max(abs(float(slope.low - converged.low)), abs(float(slope.high - converged.high)))
        return dataclasses.replace(converged, room=2 * apart + found.part**0.5 * _steepness(converged))

    def _is_staircase(self, slope):
        """Whether values are constant between jumps, as those of a bisection."""
        return not slope.high - slope.low <= half_of_the_digits(self.subject.dtype) * _steepness(slope)


def slope_text(slope: Slopes) -> str:
    """A derivative, or the interval of one-sided derivatives."""
    low, high = (f"{float(x):.9g}" for x in (slope.low, slope.high))
    return low if low == high else f"{low} to {high}"


def _steepness(slope):
    return max(abs(float(slope.low)), abs(float(slope.high)))
