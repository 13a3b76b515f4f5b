"""What does a convolutional encoder do to the images near a digit: in how many directions, by how much?

    python -m experiments.encoder_geometry [--quick]

Trains the lectures' deep autoencoder, with a code of 8 numbers, on the digits of 28 × 28 pixels. At each held-out digit
it computes the encoder's Jacobian J (8 × 784), its singular values, the log volume ½ log det JJᵀ and the local
dimension, the participation ratio (Σ σ²)²/Σ σ⁴.
Prints the finding, and writes it with its figures to results/encoder_geometry.json and pictures beside it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from experiments.autoencoders.pictures import pixels, show_rows
from experiments.plotting import DARK, LIGHT, MIDDLE, titled_png
from experiments.results_folder import keep
from jaxdl import jacobian, nn, ops
from jaxdl.data import load
from jaxdl.report import figure
from jaxdl.train import fit

CODE, EPOCHS, BATCH = 8, 10, 32
SHOWN = 2  # directions drawn of each digit


def measure(quick: bool) -> dict:
    """Of each held-out digit: class, singular values, log volume, local dimension and reconstruction error."""
    digits = load("digits", size=28)
    encoder, decoder = nn.conv_encoder(CODE), nn.conv_decoder()
    x, key = digits.train_x[:320] if quick else digits.train_x, jax.random.key(0)
    schedule = optax.cosine_decay_schedule(2e-3, EPOCHS * len(x) // BATCH)
    autoencoder, epochs = nn.serial(encoder, decoder), 1 if quick else EPOCHS
    params = fit(autoencoder, ops.squared_error, (x, x), optax.adam(schedule), epochs, key, batch=BATCH).params

    def encode(image):  # (28, 28, 1) → (8,)
        return encoder.apply(params[0], image).ravel()

    count = 60 if quick else len(digits.test_y)
    images, labels = jnp.asarray(digits.test_x[:count]), digits.test_y[:count]
    jacobians = jax.jit(jax.vmap(jacobian.best(encode)))(images)  # (n, 8, 28, 28, 1)
    jacobians = jacobians.reshape(len(images), CODE, -1)
    _, singular, directions = jnp.linalg.svd(jacobians, full_matrices=False)
    volume = jnp.linalg.slogdet(jacobians @ jacobians.mT)[1] / 2
    dimension = (singular**2).sum(-1) ** 2 / (singular**4).sum(-1)
    error = ((jax.jit(autoencoder.apply)(params, images) - images) ** 2).mean((1, 2, 3))

    first = np.array([np.argmax(labels == c) for c in range(digits.classes)])
    return {
        "label": labels,
        "singular_values": singular,
        "log_volume": volume,
        "local_dimension": dimension,
        "error": error,
        "of_log_volume_by_class": explained(np.asarray(volume), labels),
        "of_local_dimension_by_class": explained(np.asarray(dimension), labels),
        "images": pixels(images[first]),
        "directions": [in_grey(directions[first, k].reshape(-1, 28, 28)) for k in range(SHOWN)],
    }


def explained(values, labels) -> float:
    """The part of the variance of some values that their class explains."""
    means = np.array([values[labels == c].mean() for c in range(10)])
    return float(((means[labels] - values.mean()) ** 2).sum() / ((values - values.mean()) ** 2).sum())


def in_grey(directions) -> list:
    """Directions as integers, 128 for 0, each by its own largest entry."""
    largest = jnp.abs(directions).max((1, 2), keepdims=True)
    return np.round(128 + 127 * np.asarray(directions / largest)).astype(int).tolist()


def of_class(data, name, c) -> np.ndarray:
    """The values of the digits of one class."""
    return np.array(data[name])[np.array(data["label"]) == c]


def extremes(data, name) -> tuple[int, int, np.ndarray]:
    """The classes with the smallest and the largest mean, and all means."""
    means = np.array([of_class(data, name, c).mean() for c in range(10)])
    return int(means.argmin()), int(means.argmax()), means


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    low, high, volumes = extremes(data, "log_volume")
    few, many, dimensions = extremes(data, "local_dimension")
    ratio = np.array(data["singular_values"])
    ratio = np.median(ratio[:, 0] / ratio[:, -1])
    alike = np.corrcoef(data["log_volume"], data["error"])[0, 1]
    return (
        f"At a digit the encoder uses {np.mean(data['local_dimension']):.1f} of its {CODE} directions (participation "
        f"ratio; {dimensions[few]:.1f} for {few}, {dimensions[many]:.1f} for {many}), the largest singular value "
        f"{ratio:.1f} times the smallest; near images of {high} it stretches volumes "
        f"{np.exp(volumes[high] - volumes[low]):.1f} times as much as near images of {low}, the class explains "
        f"{data['of_log_volume_by_class']:.0%} of the variance of the log volume, whose correlation with the "
        f"reconstruction error is {alike:.2f}; the strongest directions of two digits have a mean |cos| of "
        f"{likeness(data['directions'][0]):.2f}."
    )


def likeness(directions) -> float:
    """The mean |cos| of the angle between the directions of two digits."""
    rows = np.array(directions).reshape(len(directions), -1) - 128.0
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return float(np.abs(rows @ rows.T)[~np.eye(len(rows), dtype=bool)].mean())


def draw(data) -> dict[str, bytes]:
    """Spectra and volumes by class; digits with the directions to which the code reacts most."""
    return {"encoder_geometry": draw_volumes(data), "encoder_geometry_directions": draw_directions(data)}


def draw_volumes(data) -> bytes:
    low, high, means = extremes(data, "log_volume")
    with figure(1, 2, width=9.6, height=3.8) as (fig, (spectra, volumes)):
        index, each = np.arange(1, CODE + 1), np.array(data["singular_values"])
        between = np.quantile(each, (0.05, 0.95), axis=0)
        spectra.fill_between(index, *between, color=LIGHT, alpha=0.5, label="90% of all")
        for c, colour, line in ((high, DARK, "o-"), (low, MIDDLE, "s--")):
            mean = np.exp(np.log(of_class(data, "singular_values", c)).mean(0))
            spectra.plot(index, mean, line, color=colour, label=f"digit {c}, mean")
        spectra.set(xlabel="place in the order of size", ylabel="singular value")
        spectra.legend()
        shift = np.random.default_rng(0).uniform(-0.25, 0.25, len(data["label"]))
        volumes.plot(data["label"] + shift, data["log_volume"], ".", color=LIGHT, markersize=4, label="one image")
        volumes.plot(range(10), means, "D", color=DARK, label="mean of the digit")
        volumes.set(xlabel="digit", ylabel="log volume ½ log det JJᵀ", xticks=range(10))
        volumes.margins(y=0.15)
        volumes.legend(ncols=2, loc="upper right", frameon=True)
        return titled_png(
            fig,
            f"Near images of {high} the encoder stretches volumes {np.exp(means[high] - means[low]):.1f} times as much "
            f"as near images of {low};\nof its {CODE} directions it uses "
            f"{np.mean(data['local_dimension']):.1f} at a digit",
        )


def draw_directions(data) -> bytes:
    with figure(width=9.6, height=3.4) as (fig, ax):
        names = "image", "first\ndirection", "second\ndirection"
        rows: dict[str, list] = dict(zip(names, [data["images"], *data["directions"]], strict=True))
        show_rows(ax, rows)
        return titled_png(
            fig,
            "The code reacts most to broad patches, much alike for different digits:\nthe mean |cos| of two first "
            f"directions is {likeness(data['directions'][0]):.2f}, of random ones {np.sqrt(2 / (np.pi * 28 * 28)):.2f}",
        )


def main(quick: bool = False) -> None:
    """Trains, measures, prints the finding, writes data and pictures.

    Args:
        quick: Train for one epoch on few digits, which takes seconds.
    """
    with jax.numpy_dtype_promotion("standard"):
        found = measure(quick)
    keep("encoder_geometry", found, finding, draw, quick=quick)


if __name__ == "__main__":
    tyro.cli(main)
