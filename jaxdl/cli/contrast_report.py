"""The report of `jaxdl contrast`: tables, data, plots and a page."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxdl.cli.paired_training import BATCH, PairedTraining, result_text
from jaxdl.data import Dataset
from jaxdl.measure.contrast_report import CAPTION
from jaxdl.report import (
    AUTOMATIC,
    HAND,
    Page,
    Report,
    Table,
    bytes_text,
    figure,
    number_text,
    plain,
    ratio_text,
    seconds_text,
    terminal,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from rich.console import Console

COLUMNS = ("model", "parameters", "test result hand / auto", "gradient diff.", "step (ratio)")
MEMORY = ("residuals hand / auto", "temporary hand / auto")
NOTE = (
    "Gradient difference: the largest during training, over the largest entry of the gradient. {step} of {batch} "
    "examples, by hand; its ratio is hand : automatic, the median of many pairs. The other ratios are to automatic "
    "too. Stock: the model with functions of jax.nn, jax.numpy and lax, or as Flax and optax write them, in place of "
    "operations of jaxdl."
)
STEPS = {1: "Step: forward and backward pass", 2: "Step: the gradient and its derivative"}  # by order
ABOUT = (
    "Every model below was trained twice from the same seed on the same batches: once with hand-written derivative "
    "rules, once with the derivative that JAX derives. Both should give the same gradients up to rounding; they differ "
    "in memory and time."
)


@dataclass(frozen=True)
class TrainingReport(Report):
    """Models trained with both derivatives.

    Attributes:
        settings: Flags, device and version of JAX, by name.
        trainings: The trained models by name.
        data: The data set.
    """

    settings: dict[str, Any]
    trainings: dict[str, PairedTraining]
    data: Dataset

    @property
    def conclusion(self) -> str:
        """Whether the gradients agree, and what the hand-written rules cost or save, in one sentence."""
        apart = np.max([t.largest_difference for t in self.trainings.values()])
        wholes = [t.contrast.whole for t in self.trainings.values()]
        times = [whole.step.ratio for whole in wholes if whole.step]
        kept = [w.hand.residual_bytes / w.automatic.residual_bytes for w in wholes if w.automatic.residual_bytes]
        step = "a step" if self._order == 1 else "a second derivative"
        return (
            f"With hand-written rules the gradients differ from automatic ones by at most {number_text(apart)} of the "
            f"largest entry; {step} takes {_range(times)} of the time and keeps {_range(kept)} of the bytes for the "
            f"backward pass."
        )

    @property
    def _order(self) -> int:
        """The order of the derivatives whose costs are compared."""
        return max(t.contrast.order for t in self.trainings.values())

    def table(self) -> Table:
        """One row for each model: its result with each derivative, and what each costs."""
        title = "The same training with hand-written rules and with the automatic derivative"
        further = list(dict.fromkeys(side for t in self.trainings.values() for side in t.contrast.whole.beside))
        rows = [_row(name, t, further) for name, t in self.trainings.items()]
        note = NOTE.format(step=STEPS[self._order], batch=BATCH)
        return Table(title, (*COLUMNS, *(f"step {side}" for side in further), *MEMORY), rows, note)

    def tables(self) -> tuple[Table, ...]:
        """The table of models, then those of each contrast, and of what was tuned."""
        return (self.table(), *(table for t in self.trainings.values() for table in _tables(t)))

    def print(self, console: Console | None = None) -> None:
        """Prints the conclusion and the table of models, then the contrast of each model under its title."""
        console = console or terminal()
        console.print(self.conclusion, style="bold")
        self.table().print(console)
        for training in self.trainings.values():
            console.print(f"\n{training.recipe.title}: where the differences come from", style="bold")
            training.contrast.print(console)
            if training.tuned:
                training.tuned.print(console)

    def to_json(self) -> dict[str, Any]:
        """The report as plain data: numbers, strings, lists and dictionaries."""
        models = {name: t.to_json() for name, t in self.trainings.items()}
        return plain({"conclusion": self.conclusion, "settings": self.settings, "models": models})

    @functools.cached_property
    def figures(self) -> dict[str, tuple[Figure, str]]:
        """The plots with their captions, by file name: training curves, costs of each rule, reconstructions."""
        found = {}
        for name, t in self.trainings.items():
            apart = number_text(t.largest_difference)
            found[f"{name}-training"] = (
                _training_figure(t, apart),
                f"{t.recipe.title}: the losses with both derivatives coincide; the gradients differ by at most "
                f"{apart} of their largest entry.",
            )
            found[f"{name}-costs"] = (
                t.contrast.plot(),
                f"{t.recipe.title}, {BATCH} examples. {CAPTION}",
            )
            if t.test_outputs.shape[1:] == self.data.shape:
                found[f"{name}-reconstructions"] = (
                    _reconstructions_figure(self.data.test_x[: len(t.test_outputs)], t.test_outputs),
                    f"{t.recipe.title}: test images above, reconstructions below.",
                )
        return found

    def _page(self) -> Page:
        page = Page("Hand-written against automatic derivatives")
        page.lead(self.conclusion)
        page.text(ABOUT)
        page.text(", ".join(f"{name}: {value}" for name, value in self.settings.items()))
        page.table(self.table())
        figures = self.figures
        for name, training in self.trainings.items():
            page.heading(training.recipe.title)
            page.text(training.contrast.conclusion)
            for file, (plot, caption) in figures.items():
                if file.startswith(f"{name}-"):
                    page.picture(plot, caption)
            training.contrast.add_to(page)
            for table in training.tuned.tables() if training.tuned else ():
                page.table(table)
        return page


def _range(ratios):
    low, high = (ratio_text(bound(ratios, default=None)) for bound in (min, max))
    return low if low == high else f"{low} to {high}"


def _tables(training):
    return (*training.contrast.tables(), *(training.tuned.tables() if training.tuned else ()))


def _row(name, training, further):
    whole = training.contrast.whole
    return (
        name,
        f"{training.parameters:,}",
        result_text(training.hand, training.automatic),
        number_text(training.largest_difference),
        f"{seconds_text(whole.step.medians[0])} ({ratio_text(whole.step.ratio)})" if whole.step else "–",
        *(ratio_text(side and side.step and side.step.ratio) for side in map(whole.beside.get, further)),
        f"{bytes_text(whole.hand.residual_bytes)} / {bytes_text(whole.automatic.residual_bytes)}",
        f"{bytes_text(whole.hand.temporary_bytes)} / {bytes_text(whole.automatic.temporary_bytes)}",
    )


def _training_figure(training, apart):
    from matplotlib.ticker import LogFormatter

    hand, auto = training.hand.history, training.automatic.history
    epochs = [row["epoch"] for row in hand]
    marker = "." if len(epochs) == 1 else None  # a line through one point is invisible
    with figure(1, 2, width=8.4, height=3.2) as (fig, (losses, differences)):
        for rows, style, side in ((hand, HAND, "by hand"), (auto, AUTOMATIC, "automatic")):
            style = {"marker": marker, **style}
            losses.plot(epochs, [row["loss"] for row in rows], label=f"training, {side}", **style)
            broad = {"linewidth": 3.6, "alpha": 0.5} if side == "by hand" else {"linewidth": 1.1}
            losses.plot(epochs, [row["test_loss"] for row in rows], label=f"test, {side}", **{**style, **broad})
        losses.set(xlabel="epoch", ylabel="loss", yscale="log", title="Loss: the curves coincide")
        losses.legend(fontsize=8)
        floor = [max(d, 1e-18) for d in training.gradient_differences]
        differences.plot(range(len(floor)), floor, color="#333333", marker=".")
        differences.set(
            xlabel="epoch", ylabel="largest difference / largest entry", yscale="log",
            title=f"Gradients differ by at most {apart}",
        )  # fmt: skip
        for axes in (losses, differences):
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            for set_formatter in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
                set_formatter(LogFormatter(minor_thresholds=(1, 0.4)))  # 1.5, not 1.5 × 10⁰
    return fig


def _reconstructions_figure(images, outputs):
    with figure(2, len(images), width=8.4, height=2.1) as (fig, axes):
        for row, pictures in zip(axes, (images, outputs), strict=True):
            for ax, image in zip(row, pictures, strict=True):
                ax.imshow(np.squeeze(image), cmap="gray_r", vmin=0, vmax=1)
                ax.set(xticks=[], yticks=[])
                ax.grid(visible=False)
        axes[0][0].set_ylabel("image")
        axes[1][0].set_ylabel("output")
    return fig
