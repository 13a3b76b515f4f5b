"""What do convolutions see, and what does a convolution cost as a double loop?

    python -m experiments.conv_features [--quick]

Shows the response of the lectures' edge filter to a digit, and the filters in the first layer of a trained LeNet-5 with
their responses. Measures the difference between a convolution written as a double loop and the fast one, and how much
longer the loop takes.
Prints the finding, and writes it with its figures to results/conv_features.json and pictures beside it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from experiments.plotting import titled_png
from experiments.results_folder import keep
from jaxdl import automatic, data, nn, ops
from jaxdl.measure import pairs
from jaxdl.report import AUTOMATIC, HAND, figure, number_text, png
from jaxdl.train import fit

EDGE = ((0, -0.5, 0), (0, 0, 0), (0, 0.5, 0))  # lecture 003
DIGIT, BATCH, SIZE, CHANNELS = 3, 8, 3, (3, 4)


def measure(quick: bool) -> dict:
    """A digit and its edges, learned filters and their feature maps, and times of both convolutions by image size."""
    digits = data.load("digits", size=28)
    image = digits.test_x[np.argmax(digits.test_y == DIGIT)]
    edges = ops.convolve(image, jnp.asarray(EDGE, jnp.float32)[:, :, None, None])[..., 0]
    learned = trained_filters(digits, image, 3 if quick else 20)
    sizes = (5, 8) if quick else (5, 8, 12, 18, 26)  # the program of the double loop grows with the image
    return {"image": image[..., 0], "edges": edges, **learned, "times": {s: loop_and_fast(s) for s in sizes}}


def trained_filters(digits, image, epochs) -> dict:
    """The filters of the first layer, their feature maps of the image, and the accuracy on held-out digits."""
    model, loss = nn.lenet5(), ops.softmax_cross_entropy_with_integer_labels
    train = digits.train_x, digits.train_y
    params = fit(model, loss, train, optax.adam(2e-3), epochs, jax.random.key(0), quiet=True).params
    w, b = params[0]["w"], params[0]["b"]
    maps = ops.tanh(ops.conv2d(image, w, padding="SAME") + b[None, None])
    right = (jax.jit(model.apply)(params, digits.test_x).argmax(-1) == digits.test_y).mean()
    return {"filters": jnp.moveaxis(w[:, :, 0], -1, 0), "maps": jnp.moveaxis(maps, -1, 0), "accuracy": float(right)}


def loop_and_fast(size: int) -> dict:
    """Seconds for value and gradient by the double loop, as JAX differentiates it, and by the fast form."""
    random = np.random.default_rng(size)
    draw = lambda *shape: jnp.asarray(random.standard_normal(shape), jnp.float32)
    x, w = draw(BATCH, size, size, CHANNELS[0]), draw(SIZE, SIZE, *CHANNELS)
    both = [
        jax.jit(jax.value_and_grad(lambda x, w, f=f: (f(x, w) ** 2).mean(), (0, 1)))
        for f in (automatic(ops.conv2d_by_loops), ops.conv2d)
    ]
    loop, fast = (f(x, w) for f in both)
    largest = [float(jnp.abs(a).max()) for a in jax.tree.leaves(fast)]
    apart = [float(jnp.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (loop, fast)), strict=True)]
    timed = pairs(*(lambda f=f: f(x, w) for f in both))
    return {"loop": timed.medians[0], "fast": timed.medians[1], "ratio": timed.ratio,
            "apart": max(a / top for a, top in zip(apart, largest, strict=True))}  # fmt: skip


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    sizes = list(data["times"])
    smallest, largest = data["times"][sizes[0]], data["times"][sizes[-1]]
    apart = max(t["apart"] for t in data["times"].values())
    return (
        f"The double loop gives values and gradients within {number_text(apart)} (relative) of the fast convolution's, "
        f"and takes {smallest['ratio']:.0f} times as long on images of {sizes[0]} × {sizes[0]} pixels, "
        f"{largest['ratio']:.0f} times on {sizes[-1]} × {sizes[-1]}; the edge filter responds with up to "
        f"{np.abs(data['edges']).max():.2f} where a stroke begins or ends; the six filters in the first layer of a "
        f"LeNet-5 that classifies {100 * data['accuracy']:.1f}% of held-out digits correctly are not as simple."
    )


def draw(data) -> dict[str, bytes]:
    return {"conv_features": draw_maps(data), "conv_features_time": draw_times(data["times"])}


def draw_maps(data) -> bytes:
    """The digit, its edges, and the learned filters above their feature maps."""
    count = len(data["filters"])
    with figure(2, count + 1, width=9.6, height=3.6) as (fig, axes):
        top = max(np.abs(f).max() for f in map(np.array, data["filters"]))
        signed = lambda limit: {"cmap": "RdGy", "vmin": -limit, "vmax": limit}
        axes[0][0].imshow(data["image"], cmap="gray_r", vmin=0, vmax=1)
        axes[0][0].set_title("digit")
        axes[1][0].imshow(data["edges"], **signed(np.abs(data["edges"]).max()))
        axes[1][0].set_title("its edges")
        for i, (learned, shown) in enumerate(zip(data["filters"], data["maps"], strict=True), 1):
            filter_shown = axes[0][i].imshow(learned, **signed(top))
            map_shown = axes[1][i].imshow(shown, **signed(1))
            axes[0][i].set_title(f"filter {i}")
            axes[1][i].set_title("feature map")
        for ax in axes.flat:
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
        fig.colorbar(filter_shown, ax=axes[0], label="weight", shrink=0.9)
        fig.colorbar(map_shown, ax=axes[1], label="tanh", shrink=0.9)
        title = (
            f"The edge filter responds where a stroke of the {DIGIT} begins or ends, from top to bottom; the trained\n"
            f"filters of LeNet-5's first layer are less simple, and their feature maps show strokes and edges"
        )
        return titled_png(fig, title)


def draw_times(times) -> bytes:
    """Time against image size, with the ratio at each size."""
    sizes = [int(s) for s in times]
    with figure(width=6.4, height=3.8) as (fig, ax):
        for side, label, style, marker in (("loop", "double loop", AUTOMATIC, "s"), ("fast", "conv2d", HAND, "o")):
            ax.plot(sizes, [1e3 * t[side] for t in times.values()], label=label, marker=marker, **style)
        for size, t in zip(sizes, times.values(), strict=True):
            ax.annotate(
                f"{t['ratio']:.0f}×", (size, 1e3 * t["loop"]), xytext=(0, 6), textcoords="offset points", ha="center"
            )
        ratios = [t["ratio"] for t in times.values()]
        ax.set(xscale="log", yscale="log", xlabel="pixels a side", ylabel="value and gradient (ms)")
        ax.set_xticks(sizes, sizes)
        ax.set_xticks([], minor=True)
        ax.margins(y=0.15)
        ax.set_title(f"As a double loop a convolution takes {min(ratios):.0f} to {max(ratios):.0f} times as long")
        ax.legend()
        return png(fig)


def main(quick: bool = False) -> None:
    """Trains, measures, prints the finding, writes data and pictures.

    Args:
        quick: Train little and use small images, which takes seconds.
    """
    keep("conv_features", measure(quick), finding, draw, quick=quick)


if __name__ == "__main__":
    tyro.cli(main)
