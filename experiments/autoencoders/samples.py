"""Are digits convincing that a decoder makes of samples from a Gaussian over codes?

Three densities are fitted to the training codes: a Gaussian with a diagonal covariance (as in the lectures), one with a
full covariance, and one for each digit. If only the first gives bad samples, the density is too simple, and the decoder
is not at fault.
"""

import numpy as np

from experiments.autoencoders.models import certainty, convolutional, convolutional_codes, digits, distance_to_training
from experiments.autoencoders.pictures import pixels, show_rows
from experiments.plotting import DARK, LIGHT, MIDDLE, titled_png
from jaxdl.report import figure

SURE = 0.9
SHOWN = 8


def measure(quick: bool) -> dict:
    """The certainty of a classifier, and the distance from the nearest training digit (root mean square per pixel)."""
    d = digits(28)
    drawn, sizes = {"real digits": d.test_x}, convolutional_codes(quick)
    for code in sizes:
        coder = convolutional(code, quick)
        drawn[f"reconstructed, {code}"] = coder.reconstruct(d.test_x)
        train_codes = np.asarray(coder.encode(d.train_x)).reshape(len(d.train_x), code)
        for name, density in DENSITIES.items():
            codes = density(np.random.default_rng(0), train_codes, d.train_y, len(d.test_x)).astype(np.float32)
            drawn[f"{name}, {code}"] = np.asarray(coder.decode(codes[:, None, None]))
    drawn = {name: np.clip(images, 0, 1) for name, images in drawn.items()}
    shown = (*(f"diagonal, {code}" for code in sizes), f"one a digit, {sizes[-1]}", "real digits")
    return {
        "size": sizes,
        "sure": {name: float((certainty(quick)(images) >= SURE).mean()) for name, images in drawn.items()},
        "distance": {name: float(np.median(distance_to_training(images, 28))) for name, images in drawn.items()},
        "images": {name: pixels(drawn[name][:SHOWN]) for name in shown},
    }


def diagonal(random, codes, labels, n):
    """Samples with the mean and the variances of the codes, and independent numbers."""
    del labels
    return codes.mean(0) + codes.std(0) * random.standard_normal((n, codes.shape[1]))


def full(random, codes, labels, n):
    """Samples with the mean and the covariance of the codes."""
    del labels
    return random.multivariate_normal(codes.mean(0), np.cov(codes.T), n)


def one_a_digit(random, codes, labels, n):
    """Samples with a mean and a covariance for each digit, as often as the digit occurs."""
    return np.concatenate([full(random, codes[labels == y], None, 1) for y in random.choice(labels, n)])


DENSITIES = {"diagonal": diagonal, "full": full, "one a digit": one_a_digit}


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    sure = data["sure"]
    both = lambda name: " and ".join(f"{sure[f'{name}, {code}']:.0%}" for code in data["size"])
    sizes = " and ".join(map(str, data["size"]))
    return (
        f"Samples of a diagonal Gaussian over codes of {sizes} are not convincing: a classifier is at least {SURE:.0%} "
        f"certain for {both('diagonal')} of them, for {both('full')} with a full covariance, for "
        f"{both('one a digit')} with one Gaussian per digit, but for {both('reconstructed')} of reconstructed and "
        f"{sure['real digits']:.0%} of real held-out digits."
    )


def draw(data) -> bytes:
    """Samples, and the certainty of the classifier by density."""
    sure, names = data["sure"], [*DENSITIES, "reconstructed"]
    diagonals = " and ".join(f"{sure[f'diagonal, {code}']:.0%} (code {code})" for code in data["size"])
    with figure(1, 2, width=10.2, height=3.7, width_ratios=(1.35, 1)) as (fig, (ax, bars)):
        show_rows(ax, {name.replace(", ", "\ncode "): images for name, images in data["images"].items()})
        looks = ((-0.2, LIGHT, "black"), (0.2, DARK, "white"))
        for code, (shift, colour, ink) in zip(data["size"], looks, strict=False):
            shares = [100 * sure[f"{name}, {code}"] for name in names]
            at = np.arange(len(names)) + shift
            bars.bar(at, shares, 0.38, color=colour, label=f"code {code}")
            for x, share in zip(at, shares, strict=True):
                bars.text(x, share - 6, f"{share:.0f}", ha="center", fontsize=8.5, color=ink)
        bars.axhline(100 * sure["real digits"], color=MIDDLE, linestyle="--", label="real digits")
        labels = ["diagonal\nGaussian", "full\nGaussian", "one per\ndigit", "recon-\nstructed"]
        bars.set_xticks(range(len(names)), labels)
        bars.set(ylabel=f"images with a certainty ≥ {SURE:.0%} (%)", ylim=(0, 125), yticks=range(0, 101, 20))
        bars.grid(axis="x", visible=False)
        bars.legend(fontsize=8.5, loc="upper left", ncols=3, columnspacing=1, handlelength=1.4)
        return titled_png(
            fig,
            f"A classifier is certain for {diagonals} of the samples from a diagonal Gaussian over codes, "
            f"for {sure['real digits']:.0%} of real digits",
            fontsize=10.5,
        )
