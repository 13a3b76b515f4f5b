"""`jaxdl train`: a model trained on a data set, kept in a folder, that can be stopped anywhere and goes on."""

import contextlib
import itertools
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import jax
import optax
import tyro

from jaxdl.cli.metrics import Metrics
from jaxdl.cli.prepared import choose_platform, data_of, mesh_of, model_of
from jaxdl.cli.settings import Settings, as_toml, check, settings_in
from jaxdl.cli.setups import Setup, setup
from jaxdl.cli.usage import BadUsage, usage
from jaxdl.data import Records
from jaxdl.nn import parameter_count
from jaxdl.report import Table, number_text, seconds_text, terminal, write_whole
from jaxdl.train import Checkpoint, Diverged, Interrupted, Trained, fit, fully_sharded, launch, replicated
from jaxdl.train.processes import INDEX, initialize_launched

OUT = Path("jaxdl-run")
STOPPED = 130  # as a shell says of Ctrl-C
SAME = "model", "data", "automatic", "optimizer", "schedule", "batch", "bfloat16", "checkpointed", "seed"  # in a run
OPTIMIZERS = {
    "adam": optax.adam,
    "adamw": lambda rate: optax.adamw(rate, weight_decay=0.01),
    "sgd": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
}
SCHEDULES = {
    "constant": lambda rate, steps: rate,
    "cosine": optax.cosine_decay_schedule,
    "warmup-cosine": lambda rate, steps: optax.warmup_cosine_decay_schedule(0.0, rate, -(-steps // 20), steps),
}


def command(arguments: Sequence[str]) -> Callable[..., int]:
    """`train`, whose defaults are those of the TOML file, or of the run to go on with, that the arguments name."""
    given = dict(itertools.pairwise(part for a in arguments for part in a.split("=", 1)))
    kept = Path(given.get("--out", OUT)) / "settings.toml"
    if "--resume" in arguments:
        if not kept.exists():
            raise BadUsage(f"there is no run in {kept.parent} to go on with")
        default = settings_in(Path(given.get("--config", kept)), whole="--config" not in given)
    else:
        default = settings_in(Path(given["--config"])) if "--config" in given else Settings()

    def train(
        settings: Annotated[Settings, tyro.conf.arg(name="")] = default,
        config: Annotated[Path | None, tyro.conf.arg(metavar="FILE.toml")] = None,
        out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = OUT,
        resume: bool = False,
        processes: Annotated[int | None, tyro.conf.arg(metavar="N")] = None,
        quiet: bool = False,
    ) -> int:
        """Train a model on a data set.

        OUT gets settings.toml, metrics.jsonl, files for TensorBoard, and checkpoints. Ctrl-C saves, and says how to go
        on. Exit status: 0 trained, 1 the loss was not finite or a process was lost, 2 bad usage, 130 stopped.

        Args:
            config: Settings, by the same names, in place of flags; flags go before.
            out: The folder that keeps the run.
            resume: Go on with the run in OUT, with its settings; flags go before.
            processes: How many processes on this machine train together, each with its own devices.
            quiet: No progress bar and no tables, only errors.
        """
        if processes is not None and processes < 1:
            raise BadUsage(f"--processes must be 1 or more, got {processes}")
        if processes and INDEX not in os.environ:
            with _told(out):
                status = launch([sys.executable, "-m", "jaxdl", *arguments], processes)
            if status not in (0, 1, 2, STOPPED):  # of those it was told why
                again = f"to go on from the last checkpoint: jaxdl train --resume --out {out} --processes {processes}"
                raise Ended(f"a process of this run was lost (status {status}), and the others were ended; {again}", 1)
            return status
        if (out / "checkpoints").exists() and not resume:
            raise BadUsage(f"{out} holds a run: --resume goes on with it, --out takes another folder")
        return _run(settings, out, quiet)

    return train


def _run(settings: Settings, out: Path, quiet: bool) -> int:
    check(settings)
    chosen = usage(setup, settings.model)
    if settings.batch < 1:
        raise BadUsage(f"--batch must be 1 or more, got {settings.batch}")
    usage(choose_platform, settings.platform)
    usage(initialize_launched)
    mesh = usage(mesh_of, settings.devices)
    data, test, known = usage(data_of, chosen, settings)
    model, loss = model_of(chosen, settings, known)
    epochs = chosen.epochs if settings.epochs is None else settings.epochs
    examples = len(data if isinstance(data, Records) else data[0])
    steps = epochs * (examples // min(settings.batch, examples))
    learning_rate = chosen.rate if settings.rate is None else settings.rate
    rate = SCHEDULES[settings.schedule](learning_rate, max(steps, 1))
    same = {name: getattr(settings, name) for name in SAME} | {"rate": learning_rate}
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax's, which tells in hundreds of lines what is told here
    console = terminal(quiet=quiet or jax.process_index() > 0)
    console.print(_heading(chosen, known, mesh), soft_wrap=True)
    start = time.perf_counter()
    with _told(out), _metrics(out) as metrics:

        def begun():
            _keep_settings(settings, out)
            if metrics:
                metrics.begin()

        trained = fit(
            model, loss, data, OPTIMIZERS[settings.optimizer](rate), epochs, jax.random.key(settings.seed),
            batch=settings.batch, test=test, metrics=chosen.metrics, log=metrics,
            checkpoint=Checkpoint(out / "checkpoints", settings.every, settings.keep, same, begun),
            mesh=mesh, shard=fully_sharded if settings.shard else replicated,
            accumulate=settings.accumulate, skip_nonfinite=settings.skip_nonfinite, title=chosen.title, quiet=quiet,
        )  # fmt: skip
        if metrics and trained.history:
            _table(chosen, trained, metrics, time.perf_counter() - start, out).print(console)
    return 0


class Ended(Exception):
    """A run that ended before its end; the message, and the exit status."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


@contextlib.contextmanager
def _told(out):
    """What ends a run, in words for the person who started it."""
    again = f"jaxdl train --resume --out {out}"
    try:
        yield
    except Interrupted as error:
        raise Ended(f"stopped at step {error.step} and saved; to go on: {again}", STOPPED) from error
    except KeyboardInterrupt as error:
        raise Ended(f"stopped; to go on from the last checkpoint: {again}", STOPPED) from error
    except Diverged as error:
        raise Ended(str(error), 1) from error
    except (ValueError, OSError) as error:
        raise BadUsage(str(error)) from error
    except jax.errors.JaxRuntimeError as error:
        line = str(error).strip().splitlines()[0]
        if "RESOURCE_EXHAUSTED" in line:
            raise Ended(
                f"the device has not enough memory: {line}. A smaller --batch, --accumulate, --bfloat16, "
                f"--checkpointed and --shard need less; `jaxdl plan` tells how much", 1,
            ) from error  # fmt: skip
        if jax.process_count() == 1:
            raise
        message = f"jaxdl: another process of this run was lost ({line}). To go on, with as many as there are: {again}"
        print(message, file=sys.stderr, flush=True)
        os._exit(1)  # what is left of the others may hang, and this process with them


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
        f"{count}{device.device_kind} ({device.platform}), JAX {jax.__version__}"
    )


def _table(chosen: Setup, trained: Trained, metrics: Metrics, seconds: float, out: Path) -> Table:
    """The first epoch and the last three."""
    history = trained.history
    names = [name for name in history[-1] if name not in ("epoch", "seconds")]
    shown = history[:1] + history[max(1, len(history) - 3) :]
    rows = [
        (str(row["epoch"]), *[number_text(row.get(name, 0)) for name in names], seconds_text(row["seconds"]))
        for row in shown
    ]
    again = f", {metrics.again} of them after the second epoch" if metrics.again else ""
    compiled = f"{metrics.compiled} programs were compiled in {seconds_text(metrics.compiling)}{again}"
    note = (
        f"{parameter_count(trained.params):,} parameters; {seconds_text(seconds)}, in which {compiled}; all is in {out}"
    )
    return Table(chosen.title, ("epoch", *names, "time"), rows, note)
