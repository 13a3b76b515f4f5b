"""A stretch of steps from one place in a run to another: one program on data in memory, step by step on data read."""

import functools
import itertools
from collections.abc import Callable

import jax

from jaxdl.data import Batches
from jaxdl.train.devices import Placement
from jaxdl.train.steps import scanned


class InMemory:
    """The data lie on the devices, put there once; a stretch is one compiled scan."""

    most = None  # steps at once

    def __init__(self, batches: Batches, step: Callable, place: Placement, arrays: tuple):
        self.arrays = place.everywhere(arrays)
        self.steps = jax.jit(scanned(place.step(step)))
        self.prepare = functools.lru_cache(2)(lambda start, stop: place.everywhere(batches.rows(start, stop)))

    def __call__(self, params, state, start: int, stop: int, keys) -> tuple:
        return self.steps(params, state, *self.arrays, self.prepare(start, stop), keys)


class Read:
    """The data are read ahead while the devices compute; the next batch is on its way when a step ends."""

    most = 20

    def __init__(self, batches: Batches, step: Callable, place: Placement, steps: int):
        self.batches, self.place, self.end = batches, place, steps
        self.step = jax.jit(place.step(step))
        self.position, self.ahead = None, None

    def prepare(self, start: int, stop: int) -> None:
        """Nothing to do: batches are read ahead."""

    def __call__(self, params, state, start: int, stop: int, keys) -> tuple:
        if self.position != start:
            self.ahead = self.batches.ahead(start, self.end)
        losses = []
        for part, key in zip(itertools.islice(self.ahead, stop - start), keys, strict=True):
            params, state, value = self.step(params, state, *self.place.batch(part), key)
            if losses:  # one step waits while one runs: collectives of many on one machine's devices may hang
                losses[-1].block_until_ready()
            losses.append(value)
        self.position = stop
        return params, state, jax.device_get(losses)
