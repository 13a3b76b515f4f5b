"""`jaxdl contrast`: models trained twice, with hand-written rules and with the automatic derivative."""

import tempfile
import time
from pathlib import Path

import jax

from jaxdl.cli.contrast_report import TrainingReport
from jaxdl.cli.paired_training import train_both
from jaxdl.cli.training_recipes import recipes
from jaxdl.cli.usage_errors import BadUsage, usage
from jaxdl.data import Dataset, check_inputs, check_labels, load
from jaxdl.report import device_text, number_text, png, terminal, write_whole
from jaxdl.train import Diverged

TOLERANCE = {"float32": 1e-4, "float64": 1e-11}  # of the gradients, over their largest entry


def contrast_trainings(
    model: str, data: str, epochs: int | None, seed: int, float64: bool, tuned: bool, order: int, out: Path, quiet: bool
) -> int:
    """Trains models with both derivatives, prints and writes the report, and returns the exit status."""
    console = terminal(quiet=quiet)
    chosen, folder = usage(recipes, model), _writable(out)
    if epochs is not None and epochs < 1:
        raise BadUsage(f"--epochs must be 1 or more, got {epochs}")
    device = jax.devices()[0]
    precision = "float64" if float64 else "float32"
    console.print(f"jaxdl contrast on {device_text(device)}, JAX {jax.__version__}, {precision}")
    start = time.perf_counter()
    with jax.enable_x64(float64):
        dataset = _checked(usage(load, data), precision)
        console.print(
            f"{dataset.name}: {len(dataset.train_x)} examples to train on, {len(dataset.test_x)} to test, "
            f"{' × '.join(map(str, dataset.shape))}, {dataset.classes} classes"
        )
        trainings = {}
        for name, recipe in chosen.items():
            tell = lambda text, name=name: console.print(f"{name}: {text}")
            settings = {"tuned": tuned, "order": order, "quiet": quiet, "tell": tell}
            try:
                trainings[name] = train_both(recipe, dataset, epochs or recipe.epochs, seed, **settings)
            except Diverged as error:
                raise BadUsage(f"{name}: {error}") from error
            tell(trainings[name].contrast.conclusion)
        console.print()
    settings = {"data": data, "seed": seed, "precision": precision, "device": str(device), "jax": jax.__version__}
    report = TrainingReport(settings, trainings, dataset)
    report.print(console)
    for name, (plot, _) in report.figures.items():
        write_whole(folder / f"{name}.png", png(plot))
    report.save(folder / "report.json")
    report.save(folder / "report.html")
    console.print(f"\n{time.perf_counter() - start:.0f} s. The report: {folder / 'report.html'}")
    return _status(trainings, TOLERANCE[precision])


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


def _status(trainings, tolerance):
    far = {name: t.largest_difference for name, t in trainings.items() if not t.largest_difference <= tolerance}
    if not far:
        return 0
    found = ", ".join(f"{name}: {number_text(d)}" for name, d in far.items())
    terminal(stderr=True).print(f"The gradients differ by more than {tolerance:g} of their largest entry: {found}")
    return 1
