"""What do reconstructions of held-out digits look like: linear, one layer, deep, convolutional?"""

import numpy as np

from experiments.autoencoders.models import convolutional, convolutional_codes, deep, digits, linear, pca_error
from experiments.autoencoders.pictures import pixels, show_rows
from experiments.plotting import titled_png
from jaxdl.report import figure

SHOWN = 7  # the first examples of seven digits


def measure(quick: bool) -> dict:
    """Errors per pixel on held-out digits of 28 × 28, and some images."""
    d = digits(28)
    coders = {"linear, 32": linear(32, quick, 28)}
    if not quick:  # each takes seconds to compile
        coders["sigmoid layer, 32"] = deep(32, quick, 28, ())
        coders["deep dense, 32"] = deep(32, quick, 28, (512, 256, 128))
    coders |= {f"convolutional, {code}": convolutional(code, quick) for code in convolutional_codes(quick)}
    chosen = [int(np.argmax(d.test_y == digit)) for digit in range(SHOWN)]
    return {
        "pca": {str(code): pca_error(code, d.test_x, 28) for code in (8, 16, 32)},
        "variance": float(((d.test_x - d.train_x.mean(0)[None]) ** 2).mean()),
        "test": {name: coder.error(d.test_x) for name, coder in coders.items()},
        "original": pixels(d.test_x[chosen]),
        "images": {name: pixels(coder.reconstruct(d.test_x[chosen])) for name, coder in coders.items()},
    }


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    each = ", ".join(f"{error:.4f} ({name})" for name, error in sorted(data["test"].items(), key=lambda item: item[1]))
    return (
        f"Mean squared error per pixel of held-out digits, 8 × 8 enlarged to 28 × 28, by kind and code: {each}; "
        f"PCA has {', '.join(f'{error:.4f} ({code})' for code, error in data['pca'].items())}, the mean digit "
        f"{data['variance']:.4f}."
    )


def draw(data) -> bytes:
    """Rows of originals and of the reconstructions by each model."""
    rows = {"original": data["original"]}
    rows |= {f"{name}\nerror {data['test'][name]:.4f}": images for name, images in data["images"].items()}
    small, best = data["test"]["convolutional, 8"], min(data["test"], key=data["test"].get)
    with figure(width=6.4, height=5.2) as (fig, ax):
        show_rows(ax, rows)
        return titled_png(
            fig,
            f"With a code of 8, convolutions have a squared error of {small:.4f} per pixel of held-out\n"
            f"digits, PCA {data['pca']['8']:.4f}; the best here is {best}: {data['test'][best]:.4f}",
            fontsize=10.5,
        )
