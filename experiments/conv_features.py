"""What do convolutions see, and what does a convolution cost as a double loop?

    python -m experiments.conv_features [--quick]

Shows the lectures' edge filter and the filters in the first layer of a trained LeNet-5, each beside its response to a
digit and the parts of held-out digits that it responds to most. Measures the difference between a convolution written
as a double loop and the fast one, and how much longer the loop takes.
Prints the finding, and writes it with its figures to results/conv_features.json and pictures beside it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from experiments.plotting import LOOKS, titled_png
from experiments.results_folder import keep
from jaxdl import automatic, data, nn, ops
from jaxdl.measure import pairs
from jaxdl.report import figure, number_text, png
from jaxdl.train import fit

EDGE = ((0, -0.5, 0), (0, 0, 0), (0, 0.5, 0))  # the example of a lecture
TURNED = np.array(EDGE)[::-1, ::-1]  # a convolution turns its filter by 180°
FOUND = 50  # parts of as many images are averaged
ROWS = ("filter", "response\nto the digit", "responds\nmost to", "responds\nleast to")
DIGIT, BATCH, SIZE, CHANNELS = 3, 8, 3, (3, 4)


def measure(quick: bool) -> dict:
    """A digit and its edges, filters with what they find, and times of both convolutions by image size."""
    digits = data.load("digits", size=28)
    image = digits.test_x[np.argmax(digits.test_y == DIGIT)]
    edges = ops.convolve(image, jnp.asarray(EDGE, jnp.float32)[:, :, None, None])[..., 0]
    learned = trained_filters(digits, image, 3 if quick else 20)
    found = [found_by(np.asarray(w), digits.test_x) for w in (TURNED, *learned["filters"])]
    sizes = (5, 8) if quick else (5, 8, 12, 18, 26)  # the program of the double loop grows with the image
    times = {size: loop_and_fast(size) for size in sizes}
    return {"image": image[..., 0], "edges": edges, **learned, "found": found, "times": times}


def trained_filters(digits, image, epochs) -> dict:
    """The filters of the first layer, their feature maps of the image, and the accuracy on held-out digits."""
    model, loss = nn.lenet5(), ops.softmax_cross_entropy_with_integer_labels
    train = digits.train_x, digits.train_y
    params = fit(model, loss, train, optax.adam(2e-3), epochs, jax.random.key(0), quiet=True).params
    w, b = params[0]["w"], params[0]["b"]
    maps = ops.tanh(ops.conv2d(image, w, padding="SAME") + b[None, None])
    right = (jax.jit(model.apply)(params, digits.test_x).argmax(-1) == digits.test_y).mean()
    return {"filters": jnp.moveaxis(w[:, :, 0], -1, 0), "maps": jnp.moveaxis(maps, -1, 0), "accuracy": float(right)}


def found_by(w: np.ndarray, images) -> dict:
    """The mean of the parts of images with the largest and with the smallest response, one part an image; and the
    correlation of the first less the second with the filter.
    """
    parts = np.lib.stride_tricks.sliding_window_view(images[..., 0], w.shape, (1, 2))
    parts = parts.reshape(len(images), -1, w.size)
    responses = parts @ w.ravel().astype(np.float32)
    most, least = (strongest(parts, sign * responses).reshape(w.shape) for sign in (1, -1))
    return {"most": most, "least": least, "correlation": float(np.corrcoef((most - least).ravel(), w.ravel())[0, 1])}


def strongest(parts, responses) -> np.ndarray:
    """The mean part with the largest response in an image, over the images with the largest ones."""
    images = np.argsort(-responses.max(1))[:FOUND]
    return np.stack([parts[i, responses[i].argmax()] for i in images]).mean(0)


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
        f"and takes {smallest['ratio']:.2g} times as long on images of {sizes[0]} × {sizes[0]} pixels, "
        f"{largest['ratio']:.0f} times on {sizes[-1]} × {sizes[-1]}; the edge filter responds with up to "
        f"{np.abs(data['edges']).max():.2f} where a stroke begins or ends; the six filters in the first layer of a "
        f"LeNet-5 that classifies {100 * data['accuracy']:.1f}% of held-out digits correctly find edges of one "
        f"direction, or strokes, which their weights show in part (correlation of a filter with what it finds: "
        f"{correlations(data)})."
    )


def draw(data) -> dict[str, bytes]:
    return {"conv_features": draw_maps(data), "conv_features_time": draw_times(data["times"])}


def correlations(data) -> str:
    """The range of the correlations of filters with what they find."""
    found = [found["correlation"] for found in data["found"]]
    return f"{min(found):.2f} to {max(found):.2f}"


def draw_maps(data) -> bytes:
    """A column for each filter: the filter, its response to the digit, and the parts of images that it finds."""
    columns = list(zip([TURNED, *data["filters"]], [data["edges"], *data["maps"]], data["found"], strict=True))
    top = max(np.abs(w).max() for w, _, _ in columns)
    grey = {"cmap": "gray_r", "vmin": 0, "vmax": 1}
    with figure(4, len(columns) + 1, width=9.6, height=6.2) as (fig, axes):
        for ax in axes.flat:
            ax.set(xticks=[], yticks=[])
            ax.grid(visible=False)
        for ax in axes[[0, 2, 3], 0]:
            ax.set_visible(False)
        axes[1, 0].imshow(data["image"], **grey)
        axes[1, 0].set_title("digit")
        for i, (column, (w, response, found)) in enumerate(zip(axes.T[1:], columns, strict=True)):
            weights = column[0].imshow(w, cmap="gray_r", vmin=-top, vmax=top)
            responses = column[1].imshow(response, cmap="gray_r", vmin=-1, vmax=1)
            shades = column[2].imshow(found["most"], **grey)
            column[3].imshow(found["least"], **grey)
            column[0].set_title(f"filter {i}" if i else "edge filter")
        for ax, label in zip(axes[:, 1], ROWS, strict=True):
            ax.set_ylabel(label, fontsize=9)
        fig.colorbar(weights, ax=axes[0], label="weight", shrink=0.9)
        fig.colorbar(responses, ax=axes[1], label="response", shrink=0.9)
        fig.colorbar(shades, ax=axes[2:], label="pixel", shrink=0.5)
        return titled_png(
            fig,
            f"Filters find edges of one direction, or strokes; the weights of LeNet-5's six show it only in part\n"
            f"(correlation of a filter with what it responds to most, less what it responds to least: "
            f"{correlations(data)})",
            fontsize=11,
        )


def draw_times(times) -> bytes:
    """Time against image size, with the ratio at each size."""
    sizes = [int(s) for s in times]
    with figure(width=6.4, height=3.8) as (fig, ax):
        for (side, label), look in zip({"fast": "conv2d", "loop": "double loop"}.items(), LOOKS, strict=False):
            ax.plot(sizes, [1e3 * t[side] for t in times.values()], label=label, **look)
        for size, t in zip(sizes, times.values(), strict=True):
            ax.annotate(
                f"{t['ratio']:.2g}×", (size, 1e3 * t["loop"]), xytext=(0, 6), textcoords="offset points", ha="center"
            )
        ratios = [t["ratio"] for t in times.values()]
        ax.set(xscale="log", yscale="log", xlabel="pixels a side", ylabel="value and gradient (ms)")
        ax.set_xticks(sizes, sizes)
        ax.set_xticks([], minor=True)
        ax.margins(y=0.15)
        ax.set_title(f"As a double loop a convolution takes {min(ratios):.2g} to {max(ratios):.2g} times as long")
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
