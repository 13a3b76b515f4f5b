"""A stretch of steps from one place in a run to another: one program on data in memory, step by step on data read.

Both are made of a step that is `stopping`, take (params, state, start, stop, keys, no_matter), give (params, state,
(losses, are_fine)), and use up the arrays they are given. After a step that is not finite the parameters that come
back are those before it, unless `no_matter` says to ignore such steps.
"""

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
        self.prepare = functools.lru_cache(2)(lambda start, stop: place.everywhere(batches.rows(start, stop)))

        def steps(params, state, x, y, rows, keys, no_matter):
            on = lambda *carry_and_batch: step(*carry_and_batch, no_matter)
            params, state, _, losses = scanned(on)((params, state, True), x, y, rows, keys)
            return params, state, losses

        self.steps = jax.jit(steps, donate_argnums=(0, 1))

    def __call__(self, params, state, start: int, stop: int, keys, no_matter: bool) -> tuple:
        return self.steps(params, state, *self.arrays, self.prepare(start, stop), keys, no_matter)


class Read:
    """The data are read ahead while the devices compute; the next batch is on its way when a step ends."""

    most = 20

    def __init__(self, batches: Batches, step: Callable, place: Placement, steps: int):
        self.batches, self.place, self.end = batches, place, steps
        self.step = jax.jit(step, donate_argnums=(0, 1))
        self.position, self.ahead = None, None

    def prepare(self, start: int, stop: int) -> None:
        """Nothing to do: batches are read ahead."""

    def __call__(self, params, state, start: int, stop: int, keys, no_matter: bool) -> tuple:
        if self.position != start:
            self.ahead = self.batches.ahead(start, self.end)
        goes_on, losses = True, []
        for part, key in zip(itertools.islice(self.ahead, stop - start), keys, strict=True):
            batch = self.place.batch(part)
            params, state, goes_on, value = self.step(params, state, goes_on, *batch, key, no_matter)
            if losses:  # one step waits while one runs: collectives of many on one machine's devices may hang
                jax.block_until_ready(losses[-1])
            losses.append(value)
        self.position = stop
        return params, state, tuple(zip(*jax.device_get(losses), strict=True))
