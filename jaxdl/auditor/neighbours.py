"""Points close to a point: whether the function is continuous and finite there, and its cotangents."""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxdl.auditor.programs import in_float64
from jaxdl.auditor.subject import Subject, values_in_float64
from jaxdl.double_precision import as_double, real_parts

DISTANCE = 1e-6
SHORTER = 1e-3  # of the distance
COUNT = 8  # random directions


class Neighbours:
    """The neighbours of a point of a subject."""

    def __init__(self, subject: Subject, inputs: tuple[Any, ...]):
        self.subject: Subject = subject
        self.inputs: tuple[Any, ...] = inputs

    @functools.cached_property
    def values(self) -> list[list[Any]]:
        """Values of the function in some directions, after a step and after a shorter one."""
        random, smooth = np.random.default_rng(0), self.subject.smooth
        steps = lambda x: DISTANCE * np.maximum(1, np.abs(as_double(np.asarray(x))))
        ways = [{i: sign} for i in smooth for sign in (-1, 1)] + [dict.fromkeys(smooth, sign) for sign in (-1, 1)]
        ways += [{i: random.standard_normal(np.shape(self.inputs[i])) for i in smooth} for _ in range(COUNT)]
        moved = lambda way, part: [
            as_double(np.asarray(x)) + way[i] * steps(x) * part if i in way else x for i, x in enumerate(self.inputs)
        ]
        values = ([values_in_float64(self.subject, *moved(way, part)) for part in (1, SHORTER)] for way in ways)
        return [pair for pair in values if None not in pair]

    @functools.cached_property
    def has_jump(self) -> bool:
        """Whether the function is not continuous at the point."""
        here = values_in_float64(self.subject, *self.inputs)
        if here is None:
            return False
        off = lambda values: max(float(np.abs(a - b).max(initial=0)) for a, b in zip(values, here, strict=True))
        return any(off(short) > 0.5 * off(long) > 1e-9 for long, short in self.values)

    @functools.cached_property
    def has_border(self) -> bool:
        """Whether the function is undefined or not finite at a neighbour, or has a jump."""
        return self.has_jump or not all(np.isfinite(y).all() for pair in self.values for values in pair for y in values)

    def cotangent_entry(self, u: Sequence[Any], i: int, place: int) -> list[float]:
        """An entry of cotangent i at the neighbours of a kink, whose limits are all conventions (Clarke 1975)."""
        random = np.random.default_rng(0)
        values = []
        for _ in range(COUNT):
            moved = [
                as_double(np.asarray(x)) + DISTANCE * random.standard_normal(np.shape(x))
                if k in self.subject.smooth
                else x
                for k, x in enumerate(self.inputs)
            ]
            found = in_float64(self.subject.steps[1], *moved, *u)
            values += [] if found is None else [float(real_parts(found[len(u) + i]).reshape(-1)[place])]
        return [v for v in values if np.isfinite(v)] or [np.nan]
