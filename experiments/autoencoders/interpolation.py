"""What lies between two codes: are the images g(αx + (1 − α)x′) more like digits than mixtures of pixels are?"""

import jax.numpy as jnp
import numpy as np

from experiments.autoencoders.models import certainty, convolutional, digits, distance_to_training
from experiments.autoencoders.pictures import pixels, show_rows
from experiments.plotting import titled_png
from jaxdl.report import figure

SHOWN = ((3, 9), (0, 6), (7, 2), (1, 5))  # pairs of digits, as in the lectures
STEPS = 8
SURE = 0.9


def measure(quick: bool) -> dict:
    """Images between some pairs; and half way between many pairs the certainty of a classifier and the distance from
    the nearest training digit (root mean square per pixel).

    The convolutional autoencoder has a code of 8, digits are 28 × 28. Mixed pixels are those of the reconstructions,
    which are as smooth as the decoded images.
    """
    d, coder = digits(28), convolutional(8, quick)
    first, second = different(d.test_y)
    a, b = d.test_x[first], d.test_x[second]
    ends = coder.reconstruct(a), coder.reconstruct(b)
    halfway = {"code": between(coder, a, b, 0.5), "pixels": (ends[0] + ends[1]) / 2, "ends": ends[0]}
    return {
        "pairs": len(first),
        "sure": {name: float((certainty(quick)(x) >= SURE).mean()) for name, x in halfway.items()},
        "distance": {name: float(np.median(distance_to_training(x, 28))) for name, x in halfway.items()},
        "images": {f"{i} to {j}": path(coder, d, i, j) for i, j in SHOWN},
        "mixed": pixels(blend(coder, d, *SHOWN[0])),
    }


def different(labels) -> tuple[np.ndarray, np.ndarray]:
    """Indices of examples, each with one of another label."""
    other = np.random.default_rng(0).permutation(len(labels))
    first = np.arange(len(labels))
    differ = labels[first] != labels[other]
    return first[differ], other[differ]


def between(coder, a, b, alpha):
    """g(αf(b) + (1 − α)f(a)), clipped to [0, 1]."""
    code = alpha * coder.encode(b) + (1 - alpha) * coder.encode(a)
    return np.clip(np.asarray(coder.decode(code)), 0, 1)


def path(coder, d, i, j) -> list:
    a, b = one(d, i), one(d, j)
    return pixels(jnp.concatenate([between(coder, a, b, alpha) for alpha in np.linspace(0, 1, STEPS).tolist()]))


def blend(coder, d, i, j) -> np.ndarray:
    a, b = coder.reconstruct(one(d, i)), coder.reconstruct(one(d, j))
    return np.concatenate([alpha * b + (1 - alpha) * a for alpha in np.linspace(0, 1, STEPS)])


def one(d, digit):
    """The first held-out example of a digit, as a batch."""
    at = int(np.argmax(d.test_y == digit))
    return d.test_x[at : at + 1]


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    sure, distance = data["sure"], data["distance"]
    return (
        f"Half way between the codes of {data['pairs']} pairs of different digits, a classifier is at least {SURE:.0%} "
        f"certain for {sure['code']:.0%} of the images, whose distance from the nearest training digit is "
        f"{distance['code']:.3f}; half way between pixels for {sure['pixels']:.0%}, at a distance of "
        f"{distance['pixels']:.3f}; for the reconstructed digits for {sure['ends']:.0%}, at {distance['ends']:.3f}."
    )


def draw(data) -> bytes:
    """A row for each path between codes, and one of mixed pixels."""
    rows = {f"code\n{name}": images for name, images in data["images"].items()}
    pair = next(iter(data["images"]))
    sure, distance = data["sure"], data["distance"]
    with figure(width=7, height=5.2) as (fig, ax):
        show_rows(ax, rows | {f"pixels\n{pair}": data["mixed"]})
        ax.set_xlabel("α from 0 to 1")
        return titled_png(
            fig,
            f"Half way between codes an image is {distance['code']:.3f} from the nearest training digit (between\n"
            f"pixels {distance['pixels']:.3f}, at the ends {distance['ends']:.3f}); a classifier is certain for "
            f"{sure['code']:.0%} ({sure['pixels']:.0%}, {sure['ends']:.0%})",
            fontsize=10.5,
        )
