"""The commands, their flags and their help. What a command needs is imported when it runs, so that help is quick."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg, subcommand

from jaxdl.cli.settings import Optimizer, Settings, settings_in
from jaxdl.cli.usage_errors import BadUsage

RUN = Path("jaxdl-run")
Chip = Literal["a100", "h100", "h200", "tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e"]  # the names of jaxdl.train.CHIPS
Count = Annotated[int | None, arg(metavar="N")]
Number = Annotated[int, arg(metavar="N")]
Seconds = Annotated[float, arg(metavar="SECONDS")]
Limit = Annotated[float | None, arg(metavar="SECONDS")]
Model = Annotated[str, arg(metavar="MODEL")]
Data = Annotated[str, arg(metavar="NAME")]
Arguments = Annotated[Path | None, arg(metavar="FILE.py")]
File = Annotated[Path | None, arg(metavar="FILE")]
Folder = Annotated[Path | None, arg(metavar="FOLDER")]
DataSet = Annotated[str, Positional, arg(metavar="NAME")]


def contrast(
    model: Model = "all",
    data: Data = "digits",
    epochs: Count = None,
    seed: Number = 0,
    float64: bool = False,
    tuned: bool = False,
    order: Literal[1, 2] = 1,
    out: Annotated[Path, arg(metavar="FOLDER")] = Path("jaxdl-report"),
    quiet: bool = False,
) -> int:
    """Train models twice, with hand-written derivative rules and with JAX's own, and compare.

    Shows results, accuracy, time and memory, per model and per rule, on the terminal and in OUT/report.html.
    Exit status: 0 the derivatives agree, 1 they differ beyond rounding, 2 bad usage.

    Args:
        model: mlp, convnet, autoencoder or all.
        data: digits (comes with jaxdl) or a name of TensorFlow Datasets with images and labels.
        epochs: Number of epochs; by default what each model needs.
        seed: Seed of parameters, batches and dropout.
        float64: Compute in float64 in place of float32.
        tuned: Show also what jaxdl.tune finds for each model, which takes 10 seconds each.
        order: 2 compares second derivatives at the end of the training.
        out: Folder for report.json, report.html and the plots.
        quiet: No progress bars and no tables, only errors.
    """
    from jaxdl.cli.contrasting import contrast_trainings

    return contrast_trainings(model, data, epochs, seed, float64, tuned, order, out, quiet)


def audit(
    target: Annotated[str, Positional, arg(metavar="MODULE[:FUNCTION]")],
    args: Arguments = None,
    accepted: Annotated[Path | None, arg(metavar="FILE.toml")] = None,
    out: File = None,
    domains: Annotated[tuple[str, ...], arg(metavar="NAME=LOW:HIGH ...")] = (),
    seconds: Limit = None,
    quick: bool = False,
) -> int:
    """Audit the derivative rules of a function, or of every public function of a module that takes arrays.

    The module is imported and its functions are called: use only code that you would run.
    Exit status: 0 no fault, 1 a derivative is wrong, inaccurate or not finite, 2 something could not be run, 130 it was
    stopped by Ctrl-C, and what was done is reported.

    Args:
        target: package.module:function, or package.module.
        args: Python file with each function's arguments, as a tuple under its name. Without it they are generated.
        accepted: TOML file of accepted findings: tables [[accepted]] with rule, verdict, reason, check.
        out: File for the report, .json or .html; for a module, a folder with a page for each function.
        domains: The numbers that an argument may have, both ends included, such as eps=1e-12:1.
        seconds: After so many seconds no further check starts; the report says what was left out.
        quick: Only first and second derivative, single inputs, types and linearity, in float32.
    """
    from jaxdl.cli.auditing import audit_target

    return audit_target(target, args, accepted, out, domains, seconds, quick)


def graph(
    target: Annotated[str, Positional, arg(metavar="EXAMPLE|MODULE:FUNCTION")] = "",
    args: Arguments = None,
    out: File = None,
    steps: bool = False,
    costs: bool = False,
    depth: Count = None,
) -> int:
    """Show the computational graph of a function: values forward, gradients backward.

    The function's module is imported and the function is called: use only code that you would run.
    Without a target, the examples are listed. If the output is not a single number, the gradient is that of its sum.

    Args:
        target: An example, or package.module:function.
        args: Python file with the function's arguments, as a tuple under its name. Without it they are generated.
        out: File for the picture: .html for an interactive page, .svg, .png, .dot or .mmd.
        steps: Show the forward and the backward pass one node at a time.
        costs: Show the operations of each node, forward and backward, and the bytes it keeps.
        depth: How many levels of boxes are open in the picture.
    """
    from jaxdl.cli.graphing import show_graph

    return show_graph(target, args, out, steps, costs, depth)


def tune(
    target: Annotated[str, Positional, arg(metavar="MODEL|MODULE:FUNCTION")],
    args: Arguments = None,
    batch: Number = 64,
    argnums: Annotated[tuple[int, ...] | None, arg(metavar="N ...")] = None,
    max_bytes: Count = None,
    seconds: Seconds = 30.0,
    compiler_options: bool = False,
    out: File = None,
    quiet: bool = False,
) -> int:
    """Find the fastest mix of hand-written and automatic derivatives for a model or a function, by measurement.

    The function's module is imported and the function is called: use only code that you would run.
    Exit status: 0 tuned, 2 bad usage.

    Args:
        target: A model of `jaxdl train`, in its parameters, or package.module:function.
        args: Python file with the function's arguments, as a tuple under its name. Without it they are generated.
        batch: Examples in a batch, for a model.
        argnums: The positions of a function's arguments in which it will be differentiated; by default all.
        max_bytes: How many bytes the backward pass may keep of the forward pass, besides the arguments.
        seconds: About how long to measure.
        compiler_options: Choose options of the compiler too.
        out: File for the result: .json, which jaxdl.Tuned.load reads, .html, .md or .txt.
        quiet: No progress bar and no tables, only errors.
    """
    from jaxdl.cli.tuning import tune_target

    return tune_target(target, args, batch, argnums, max_bytes, seconds, compiler_options, out, quiet)


def plan(
    model: Annotated[str, Positional, arg(metavar="MODEL")],
    batch: Number = 64,
    devices: Number = 1,
    chip: Chip = "h100",
    shape: Annotated[tuple[int, ...] | None, arg(metavar="N ...")] = None,
    classes: Number = 10,
    optimizer: Optimizer = "adam",
    accumulate: Number = 1,
    shard: bool = False,
    bfloat16: bool = False,
    checkpointed: bool = False,
    automatic: bool = False,
) -> int:
    """Show what a step of training needs on each device: memory, operations, communication, and the least time.

    From types, and a program compiled for the present backend, which is not run.
    Exit status: 0 it fits, 1 it does not, 2 bad usage.

    Args:
        model: mlp, convnet, autoencoder, lenet5, nin, vit, alexnet or vit-b16.
        batch: Examples in a batch, over all devices.
        devices: How many devices share the batch.
        chip: The kind of device.
        shape: Shape of an input; by default the one the model was made for, or that of the digits.
        classes: Outputs of the model.
        optimizer: Its state takes memory.
        accumulate: Number of parts in which a batch is computed, one after the other.
        shard: Shard the parameters over the devices too.
        bfloat16: Compute in bfloat16; parameters stay in float32.
        checkpointed: Keep only the inputs of the model's layers for the backward pass.
        automatic: Without the hand-written rules.
    """
    from jaxdl.cli.planning import show_plan

    settings = Settings(
        model, batch=batch, devices=devices, optimizer=optimizer, accumulate=accumulate, shard=shard,
        bfloat16=bfloat16, checkpointed=checkpointed, automatic=automatic,
    )  # fmt: skip
    return show_plan(settings, chip, shape, classes)


def list_sets(folder: Folder = None) -> int:
    """List the data sets that can be read: the embedded digits, and those prepared in a folder.

    Exit status: 0 all can be read, 2 a data set in the folder cannot be.

    Args:
        folder: Folder of data sets; by default TFDS_DATA_DIR, else ~/tensorflow_datasets.
    """
    from jaxdl.cli import data_sets

    return data_sets.list_sets(folder)


def prepare_set(name: DataSet, folder: Folder = None) -> int:
    """Download a data set and prepare it, so that it is read without TensorFlow (array_record files).

    Some sets need TensorFlow for this: pip install tensorflow-cpu.

    Args:
        name: A name of TensorFlow Datasets, such as mnist, cifar10, glue/sst2 or mnist:3.0.1.
        folder: Folder of data sets; by default TFDS_DATA_DIR, else ~/tensorflow_datasets.
    """
    from jaxdl.cli import data_sets

    return data_sets.prepare_set(name, folder)


def show_set(
    name: DataSet,
    folder: Folder = None,
    out: Annotated[Path | None, arg(metavar="FILE.png")] = None,
    count: Number = 24,
) -> int:
    """Draw some of a data set's images with their labels.

    Args:
        name: digits, or a name of TensorFlow Datasets with images and labels.
        folder: Folder of data sets; by default TFDS_DATA_DIR, else ~/tensorflow_datasets.
        out: File for the picture; by default NAME.png.
        count: Number of images, at most 400. They are chosen at random, the same each time.
    """
    from jaxdl.cli import data_sets

    return data_sets.show_set(name, folder, out, count)


DataCommand = (
    Annotated[Any, subcommand("list", constructor=list_sets)]
    | Annotated[Any, subcommand("prepare", constructor=prepare_set)]
    | Annotated[Any, subcommand("show", constructor=show_set)]
)


def data(command: Annotated[DataCommand, arg(name="")]) -> int:
    """List data sets, prepare one, or draw some of its images."""
    return command


def train_command(arguments: Sequence[str]) -> Callable[..., int]:
    """The command `train`; the defaults of its flags are in the TOML file, or in the run that is resumed."""
    default = _default_settings(arguments)

    def train(
        settings: Annotated[Settings, arg(name="")] = default,
        config: Annotated[Path | None, arg(metavar="FILE.toml")] = None,
        out: Annotated[Path, arg(metavar="FOLDER")] = RUN,
        resume: bool = False,
        processes: Count = None,
        quiet: bool = False,
    ) -> int:
        """Train a model on a data set.

        OUT gets settings.toml, metrics.jsonl, files for TensorBoard, and checkpoints. Ctrl-C saves, and says how to
        resume. Exit status: 0 trained, 1 the loss was not finite or a process was lost, 2 bad usage, 130 stopped.

        Args:
            config: TOML file of settings, with the names of the flags. A flag overrides it.
            out: Folder of the run.
            resume: Resume the run in OUT, with its settings. A flag overrides them.
            processes: Number of processes on this machine that train together, each with its own devices.
            quiet: No progress bar and no tables, only errors.
        """
        from jaxdl.cli.training import train_in_folder

        return train_in_folder(arguments, settings, out, resume, processes, quiet)

    return train


def _default_settings(arguments):
    given = dict(itertools.pairwise(part for a in arguments for part in a.split("=", 1)))
    kept = Path(given.get("--out", RUN)) / "settings.toml"
    if "--resume" not in arguments:
        return settings_in(Path(given["--config"])) if "--config" in given else Settings()
    if not kept.exists():
        raise BadUsage(f"there is no run in {kept.parent} to resume")
    return settings_in(Path(given.get("--config", kept)), whole="--config" not in given)
