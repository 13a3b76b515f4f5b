"""`jaxdl contrast`: models trained twice, with hand-written rules and with the automatic derivative."""

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jaxdl import nn
from jaxdl.cli.page import page, pictures
from jaxdl.cli.setups import Setup, setups
from jaxdl.cli.usage import BadUsage, usage
from jaxdl.data import Dataset, check_inputs, check_labels, load
from jaxdl.measure import Contrast
from jaxdl.measure import contrast as measure
from jaxdl.report import Table, bytes_text, number_text, plain, ratio_text, seconds_text, terminal, write_whole
from jaxdl.strip import automatic
from jaxdl.train import Diverged, Trained, fit
from jaxdl.train.steps import averaged

BATCH = 64


@dataclass(frozen=True)
class Outcome:
    """One model trained with both derivatives from the same seed, on the same batches.

    gradient_differences has, before training and after each epoch, the largest difference between
    the two gradients at the hand-trained parameters, over the largest entry of the gradient.
    """

    setup: Setup
    parameters: int
    hand: Trained
    automatic: Trained
    gradient_differences: list[float]
    contrast: Contrast
    test_outputs: np.ndarray

    @property
    def largest_difference(self) -> float:
        """The largest of the gradient differences; NaN if any is."""
        return float(np.max(self.gradient_differences))

    def to_json(self) -> dict:
        return {
            "title": self.setup.title,
            "parameters": self.parameters,
            "hand": self.hand.history,
            "automatic": self.automatic.history,
            "gradient_differences": self.gradient_differences,
            "contrast": self.contrast.to_json(),
        }


def contrast(
    model: str = "all",
    data: str = "digits",
    epochs: Annotated[int | None, tyro.conf.arg(metavar="N")] = None,
    seed: int = 0,
    float64: bool = False,
    out: Annotated[Path, tyro.conf.arg(metavar="FOLDER")] = Path("jaxdl-report"),
    quiet: bool = False,
) -> int:
    """Train models twice, with hand-written derivative rules and with JAX's own, and compare.

    Shows answers, accuracy, time and memory, per model and per rule, on the terminal and in OUT/report.html.
    Exit status: 0 the derivatives agree, 1 they differ beyond rounding, 2 bad usage.

    Args:
        model: mlp, convnet, autoencoder or all.
        data: digits (comes with jaxdl) or a name of TensorFlow Datasets with images and labels.
        epochs: Epochs to train for, in place of what each model needs.
        seed: Of parameters, batches and dropout.
        float64: Compute in float64 in place of float32.
        out: Where report.json, report.html and the plots go.
        quiet: No progress bars and no tables, only errors.
    """
    console = terminal(quiet=quiet)
    chosen, folder = usage(setups, model), _writable(out)
    if epochs is not None and epochs < 1:
        raise BadUsage(f"--epochs must be 1 or more, got {epochs}")
    device = jax.devices()[0]
    precision = "float64" if float64 else "float32"
    console.print(f"jaxdl contrast on {device.device_kind} ({device.platform}), JAX {jax.__version__}, {precision}")
    with jax.enable_x64(float64):
        dataset = _checked(usage(load, data), precision)
        console.print(
            f"{dataset.name}: {len(dataset.train_x)} examples to train on, {len(dataset.test_x)} to test, "
            f"{' × '.join(map(str, dataset.shape))}, {dataset.classes} classes"
        )
        start = time.perf_counter()
        outcomes = {}
        for name, setup in chosen.items():
            try:
                outcomes[name] = _outcome(setup, dataset, epochs or setup.epochs, seed, quiet)
            except Diverged as error:
                raise BadUsage(f"{name}: {error}") from error
    summary(outcomes).print(console)
    for outcome in outcomes.values():
        console.print(f"\n{outcome.setup.title}: where the differences come from", style="bold")
        outcome.contrast.print(console)
    settings = {"data": data, "seed": seed, "precision": precision, "device": str(device), "jax": jax.__version__}
    _write(folder, settings, outcomes, dataset)
    console.print(f"\n{time.perf_counter() - start:.0f} s. The report: {folder / 'report.html'}")
    return _verdict(outcomes, precision, console)


def summary(outcomes: dict[str, Outcome]) -> Table:
    """One row a model: what came out with each derivative and what it cost."""
    rows = []
    for name, o in outcomes.items():
        hand, auto, whole = o.hand.history[-1], o.automatic.history[-1], o.contrast.whole
        measured = "accuracy" if "accuracy" in hand else "test_loss"
        text = (lambda v: f"{v:.2%}") if measured == "accuracy" else (lambda v: f"{v:.6f}")
        rows.append(
            (
                name,
                f"{o.parameters:,}",
                {"accuracy": "accuracy ", "test_loss": "error "}[measured]
                + f"{text(hand[measured])} / {text(auto[measured])}",
                number_text(o.largest_difference),
                f"{seconds_text(whole.step.medians[0])} ({ratio_text(whole.step.ratio)})",
                f"{bytes_text(whole.hand.residual_bytes)} / {bytes_text(whole.automatic.residual_bytes)}",
                f"{bytes_text(whole.hand.temporary_bytes)} / {bytes_text(whole.automatic.temporary_bytes)}",
            )
        )
    columns = (
        "model",
        "parameters",
        "test result hand / auto",
        "gradient diff.",
        "step (ratio)",
        "residuals hand / auto",
        "temporary hand / auto",
    )

    note = (
        f"Gradient difference: the largest along the training, over the largest entry of the gradient. Step: forward "
        f"and backward pass of {BATCH} examples, by hand; its ratio is hand : automatic, the median of many pairs."
    )
    return Table("The same training with hand-written rules and with the automatic derivative", columns, rows, note)


def _outcome(setup, data, epochs, seed, quiet):
    model = _in_precision(setup.model(data), data.train_x.dtype)
    targets = setup.target(data.train_x, data.train_y), setup.target(data.test_x, data.test_y)
    test = data.test_x, targets[1]
    steps = epochs * max(len(data.train_x) // BATCH, 1)
    key = jax.random.key(seed)

    def objective(model, loss):
        return lambda params, x, y, key: averaged(loss)(model.apply(params, x, key=key), y)

    hand, plain = objective(model, setup.loss), automatic(objective(model, setup.loss))
    few = (jnp.asarray(data.train_x[:BATCH]), jnp.asarray(targets[0][:BATCH]), key)
    gradients = jax.jit(lambda params: (jax.grad(hand)(params, *few), jax.grad(plain)(params, *few)))
    differences = []
    common = {"batch": BATCH, "test": test, "metrics": setup.metrics, "quiet": quiet}

    def run(model, loss, title, watch=None):
        train = (data.train_x, targets[0])
        return fit(model, loss, train, setup.optimizer(steps), epochs, key, title=title, watch=watch, **common)

    watch = lambda epoch, params: differences.append(_apart(*gradients(params)))
    by_hand = run(model, setup.loss, f"{setup.title}, by hand", watch)
    automatically = run(nn.with_function(model, automatic), automatic(setup.loss), f"{setup.title}, automatically")
    return Outcome(
        setup,
        nn.parameter_count(by_hand.params),
        by_hand,
        automatically,
        differences,
        measure(hand, by_hand.params, *few),
        np.asarray(model.apply(by_hand.params, test[0][:10])),
    )


def _apart(hand, plain):
    """The largest difference between two gradients, over the largest entry."""
    pairs = list(zip(jax.tree.leaves(hand), jax.tree.leaves(plain), strict=True))
    # NumPy's maximum, unlike Python's, lets no NaN pass unseen.
    largest = np.max([jnp.abs(b).max() for _, b in pairs])
    return float(np.max([jnp.abs(a - b).max() for a, b in pairs]) / np.maximum(largest, 1e-30))


def _in_precision(model, dtype):
    def init(key, shape):
        return jax.tree.map(lambda p: p.astype(dtype), model.init(key, shape))

    return nn.Layer(init, model.apply)


def _checked(data: Dataset, precision) -> Dataset:
    for x, y in ((data.train_x, data.train_y), (data.test_x, data.test_y)):
        usage(check_inputs, x)
        usage(check_labels, y, data.classes)
    return data._replace(train_x=data.train_x.astype(precision), test_x=data.test_x.astype(precision))


def _writable(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            return out
    except OSError as error:
        raise BadUsage(f"cannot write to the folder {out}: {error.strerror}; choose another with --out") from error


def _write(folder, settings, outcomes, data):
    shown = pictures(outcomes, data)
    report = {"settings": settings, "models": {name: o.to_json() for name, o in outcomes.items()}}
    write_whole(folder / "report.json", json.dumps(plain(report), indent=1).encode())
    for name, (png, _) in shown.items():
        write_whole(folder / f"{name}.png", png)
    write_whole(folder / "report.html", page(settings, summary(outcomes), outcomes, shown).html().encode())


def _verdict(outcomes, precision, console):
    tolerance = {"float32": 1e-4, "float64": 1e-11}[precision]
    far = {n: o.largest_difference for n, o in outcomes.items() if not o.largest_difference <= tolerance}
    if not far:
        console.print(f"The gradients agree within {tolerance:g} of their largest entry, all along the training.")
        return 0
    found = ", ".join(f"{name}: {number_text(d)}" for name, d in far.items())
    terminal(stderr=True).print(f"The gradients differ by more than {tolerance:g} of their largest entry: {found}")
    return 1
