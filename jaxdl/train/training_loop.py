"""`fit`: the loop over epochs, which can be stopped anywhere and resumed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxdl.data import Batches, Records
from jaxdl.nn import Layer
from jaxdl.report import ProgressBar
from jaxdl.train.argument_checks import (
    check_classes,
    check_metrics,
    check_numbers,
    check_params,
    check_parts,
    check_test,
    source_of,
)
from jaxdl.train.checkpoints import Checkpoint, Store
from jaxdl.train.devices import Placement, is_mean_of_parts, replicated
from jaxdl.train.interrupt import Interruption
from jaxdl.train.run import Run
from jaxdl.train.run_identity import program_fingerprint, run_fingerprint
from jaxdl.train.step_runners import ScannedSteps, StreamedSteps, separate
from jaxdl.train.steps import (
    averaged,
    checked_step,
    gradient,
    objective,
    one_number,
    scaled,
    shape_of_example,
    stopping_step,
)
from jaxdl.train.trained import Trained
from jaxdl.train.tuned_runs import keep_tuned, tuned_objective

if TYPE_CHECKING:
    import optax


def fit(
    model: Layer,
    loss: Callable[..., jax.Array],
    data: tuple[Any, Any] | Records,
    optimizer: optax.GradientTransformation,
    epochs: int,
    key: jax.Array,
    *,
    batch: int = 64,
    test: tuple[Any, Any] | None = None,
    metrics: Mapping[str, Callable[..., jax.Array]] | None = None,
    watch: Callable[[int, Any], Any] | None = None,
    log: Callable[[dict[str, float]], Any] | None = None,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
    mesh: jax.sharding.Mesh | None = None,
    shard: Callable[[Any, Any], Any] = replicated,
    accumulate: int = 1,
    skip_nonfinite: bool = False,
    tune: bool = False,
    title: str = "training",
    quiet: bool = False,
) -> Trained:
    """Trains a model: minimises the mean over batches of loss(model.apply(params, x), y).

    Each epoch goes through the data in a new order, a function of the key, and drops the examples that do not fill a
    batch. A progress bar is shown on a terminal. A run with checkpoints that was stopped, in whatever way, resumes when
    `fit` is called again with the same arguments, and ends with the same parameters to the bit; only `epochs` may be
    more. Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 save the run before they stop it. On several devices the result is that of
    one, up to the order of summation; in several processes (`initialize`) all call `fit` alike, on the same data. On a
    CPU the convolutions of any model are written in the order of axes for which XLA has libraries in loops.

    Args:
        model: The model.
        loss: A function of (output, y). Its mean is minimised if it returns one number per example.
        data: (x, y), arrays or pytrees of arrays with the examples along the first axis, which are transferred to the
            devices once; or `data.records(…)`, read when needed. Arrays of uint8 in x are images of 0 … 255, scaled to
            [0, 1] on the device; signed integers are tokens.
        optimizer: An optimiser of optax. Line searches and step sizes that need the loss have it.
        epochs: How many epochs to train, 0 or more.
        key: The key of parameters, batches and dropout.
        batch: Examples in a batch, over all devices.
        test: Held-out (x, y); loss ("test_loss") and metrics are computed on it after every epoch.
        metrics: Functions of (output, y) with a scalar result, by name.
        watch: Called as watch(epoch, params) before the first epoch (0) and after each epoch.
        log: Called with the history's row of each epoch, also of those before the run was stopped.
        checkpoint: The folder of the checkpoints, or a `Checkpoint`. It must hold no other run.
        mesh: The devices over which every batch is split.
        shard: The function of (mesh, params) that shards the parameters: `replicated` or `fully_sharded`.
        accumulate: In how many parts a batch is computed, one after the other, to save memory.
        skip_nonfinite: Whether a step with a non-finite loss, gradient, update or parameter is skipped. By default it
            stops the run.
        tune: Whether the derivatives of the model and the loss are tuned on the first batch, as by `jaxdl.tune`, with
            the options of the compiler; this takes about half a minute. The choices are saved beside the checkpoints,
            so that a resumed run has the same. On one device only.
        title: The title of the progress bar.
        quiet: Whether no progress bar is shown.

    Returns:
        The parameters and the history.

    Raises:
        ValueError: Data without examples, of unequal lengths, with NaN, or with labels for which the model has no
            output; or checkpoints of another run.
        TypeError: Inputs that are neither floating point, nor tokens (signed integers), nor images (uint8).
        Diverged: The loss or the new parameters of a step are not finite, or all steps of an epoch were skipped.
        CheckpointError: A checkpoint cannot be read or written (an OSError).
        Interrupted: A signal stopped the run, after it was saved (a KeyboardInterrupt).

    Examples:
        >>> import jax, optax
        >>> from jaxdl import data, nn, ops, train
        >>> digits = data.load("digits")
        >>> loss = ops.softmax_cross_entropy_with_integer_labels
        >>> train_data, test_data = (digits.train_x, digits.train_y), (digits.test_x, digits.test_y)
        >>> trained = train.fit(
        ...     nn.mlp(9, 10), loss, train_data, optax.sgd(0.1), 2, jax.random.key(0),
        ...     test=test_data, quiet=True,
        ... )
        >>> trained.history[-1]["test_loss"] < trained.history[0]["test_loss"]
        True
    """
    check_numbers(epochs, batch, accumulate)
    check_parts(model, optimizer, key)
    source, arrays = source_of(data)
    check_test(test, arrays)
    check_metrics(metrics or {})
    init_key, order_key, noise_key = jax.random.split(key, 3)
    place = Placement(mesh, shard)
    place.check(min(batch, len(source)))
    batches = Batches(source, min(batch, len(source)), np.asarray(jax.random.key_data(order_key)).tolist(), place.part)
    x, y = arrays or jax.tree.map(np.asarray, source.read(np.arange(1)))
    params = place.started(lambda: model.init(init_key, jax.tree.map(shape_of_example, x)))
    check_params(params)
    params, state = separate((params, place.started(lambda: optimizer.init(params))))
    check_classes(loss, _output(model, params, x), source, [pair[1] for pair in (arrays, test) if pair])
    settings = {"accumulate": accumulate, "skip_nonfinite": skip_nonfinite}
    where = checkpoint if checkpoint is None or isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
    tuned = None
    if tune:
        if mesh is not None:
            raise ValueError("fit: tune=True is for one device; with a mesh, tune the model beforehand")
        rows = batches.batch // accumulate
        tuned = tuned_objective(objective(model, loss), params, source, rows, noise_key, where, quiet)
        settings["tuned"] = tuned
    plain_step = checked_step(model, loss, optimizer, **settings)
    if mesh is not None and _is_data_parallel(model, loss, params, source, place, noise_key):
        settings["over_devices"] = place.data_parallel
    step = stopping_step(place.step(checked_step(model, loss, optimizer, **settings)), with_state=skip_nonfinite)
    steps = epochs * batches.epoch_steps
    options = tuned.compiler_options if tuned else None
    run = Run(
        batches, noise_key, params, state, skip_nonfinite,
        ScannedSteps(batches, step, place, options, arrays)
        if arrays
        else StreamedSteps(batches, step, place, options, steps),
        _evaluation(model, loss, metrics or {}, test and place.spread(test)), watch, log,
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        if where is not None:
            same = run_fingerprint(batches, key, accumulate, data, params, state)
            if where.settings is None:
                same |= program_fingerprint(plain_step, params, state, *_examples((x, y), batches.batch), noise_key)
            run.keep_in(stack.enter_context(Store(where)), dict(where.settings or {}) | same)
            if where.begun:
                where.begun()
            if tuned is not None:
                keep_tuned(tuned, where.folder)
        bar = stack.enter_context(ProgressBar(title, steps, quiet))
        run.to(steps, bar, stack.enter_context(Interruption(run.store is not None)))
    return run.trained()


def _output(model, params, x):
    """The types of the model's output for one example."""
    return jax.eval_shape(lambda params, x: model.apply(params, scaled(x)), params, _examples(x, 1))


def _examples(tree, count):
    """The types of so many examples on the device."""
    dtype = jax.dtypes.canonicalize_dtype
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct((count, *a.shape[1:]), dtype(a.dtype)), tree)


def _is_data_parallel(model, loss, params, source, place, key):
    """Whether each device can compute its rows alone, tried on a few examples."""
    x, y = place.on_every_device(source.read(np.arange(min(4, len(source)))))
    return is_mean_of_parts(gradient(model, loss), params, x, y, key)


def _evaluation(model, loss, metrics, test):
    """A function of the parameters with the loss and metrics of the held-out data, if there are any."""

    if test is None:
        return lambda params: {}

    @jax.jit
    def evaluate(params, x, y):
        output = model.apply(params, scaled(x))
        values = {name: one_number(f"metric {name!r}", metric(output, y)) for name, metric in metrics.items()}
        return {"test_loss": averaged(loss)(output, y)} | values

    return lambda params: {name: float(value) for name, value in evaluate(params, *test).items()}
