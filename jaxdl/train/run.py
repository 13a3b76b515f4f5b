"""A run under way: it takes the steps, records the history, and saves and restores itself."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl.data import Batches
from jaxdl.train.checkpoints import Store
from jaxdl.train.failed_step import Diverged, FailedStep, enough_failed_steps, save_failed_step
from jaxdl.train.history import History
from jaxdl.train.interrupt import Interrupted, Interruption
from jaxdl.train.step_runners import ScannedSteps, StreamedSteps
from jaxdl.train.trained import Trained

HISTORY = "history.jsonl"  # beside the checkpoints


@dataclasses.dataclass
class Run:
    """The state of a run: parameters, optimiser's state, steps done and to do, and the history."""

    batches: Batches
    noise_key: jax.Array
    params: Any
    state: Any
    skip_nonfinite: bool
    runner: ScannedSteps | StreamedSteps
    evaluate: Callable[..., Any]
    watch: Callable[..., Any] | None
    log: Callable[..., Any] | None
    step: int = 0
    end: int = 0
    ignore_nonfinite: bool = False  # whether non-finite steps are skipped and not saved
    history: History = dataclasses.field(default_factory=History)
    last_row: dict[str, Any] | None = None
    losses: list[float] = dataclasses.field(default_factory=list)  # of the current epoch's steps; NaN if skipped
    store: Store | None = None
    settings: dict[str, Any] | None = None

    def keep_in(self, store: Store, settings: dict[str, Any]) -> None:
        """Saves the run in a store from now on, and restores it if it is there already."""
        self.store, self.settings = store, settings
        saved = store.latest({"params": self.params, "state": self.state}, settings)
        if saved:
            self.params, self.state = saved.state["params"], saved.state["state"]
            self.step, self.losses = saved.step, [*map(_number, saved.notes["losses"])]
        epochs = self.step // self.batches.epoch_steps
        self.history.keep_in(store.folder / HISTORY, epochs, writes=jax.process_index() == 0)
        for row in self.history:
            self.last_row = row

    def to(self, steps: int, bar: Callable[..., Any], interruption: Interruption) -> None:
        """Trains up to so many steps, and saves checkpoints on the way."""
        if self.watch and not self.step:
            self.watch(0, _copied(self.params))
        if self.log:
            for row in self.history:
                self.log(row)
        start = time.perf_counter()
        self.end, self.ignore_nonfinite = steps, self._ignores_nonfinite()
        while self.step < steps:
            self._advance(self._next_stop(self.step))
            bar(self.step, f"loss {self.losses[-1]:.4f}")
            if self.step % self.batches.epoch_steps == 0:
                now = time.perf_counter()
                self._end_epoch(now - start)
                start = now
            if self.store and (self.step % self._every == 0 or self.step == steps or interruption.requested):
                self._save(self.store)
            if interruption.requested and self.store:
                self.store.wait()
                raise Interrupted(self.step, self.store.folder)

    def trained(self) -> Trained:
        """Parameters and history so far."""
        return Trained(self.params, [*self.history])

    def _advance(self, stop):
        losses, fine = self._steps(stop, self.ignore_nonfinite)
        counted = np.where(fine, losses, np.nan)
        if self.ignore_nonfinite or fine.all():
            self._count(counted)
            return
        bad = int(np.argmin(fine))
        self._count(counted[:bad])  # the parameters have not changed since
        self._handle_nonfinite(losses[bad])
        self._count(counted[bad : bad + 1])
        if self.step < stop:
            losses, fine = self._steps(stop, True)
            self._count(np.where(fine, losses, np.nan))

    def _steps(self, stop, ignore_nonfinite):
        """Takes the steps up to stop; returns their losses, and whether they are finite."""
        keys = self._keys(self.step, stop)
        self.params, self.state, losses = self.runner(self.params, self.state, self.step, stop, keys, ignore_nonfinite)
        if stop < self.end:  # while the devices compute
            following = stop, self._next_stop(stop)
            self._keys(*following)
            self.runner.prepare(*following)
        return [*map(np.asarray, losses)]

    def _count(self, losses):
        self.losses += losses.tolist()
        self.step += len(losses)

    @functools.cached_property
    def _keys(self):
        """A function (start, stop) → a key for each of these steps, all of one epoch."""
        count = self.batches.epoch_steps
        of_epoch = jax.jit(lambda key, epoch: jax.random.split(jax.random.fold_in(key, epoch), count))

        @functools.lru_cache(2)
        def keys(start, stop):
            epoch, first = divmod(start, count)
            found = of_epoch(self.noise_key, epoch + 1)
            return found if stop - start == count else found[first : first + stop - start]

        return keys

    def _handle_nonfinite(self, loss):
        """Saves the next step, which is not finite, and stops there unless such steps are skipped."""
        step = self.step
        failed = FailedStep(step, self.params, *self.batches.whole(step), self._keys(step, step + 1)[0])
        path = save_failed_step(self.store.folder, failed) if self.store else None
        if not self.skip_nonfinite:
            epoch, first = divmod(step, self.batches.epoch_steps)
            when = f"step {first + 1} of {self.batches.epoch_steps} in epoch {epoch + 1}"
            raise Diverged(float(loss), when, path, self.trained(), failed)
        self.ignore_nonfinite = self._ignores_nonfinite()

    def _ignores_nonfinite(self):
        return self.skip_nonfinite and (self.store is None or enough_failed_steps(self.store.folder))

    def _end_epoch(self, seconds):
        fine = [loss for loss in self.losses if math.isfinite(loss)]
        epoch = self.step // self.batches.epoch_steps
        if not fine:
            raise Diverged(None, f"any step of epoch {epoch}", None, self.trained(), None)
        row = {"epoch": epoch, "loss": float(np.mean(fine)), "seconds": seconds}
        if len(fine) < len(self.losses):
            row["skipped"] = len(self.losses) - len(fine)
        row |= self.evaluate(self.params)
        self.history.append(row)
        self.last_row, self.losses = row, []
        if self.log:
            self.log(row)
        if self.watch:
            self.watch(row["epoch"], _copied(self.params))

    def _save(self, store):
        self.history.sync()
        last = self.last_row or {"loss": float(np.mean(self.losses))}
        state = {"params": self.params, "state": self.state}
        notes = {"run": self.settings, "losses": self.losses}
        store.save(self.step, state, notes, last.get("test_loss", last["loss"]))

    @property
    def _every(self):
        """Steps between checkpoints."""
        every = self.store.where.every if self.store else None
        return every or self.batches.epoch_steps

    def _next_stop(self, step):
        """The end of the epoch or run, the next checkpoint, or the most steps at once, whichever comes first."""
        spans = [self.batches.epoch_steps, self.store and self._every, self.runner.most]
        return min(self.end, *(step // span * span + span for span in spans if span))


def _copied(params):
    """A copy that stays valid: steps donate their arguments."""
    return jax.tree.map(jnp.copy, params)


def _number(x):
    """NaN for None, as which JSON stores it."""
    return math.nan if x is None else x
