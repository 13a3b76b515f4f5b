"""Runs several training steps at once: as one compiled scan over data in memory, or step by step over streamed batches.

Both runners take (params, state, start, stop, keys, ignore_nonfinite) and return (params, state, (losses, are_finite)).
They donate the parameters and state passed to them. The step is a `stopping_step`: after a non-finite step, the
parameters returned are those before it, unless `ignore_nonfinite` is true. `options` are those of the compiler. On CPUs
the loops in their programs, of steps or in a step, are made fast by `fast_in_loops`.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from jaxdl.data import Batches
from jaxdl.train.compiled_loops import fast_in_loops
from jaxdl.train.devices import Placement
from jaxdl.train.steps import scanned

Options = dict[str, str] | None


def separate(tree: Any) -> Any:
    """A pytree of arrays of JAX, none of them twice: they are donated, and some optimisers keep first parameters."""
    seen = set()

    def own(x):
        if not isinstance(x, jax.Array):
            return jnp.asarray(x)
        is_new = id(x) not in seen
        seen.add(id(x))
        return x if is_new else jnp.copy(x)

    return jax.tree.map(own, tree)


class ScannedSteps:
    """The data are on the devices, transferred once; the steps are one compiled scan."""

    most = None  # steps at once

    def __init__(
        self, batches: Batches, step: Callable[..., Any], place: Placement, options: Options, arrays: tuple[Any, ...]
    ):
        self.arrays: Any = place.on_every_device(arrays)
        self.prepare: Callable[..., Any] = functools.lru_cache(2)(
            lambda start, stop: place.on_every_device(batches.rows(start, stop))
        )

        def steps(params, state, x, y, rows, keys, ignore_nonfinite):
            on = lambda *carry_and_batch: step(*carry_and_batch, ignore_nonfinite)
            params, state, _, losses = scanned(on)((params, state, True), x, y, rows, keys)
            return params, state, losses

        fast = fast_in_loops(steps, place.platform)
        self.steps: Callable[..., Any] = jax.jit(fast, donate_argnums=(0, 1), compiler_options=options)

    def __call__(self, params: Any, state: Any, start: int, stop: int, keys: jax.Array, ignore_nonfinite: bool) -> Any:
        return self.steps(params, state, *self.arrays, self.prepare(start, stop), keys, ignore_nonfinite)


class StreamedSteps:
    """Batches are read ahead while the devices compute."""

    most = 20  # steps at once

    def __init__(self, batches: Batches, step: Callable[..., Any], place: Placement, options: Options, steps: int):
        self.batches: Batches = batches
        self.place: Placement = place
        self.end: int = steps
        fast = fast_in_loops(step, place.platform)
        self.step: Callable[..., Any] = jax.jit(fast, donate_argnums=(0, 1), compiler_options=options)
        self.position: int = -1
        self.ahead: Iterator[Any] = iter(())

    def prepare(self, start: int, stop: int) -> None:
        """Nothing to do: batches are read ahead."""

    def __call__(self, params: Any, state: Any, start: int, stop: int, keys: jax.Array, ignore_nonfinite: bool) -> Any:
        if self.position != start:
            self.ahead = self.batches.ahead(start, self.end)
        is_running, losses = True, []
        for part, key in zip(itertools.islice(self.ahead, stop - start), keys, strict=True):
            batch = self.place.batch(part)
            params, state, is_running, value = self.step(params, state, is_running, *batch, key, ignore_nonfinite)
            if losses:  # at most one step waits: collectives of many steps may hang among devices of one machine
                jax.block_until_ready(losses[-1])
            losses.append(value)
        self.position = stop
        return params, state, tuple(zip(*jax.device_get(losses), strict=True))
