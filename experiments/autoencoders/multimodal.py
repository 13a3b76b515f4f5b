"""What does a network trained by the squared error predict if several answers are correct?

Two synthetic data sets have two equally frequent answers for each input: y = ±√x, and an image that lacks the bar over
one of two marks. A network trained by the squared error is compared with one that predicts the probabilities of bins of
y, or of the bar's column, by cross-entropy, from which an answer is sampled.
"""

import jax
import numpy as np

from experiments.autoencoders.models import trained
from experiments.autoencoders.pictures import pixels, show_rows
from experiments.plotting import DARK, MIDDLE, titled_png
from jaxdl import nn, ops
from jaxdl.report import figure

SIDE = 8
SPREAD = 0.04  # standard deviation of y around ±√x, and of the noise on images
BINS = np.linspace(-1.2, 1.2, 61)
IMAGES = 8000  # enough to prevent overfitting of the noise
SHOWN = 6


def measure(quick: bool) -> dict:
    """Predictions, their distances from the nearer correct answer, and from the mean of both."""
    epochs = 15 if quick else 60
    return {"roots": roots(epochs), "bars": bars(epochs // 5)}


def roots(epochs: int) -> dict:
    """y = ±√x: distances for x in [¼, 1]."""
    random = np.random.default_rng(0)
    x = random.uniform(0, 1, (3000, 1)).astype(np.float32)
    y = random.choice([-1, 1], x.shape) * np.sqrt(x) + SPREAD * random.standard_normal(x.shape)
    y = y.astype(np.float32)
    mean = predictor(nn.mlp(64, 64, 1), x, y, epochs, ops.squared_error)
    labels = np.digitize(y[:, 0], BINS).astype(np.int32)
    logits = predictor(nn.mlp(64, 64, len(BINS) + 1), x, labels, epochs, CROSS_ENTROPY)
    at = np.linspace(0.25, 1, 151, dtype=np.float32)[:, None]
    middles = np.concatenate([BINS[:1], (BINS[1:] + BINS[:-1]) / 2, BINS[-1:]])
    answers = {"squared error": mean(at)[:, 0], "drawn": middles[drawn(logits(at))]}
    return {
        "data": {"x": x[:400, 0], "y": y[:400, 0]},
        "x": at[:, 0],
        "answers": answers,
        "to_mode": {name: float(np.abs(np.abs(a) - np.sqrt(at[:, 0])).mean()) for name, a in answers.items()},
        "to_mean": float(np.abs(answers["squared error"]).mean()),
    }


def bars(epochs: int) -> dict:
    """Images; distances are root mean squares per pixel."""
    _, noisy, images, columns = bar_images(IMAGES, 0)
    mean = predictor(nn.dense_autoencoder((SIDE, SIDE, 1)), noisy, images, epochs, ops.squared_error)
    logits = predictor(nn.mlp(64, SIDE), noisy, columns, epochs, CROSS_ENTROPY)
    marks, noisy, images, _ = bar_images(300, 1)
    modes = [bar(marks, marks), bar(marks, SIDE - 1 - marks)]
    answers = {"squared error": mean(noisy), "drawn": bar(marks, drawn(logits(noisy)))}
    apart = lambda a, b: np.sqrt(((a - b) ** 2).mean((1, 2, 3)))
    to_mode = {name: np.minimum(*(apart(a, mode) for mode in modes)) for name, a in answers.items()}
    return {
        "to_mode": {name: float(distance.mean()) for name, distance in to_mode.items()},
        "right": {name: float((distance < 0.05).mean()) for name, distance in to_mode.items()},
        "to_mean": float(apart(answers["squared error"], (modes[0] + modes[1]) / 2).mean()),
        "mode_to_mode": float(apart(*modes).mean()),
        "images": {
            "input": pixels(noisy[:SHOWN]),
            "one answer": pixels(modes[0][:SHOWN]),
            "other answer": pixels(modes[1][:SHOWN]),
            "squared error": pixels(answers["squared error"][:SHOWN]),
            "drawn": pixels(answers["drawn"][:SHOWN]),
        },
    }


def bar_images(n: int, seed: int):
    """Columns of the left marks, noisy images of the marks, images with a bar, and columns of the bars."""
    random = np.random.default_rng(seed)
    marks = random.integers(0, SIDE // 2, n)
    columns = np.where(random.random(n) < 0.5, marks, SIDE - 1 - marks)
    images = bar(marks, columns)
    noisy = images.copy()
    noisy[:, :-1] = 0
    noisy += SPREAD * random.standard_normal(noisy.shape).astype(np.float32)
    return marks, noisy, images, columns.astype(np.int32)


def bar(marks, columns) -> np.ndarray:
    """(n, SIDE, SIDE, 1): two symmetric marks in the last row, and a bar above one column."""
    images = np.zeros((len(marks), SIDE, SIDE, 1), np.float32)
    n = np.arange(len(marks))
    images[n, :-1, columns] = 1
    images[n, -1, marks] = images[n, -1, SIDE - 1 - marks] = 1
    return images


CROSS_ENTROPY = ops.softmax_cross_entropy_with_integer_labels


def predictor(model, x, y, epochs, loss):
    params = trained(model, x, y, epochs=epochs, loss=loss)
    return lambda x: np.asarray(model.apply(params, jax.numpy.asarray(x)))


def drawn(logits) -> np.ndarray:
    """A class for each row, sampled with its probabilities."""
    return np.asarray(jax.random.categorical(jax.random.key(1), logits))


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    r, b = data["roots"], data["bars"]
    return (
        f"If two answers are correct, a network trained by the squared error predicts their mean: for y = ±√x it is "
        f"{r['to_mean']:.2f} from 0 and {r['to_mode']['squared error']:.2f} from the nearer answer, and images have "
        f"two grey bars, {b['right']['squared error']:.0%} of them correct; of answers sampled from probabilities "
        f"trained by cross-entropy the distance is {r['to_mode']['drawn']:.2f}, and {b['right']['drawn']:.0%} of "
        f"images are correct."
    )


def draw(data) -> bytes:
    """y against x, and rows of images."""
    r, b = data["roots"], data["bars"]
    with figure(1, 2, width=9.6, height=4.1, width_ratios=(1.2, 1)) as (fig, (ax, images)):
        ax.plot(r["data"]["x"], r["data"]["y"], ".", color="#bbbbbb", markersize=3, label="data: y = ±√x")
        ax.plot(r["x"], r["answers"]["squared error"], color=MIDDLE, linewidth=2, label="squared error")
        ax.plot(r["x"], r["answers"]["drawn"], "x", color=DARK, markersize=4, label="sampled from probabilities")
        ax.set(xlabel="x", ylabel="y", ylim=(-1.2, 1.75))
        ax.legend(fontsize=8.5, loc="upper left", ncols=2)
        names = {
            "input": "input", "one answer": "correct", "other answer": "also correct",
            "squared error": "squared\nerror", "drawn": "sampled from\nprobabilities",
        }  # fmt: skip
        show_rows(images, {label: b["images"][name] for name, label in names.items()})
        return titled_png(
            fig,
            f"With two correct answers the squared error predicts their mean, {r['to_mode']['squared error']:.2f} from "
            f"the nearer one, and grey bars;\nprobabilities give answers {r['to_mode']['drawn']:.2f} away, and one "
            f"full bar in {b['right']['drawn']:.0%} of the images",
            fontsize=10.5,
        )
