"""`jaxdl train`: a model trained on a data set, in a folder from which the run can be resumed."""

import contextlib
import dataclasses
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import jax

from jaxdl.cli.finished_runs import finished, saved_steps, trained_before
from jaxdl.cli.from_settings import OPTIMIZERS, SCHEDULES, choose_platform, data_of, mesh_of, model_of
from jaxdl.cli.metrics import Metrics
from jaxdl.cli.settings import Settings, as_toml, check
from jaxdl.cli.training_recipes import Recipe, recipe
from jaxdl.cli.usage_errors import BadUsage, Ended, usage
from jaxdl.data import Records
from jaxdl.nn import parameter_count
from jaxdl.report import Table, device_text, plural_text, seconds_text, terminal, write_whole
from jaxdl.train import Checkpoint, Diverged, Interrupted, Trained, fit, fully_sharded, launch, replicated
from jaxdl.train.processes import INDEX, initialize_launched

MOST_EPOCHS = 6  # in the table
STOPPED = 130  # as a shell reports Ctrl-C
SAME = (  # in a run
    "model", "data", "automatic", "tune", "optimizer", "schedule", "batch", "bfloat16", "checkpointed", "seed",
)  # fmt: skip


def train_in_folder(
    arguments: Sequence[str], settings: Settings, out: Path, resume: bool, processes: int | None, quiet: bool
) -> int:
    """Trains a model in this process, or in several that it launches, and returns the exit status.

    Args:
        arguments: The command line, for processes that are launched.
        settings: The settings of the run.
        out: The folder of the run.
        resume: Whether the folder may hold a run, which is resumed.
        processes: How many processes to launch.
        quiet: Whether only errors are printed.
    """
    if processes is not None and processes < 1:
        raise BadUsage(f"--processes must be 1 or more, got {processes}")
    if processes and INDEX not in os.environ:
        return _launch(arguments, out, processes)
    if (out / "checkpoints").exists() and not resume:
        raise BadUsage(f"{out} holds a run: --resume continues it, --out chooses another folder")
    return _run(settings, out, resume, quiet)


def _launch(arguments, out, processes):
    with _explained(out):
        status = launch([sys.executable, "-m", "jaxdl", *arguments], processes)
    if status not in (0, 1, 2, STOPPED):  # with these, a process has printed the reason
        again = f"to resume from the last checkpoint: jaxdl train --resume --out {out} --processes {processes}"
        raise Ended(f"a process of this run was lost (status {status}), and the others were ended; {again}", 1)
    return status


def _run(settings: Settings, out: Path, resume: bool, quiet: bool) -> int:
    check(settings)
    chosen = usage(recipe, settings.model)
    if settings.batch < 1:
        raise BadUsage(f"--batch must be 1 or more, got {settings.batch}")
    usage(choose_platform, settings.platform)
    usage(initialize_launched)
    mesh = usage(mesh_of, settings.devices)
    data, test, known = usage(data_of, chosen, settings)
    model, loss = model_of(chosen, settings, known)
    epochs = chosen.epochs if settings.epochs is None else settings.epochs
    examples = len(data if isinstance(data, Records) else data[0])
    of_epoch = examples // min(settings.batch, examples)
    steps = epochs * of_epoch
    learning_rate = chosen.rate if settings.rate is None else settings.rate
    rate = SCHEDULES[settings.schedule](learning_rate, max(steps, 1))
    same = {name: getattr(settings, name) for name in SAME} | {"rate": learning_rate}
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax logs hundreds of lines
    console = terminal(quiet=quiet or jax.process_index() > 0)
    console.print(_heading(chosen, known, mesh), soft_wrap=True)
    start = time.perf_counter()
    with _explained(out):
        history = finished(settings, out, same, steps, epochs)
    if history:
        done = f"all {len(history)} epochs are trained, nothing was left to do; the run is in {out}"
        _table(chosen, trained_before(model, known.shape, history), done).print(console)
        return 0
    with _explained(out), _metrics(out) as metrics:

        def begun():
            _keep_settings(settings, out)
            step = max(saved_steps(out / "checkpoints"), default=0)
            if resume and step < steps:
                console.print(_resumed(step, of_epoch, epochs), soft_wrap=True)
            if metrics:
                metrics.begin()

        trained = fit(
            model, loss, data, OPTIMIZERS[settings.optimizer](rate), epochs, jax.random.key(settings.seed),
            batch=settings.batch, test=test, metrics=chosen.metrics, log=metrics,
            checkpoint=Checkpoint(out / "checkpoints", settings.every, settings.keep, same, begun),
            mesh=mesh, shard=fully_sharded if settings.shard else replicated,
            accumulate=settings.accumulate, skip_nonfinite=settings.skip_nonfinite, tune=settings.tune,
            title=chosen.title, quiet=quiet,
        )  # fmt: skip
        if metrics and trained.history:
            _table(chosen, trained, _course(metrics, time.perf_counter() - start, out)).print(console)
    return 0


@contextlib.contextmanager
def _explained(out):
    """Turns what ends a run into a message for the user."""
    again = f"jaxdl train --resume --out {out}"
    try:
        yield
    except Interrupted as error:
        raise Ended(f"stopped at step {error.step} and saved; to resume: {again}", STOPPED) from error
    except KeyboardInterrupt as error:
        raise Ended(f"stopped; to resume from the last checkpoint: {again}", STOPPED) from error
    except Diverged as error:
        raise Ended(str(error), 1) from error
    except (ValueError, OSError) as error:
        raise BadUsage(str(error)) from error
    except jax.errors.JaxRuntimeError as error:
        line = str(error).strip().splitlines()[0]
        if "RESOURCE_EXHAUSTED" in line:
            raise Ended(
                f"the device has not enough memory: {line}. A smaller --batch, --accumulate, --bfloat16, "
                f"--checkpointed and --shard need less; `jaxdl plan` shows how much", 1,
            ) from error  # fmt: skip
        if jax.process_count() == 1:
            raise
        message = f"jaxdl: another process of this run was lost ({line}). To resume with the remaining ones: {again}"
        print(message, file=sys.stderr, flush=True)
        os._exit(1)  # other processes may hang, and this one with them


def _metrics(out):
    return Metrics(out) if jax.process_index() == 0 else contextlib.nullcontext()


def _keep_settings(settings, out):
    if jax.process_index() == 0:
        out.mkdir(parents=True, exist_ok=True)
        write_whole(out / "settings.toml", as_toml(settings).encode())


def _heading(chosen, data, mesh):
    device = jax.devices()[0]
    count = f"{mesh.size} × " if mesh else ""
    return (
        f"{chosen.title} on {data.name} ({' × '.join(map(str, data.shape))}, {data.classes} classes), "
        f"{count}{device_text(device)}, JAX {jax.__version__}"
    )


def _resumed(step, of_epoch, epochs):
    """Where a run goes on; checkpoints that cannot be read are no longer in the folder."""
    where = f"in epoch {step // of_epoch + 1}" if step % of_epoch else f"at epoch {step // of_epoch + 1}"
    return f"resumes {where} of {epochs}, after {plural_text(step, 'step')}"


def _course(metrics: Metrics, seconds: float, out: Path) -> str:
    """How long the run took, and what was compiled in it."""
    again = f", {metrics.again} of them after the second epoch" if metrics.again else ""
    compiled = f"{metrics.compiled} programs were compiled in {seconds_text(metrics.compiling)}{again}"
    return f"{seconds_text(seconds)}, in which {compiled}; the run is in {out}"


def _table(chosen: Recipe, trained: Trained, course: str) -> Table:
    """The first epoch, the last, and some between them at even distances."""
    history = trained.table()
    shown = [history.rows[k] for k in evenly(len(history.rows), MOST_EPOCHS)]
    note = f"{parameter_count(trained.params):,} parameters; {course}"
    return dataclasses.replace(history, title=chosen.title, rows=shown, note=note)


def evenly(count: int, most: int) -> list[int]:
    """At most so many of the numbers from 0 to count − 1, the first and the last among them, at even distances.

    Examples:
        >>> evenly(21, 6)
        [0, 4, 8, 12, 16, 20]
    """
    shown = min(count, most)
    return [round(k * (count - 1) / max(shown - 1, 1)) for k in range(shown)]
