"""`fit`: the loop over epochs, that can be stopped anywhere and goes on where it was."""

import contextlib
import dataclasses
import functools
import math
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxdl.data import Batches, Records
from jaxdl.nn import Layer
from jaxdl.train.argument_checks import check_classes, check_metrics, check_numbers, check_test, source_of
from jaxdl.train.checkpoints import Checkpoint, Store
from jaxdl.train.devices import Placement, is_mean_of_parts, replicated
from jaxdl.train.failed_step import Diverged, FailedStep, enough_failed_steps, save_failed_step
from jaxdl.train.history import History
from jaxdl.train.interrupt import Interrupted, Interruption
from jaxdl.train.progress import StepsBar
from jaxdl.train.run_fingerprint import program_fingerprint, run_fingerprint
from jaxdl.train.step_runners import ScannedSteps, StreamedSteps
from jaxdl.train.steps import averaged, checked_step, gradient, scaled, shape_of_example, stopping_step
from jaxdl.train.trained import Trained

HISTORY = "history.jsonl"  # beside the checkpoints


def fit(
    model: Layer,
    loss: Callable,
    data: tuple | Records,
    optimizer: optax.GradientTransformation,
    epochs: int,
    key: jax.Array,
    *,
    batch: int = 64,
    test: tuple | None = None,
    metrics: Mapping[str, Callable] | None = None,
    watch: Callable[[int, Any], None] | None = None,
    log: Callable[[dict[str, float]], None] | None = None,
    checkpoint: Checkpoint | str | os.PathLike | None = None,
    mesh: jax.sharding.Mesh | None = None,
    shard: Callable = replicated,
    accumulate: int = 1,
    skip_nonfinite: bool = False,
    title: str = "training",
    quiet: bool = False,
) -> Trained:
    """Minimises the mean over batches of loss(model.apply(params, x), y), or of its mean where it is one an example.

    data: (x, y), arrays or pytrees of arrays in memory with the examples in front, which go on the device once; or
    `data.records(…)`, read as they are needed. Each epoch goes through them in a new order, a function of the key, in
    batches of `batch`, leaving out what does not fill one. Arrays of uint8 in x are images of 0 … 255, scaled to [0, 1]
    on the device.
    test: (x, y) on which the loss ("test_loss") and `metrics`, functions of (output, y), are taken
    after every epoch. watch(epoch, params) is called before the first epoch (0) and after each one; log(row) with each
    epoch's row of the history, with those of before a stop as well.
    checkpoint: a folder, or a `Checkpoint`. A run that was stopped, in whatever way, goes on at its last checkpoint
    when it is called again in the same way, and ends with the same parameters to the bit; `epochs` may be more.
    Ctrl-C saves before it raises Interrupted. A run of another model, loss, optimiser, rate or data is refused there.
    mesh: devices over which every batch is shared out; shard(mesh, params), `replicated` or `fully_sharded`, says where
    the parameters lie. The result is that of one device, up to the order of summation. In several processes
    (`train.initialize`) all call fit alike, on the same data.
    accumulate: in how many parts a batch is taken, one after the other, in the memory of one.
    skip_nonfinite: leave out steps whose loss, gradients, updates or parameters are not finite, in place of stopping
    there.
    The progress bar shows on a terminal only, and never with `quiet`.

    Raises ValueError for data without examples, of unequal lengths, with NaN, or with labels that the model has no
    output for, and for a checkpoint of another run, TypeError for integer inputs other than tokens (signed) and images
    (uint8), Diverged at the first step whose loss or new parameters are not finite, or where an epoch left out all of
    its steps, CheckpointError (an OSError) where a checkpoint cannot be read or written.
    """
    check_numbers(epochs, batch, accumulate)
    source, arrays = source_of(data)
    check_test(test, arrays)
    check_metrics(metrics or {})
    init_key, order_key, noise_key = jax.random.split(key, 3)
    place = Placement(mesh, shard)
    place.check(min(batch, len(source)))
    batches = Batches(source, min(batch, len(source)), np.asarray(jax.random.key_data(order_key)).tolist(), place.part)
    x, y = arrays or jax.tree.map(np.asarray, source.read(np.arange(1)))
    params = place.started(lambda: model.init(init_key, jax.tree.map(shape_of_example, x)))
    state = place.started(lambda: optimizer.init(params))
    check_classes(loss, _output(model, params, x), source, [pair[1] for pair in (arrays, test) if pair])
    settings = {"accumulate": accumulate, "skip_nonfinite": skip_nonfinite}
    plain_step = checked_step(model, loss, optimizer, **settings)
    if mesh is not None and is_mean_of_parts(gradient(model, loss), params, *_first(source, place), noise_key):
        settings["over_devices"] = place.data_parallel
    step = stopping_step(place.step(checked_step(model, loss, optimizer, **settings)), with_state=skip_nonfinite)
    steps = epochs * batches.epoch_steps
    run = _Run(
        batches, noise_key, params, state, skip_nonfinite,
        ScannedSteps(batches, step, place, arrays) if arrays else StreamedSteps(batches, step, place, steps),
        _evaluation(model, loss, metrics or {}, test and place.spread(test)), watch, log,
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        if checkpoint is not None:
            where = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
            same = run_fingerprint(batches, key, accumulate, data, params, state)
            if where.settings is None:
                same |= program_fingerprint(plain_step, params, state, *_examples((x, y), batches.batch), noise_key)
            run.keep_in(stack.enter_context(Store(where)), dict(where.settings or {}) | same)
            if where.begun:
                where.begun()
        bar = stack.enter_context(StepsBar(title, steps, quiet))
        run.to(steps, bar, stack.enter_context(Interruption(run.store is not None)))
    return run.trained()


@dataclasses.dataclass
class _Run:
    """Where a run is: parameters, the optimiser's state, the steps done and to do, and what was noted of them."""

    batches: Batches
    noise_key: jax.Array
    params: Any
    state: Any
    skip_nonfinite: bool
    stretch: Callable
    evaluate: Callable
    watch: Callable | None
    log: Callable | None
    step: int = 0
    end: int = 0
    ignore_nonfinite: bool = False  # whether a step that is not finite is passed over
    history: History = dataclasses.field(default_factory=History)
    last_row: dict | None = None
    losses: list = dataclasses.field(default_factory=list)  # of the steps of the epoch under way; NaN of those left out
    store: Store | None = None
    settings: dict | None = None

    def keep_in(self, store: Store, settings: dict) -> None:
        """From now on the run is kept, and goes on where it was if there was one."""
        self.store, self.settings = store, settings
        saved = store.latest({"params": self.params, "state": self.state}, settings)
        if saved:
            self.params, self.state = saved.state["params"], saved.state["state"]
            self.step, self.losses = saved.step, [*map(_number, saved.notes["losses"])]
        epochs = self.step // self.batches.epoch_steps
        self.history.keep_in(store.folder / HISTORY, epochs, writes=jax.process_index() == 0)
        for row in self.history:
            self.last_row = row

    def to(self, steps: int, bar: Callable, interruption: Interruption) -> None:
        """Goes on up to so many steps, keeping itself on the way."""
        if self.watch and not self.step:
            self.watch(0, _copied(self.params))
        for row in self.history if self.log else ():
            self.log(row)
        start = time.perf_counter()
        self.end, self.ignore_nonfinite = steps, self._keeps_no_more()
        while self.step < steps:
            self._stretch(self._next_stop(self.step))
            bar(self.step, self.losses[-1])
            if self.step % self.batches.epoch_steps == 0:
                now = time.perf_counter()
                self._end_epoch(now - start)
                start = now
            if self.store and (self.step % self._every == 0 or self.step == steps or interruption.asked):
                self._save()
            if interruption.asked:
                self.store.wait()
                raise Interrupted(self.step, self.store.folder)

    def trained(self) -> Trained:
        return Trained(self.params, [*self.history])

    def _stretch(self, stop):
        losses, fine = self._steps(stop, self.ignore_nonfinite)
        counted = np.where(fine, losses, np.nan)
        if self.ignore_nonfinite or fine.all():
            self._count(counted)
            return
        bad = int(np.argmin(fine))
        self._count(counted[:bad])  # from there on nothing was changed
        self._nonfinite(losses[bad])
        self._count(counted[bad : bad + 1])
        if self.step < stop:
            losses, fine = self._steps(stop, True)
            self._count(np.where(fine, losses, np.nan))

    def _steps(self, stop, ignore_nonfinite):
        """Takes the steps up to stop; their losses, and whether they are finite."""
        keys = self._keys(self.step, stop)
        self.params, self.state, losses = self.stretch(self.params, self.state, self.step, stop, keys, ignore_nonfinite)
        if stop < self.end:  # while the devices compute
            following = stop, self._next_stop(stop)
            self._keys(*following)
            self.stretch.prepare(*following)
        return [*map(np.asarray, losses)]

    def _count(self, losses):
        self.losses += losses.tolist()
        self.step += len(losses)

    @functools.cached_property
    def _keys(self):
        """A function that gives a key for each of the steps from start up to stop, all of one epoch."""
        count = self.batches.epoch_steps
        of_epoch = jax.jit(lambda key, epoch: jax.random.split(jax.random.fold_in(key, epoch), count))

        @functools.lru_cache(2)
        def keys(start, stop):
            epoch, first = divmod(start, count)
            found = of_epoch(self.noise_key, epoch + 1)
            return found if stop - start == count else found[first : first + stop - start]

        return keys

    def _nonfinite(self, loss):
        """Keeps what the step that is next saw; stops there, unless such steps are left out."""
        step = self.step
        before = FailedStep(step, self.params, *self.batches.whole(step), self._keys(step, step + 1)[0])
        path = save_failed_step(self.store.folder, before) if self.store else None
        if not self.skip_nonfinite:
            epoch, first = divmod(step, self.batches.epoch_steps)
            when = f"step {first + 1} of {self.batches.epoch_steps} in epoch {epoch + 1}"
            raise Diverged(float(loss), when, path, self.trained(), before)
        self.ignore_nonfinite = self._keeps_no_more()

    def _keeps_no_more(self):
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

    def _save(self):
        self.history.sync()
        last = self.last_row or {"loss": float(np.mean(self.losses))}
        state = {"params": self.params, "state": self.state}
        notes = {"run": self.settings, "losses": self.losses}
        self.store.save(self.step, state, notes, last.get("test_loss", last["loss"]))

    @property
    def _every(self):
        return self.store.where.every or self.batches.epoch_steps

    def _next_stop(self, step):
        """The end of the epoch or of the run, the next checkpoint, or as far as goes in one stretch: what is first."""
        spans = [self.batches.epoch_steps, self.store and self._every, self.stretch.most]
        return min(self.end, *(step // span * span + span for span in spans if span))


def _output(model, params, x):
    """The types of what the model gives for one example."""
    return jax.eval_shape(lambda params, x: model.apply(params, scaled(x)), params, _examples(x, 1))


def _examples(tree, count):
    """The types of so many examples on the device."""
    dtype = jax.dtypes.canonicalize_dtype
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((count, *a.shape[1:]), dtype(a.dtype)), tree)


def _copied(params):
    """For others to keep: the steps use up the arrays they are given."""
    return jax.tree.map(jnp.copy, params)


def _number(x):
    """As it was before it was written as JSON, which has no NaN."""
    return math.nan if x is None else x


def _first(source, place):
    """A few examples, the same in all processes."""
    return place.on_every_device(source.read(np.arange(min(4, len(source)))))


def _evaluation(model, loss, metrics, test):
    """A function of the parameters that gives the numbers of the held-out data, none where there are none."""

    @jax.jit
    def evaluate(params, x, y):
        output = model.apply(params, scaled(x))
        return {"test_loss": averaged(loss)(output, y)} | {name: metric(output, y) for name, metric in metrics.items()}

    if test is None:
        return lambda params: {}
    return lambda params: {name: float(value) for name, value in evaluate(params, *test).items()}
