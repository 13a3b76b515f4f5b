"""The pictures and the page of `jaxdl contrast`."""

import numpy as np

from jaxdl.report import AUTOMATIC, HAND, Page, figure, number_text, png


def pictures(outcomes, data) -> dict[str, tuple[bytes, str]]:
    """PNG and caption by file name: training curves, costs by rule, reconstructions."""
    shown = {}
    for name, o in outcomes.items():
        apart = number_text(o.largest_difference)
        shown[f"{name}-training"] = (
            _training(o, apart),
            f"{o.setup.title}: losses with both derivatives lie over each other; the gradients differ by at "
            f"most {apart} of their largest entry.",
        )
        shown[f"{name}-costs"] = (
            o.contrast.png(),
            f"{o.setup.title}: what each rule keeps for the backward pass, and its time, on 64 examples.",
        )
        if o.test_outputs.shape[1:] == data.shape:
            shown[f"{name}-reconstructions"] = (
                _reconstructions(data.test_x[: len(o.test_outputs)], o.test_outputs),
                f"{o.setup.title}: test images above, reconstructions below.",
            )
    return shown


def page(settings, summary, outcomes, shown) -> Page:
    """The whole report as one page."""
    result = Page("Hand-written against automatic derivatives")
    result.text(
        "Every model below was trained twice from the same seed on the same batches: once with hand-written "
        "derivative rules, once with the derivative that JAX finds by itself. The two should give the same "
        "gradients up to rounding; they differ in what they keep, and in time."
    )
    result.text(", ".join(f"{name}: {value}" for name, value in settings.items()))
    result.table(summary)
    for name, outcome in outcomes.items():
        result.heading(outcome.setup.title)
        for key, (content, caption) in shown.items():
            if key.startswith(f"{name}-"):
                result.picture(content, caption)
        result.table(outcome.contrast.table())
        result.table(outcome.contrast.gains())
    return result


def _training(outcome, apart):
    hand, auto = outcome.hand.history, outcome.automatic.history
    epochs = [row["epoch"] for row in hand]
    marker = "." if len(epochs) == 1 else None  # a line through one point is none
    with figure(1, 2, width=8.4, height=3.2) as (fig, (losses, differences)):
        for rows, style, side in ((hand, HAND, "by hand"), (auto, AUTOMATIC, "automatic")):
            style = {"marker": marker, **style}
            losses.plot(epochs, [row["loss"] for row in rows], label=f"training, {side}", **style)
            broad = {"linewidth": 3.6, "alpha": 0.5} if side == "by hand" else {"linewidth": 1.1}
            losses.plot(epochs, [row["test_loss"] for row in rows], label=f"test, {side}", **{**style, **broad})
        losses.set(xlabel="epoch", ylabel="loss", yscale="log", title="Loss: the curves lie over each other")
        losses.legend(fontsize=8)
        floor = [max(d, 1e-18) for d in outcome.gradient_differences]
        differences.plot(range(len(floor)), floor, color="#333333", marker=".")
        differences.set(
            xlabel="epoch", ylabel="largest difference / largest entry", yscale="log",
            title=f"Gradients differ by at most {apart}",
        )  # fmt: skip
        return png(fig)


def _reconstructions(images, outputs):
    with figure(2, len(images), width=8.4, height=2.1) as (fig, axes):
        for row, pictures in zip(axes, (images, outputs), strict=True):
            for ax, image in zip(row, pictures, strict=True):
                ax.imshow(np.squeeze(image), cmap="gray_r", vmin=0, vmax=1)
                ax.set(xticks=[], yticks=[])
                ax.grid(visible=False)
        axes[0][0].set_ylabel("image")
        axes[1][0].set_ylabel("output")
        return png(fig)
