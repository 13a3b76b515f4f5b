"""What can two ReLUs do for XOR that no linear model can?

    python -m experiments.xor [--quick]

Computes the best linear fit of XOR by squared error, in closed form and by gradient descent, with and without a hidden
linear layer; the same in the space of features (x_u, x_v, x_u x_v); two ReLUs with known weights; and how often trained
ReLU networks of several widths classify all four points correctly. Of noisy points around the corners it counts the
examples and the parameters that the features and ReLU networks need.
Prints the finding, and writes it with its figures to results/xor.json and the pictures xor, xor_training, xor_surfaces
and xor_capacity beside it.
"""

from experiments.results_folder import keep
from experiments.xor import capacity, fits, pictures, surfaces, training


def measure(quick: bool) -> dict:
    """Models and their values on a grid, training from many seeds, losses around minima, and learning curves."""
    trained = training.measure(seeds=100, steps=800 if quick else 3000)
    return {
        "fits": fits.measure(side=21 if quick else 41),
        "training": {width: {k: d[k] for k in ("loss", "right")} for width, d in trained.items()},
        "surfaces": surfaces.measure(trained[training.STUCK_AND_SOLVED], side=21 if quick else 41),
        "capacity": capacity.measure(quick),
    }


def finding(data) -> str:
    """The answer in a few sentences, with its figures."""
    linear, share = data["fits"]["linear"], pictures.shares(data)
    w_u, w_v, b = (round(v, 6) + 0.0 for v in (*linear["w"], linear["b"]))  # −0 + 0.0 is 0
    widths = ", ".join(f"{share[w]:.0%} with {w}" for w in ("2", "4", "8", "16"))
    return (
        f"The best linear fit of XOR is w = ({w_u:g}, {w_v:g}), b = {b:g}, "
        f"a linear hidden layer does not change it, and no line gets more than {data['fits']['best_line']} of 4 points "
        f"right; two ReLUs give {[round(v) for v in data['fits']['relu']['outputs']]} exactly, but trained from "
        f"100 seeds not every network finds a solution: {widths} ReLUs. {capacity.finding(data['capacity'])}"
    )


def draw(data) -> dict[str, bytes]:
    """Regions and feature space, training by width, loss surfaces, learning curves."""
    return {
        "xor": pictures.regions(data),
        "xor_training": pictures.by_width(data),
        "xor_surfaces": pictures.loss_surfaces(data),
        "xor_capacity": capacity.draw(data["capacity"]),
    }


def main(quick: bool = False) -> None:
    """Measures, prints the finding, writes data and pictures.

    Args:
        quick: Use fewer steps and coarser grids, which takes seconds.
    """
    keep("xor", measure(quick), finding, draw, quick=quick)
