"""How accurate are the lectures' networks on small images, and what do they cost?

    python -m experiments.convnets [--quick] [--data NAME]

Measures accuracy on held-out images (mean of a few seeds) against the number of parameters, training time, and the time
of a training step with hand-written rules relative to the automatic derivative, for an MLP, LeNet-5, a NiN, a network
of Inception blocks, a fully convolutional network and a small ViT. NAME is "digits", or a data set of TensorFlow
Datasets that is on disk, such as mnist, fashion_mnist or cifar10. Settings were chosen on a fifth of the digits'
training images, without use of the test images.
Prints the finding, and writes it with its figures to results/convnets.json (convnets_NAME.json for other data than the
digits) and the pictures convnets and convnets_time beside it.
"""

import numpy as np

from experiments.convnets import pictures
from experiments.convnets.models import CANDIDATES, QUICK
from experiments.convnets.training import trained_and_timed
from experiments.results_folder import keep
from jaxdl.data import load


def measure(quick: bool, data: str = "digits") -> dict:
    """For each network: parameters, epochs, the accuracy for every seed, seconds of training and of a step."""
    images = load(data)
    candidates = QUICK if quick else CANDIDATES
    settings = {"seeds": 1, "seconds": 0.2} if quick else {"seeds": 3, "seconds": 1.0}
    return {
        "name": data,
        "train": len(images.train_x),
        "test": len(images.test_x),
        "networks": {name: trained_and_timed(candidate, images, **settings) for name, candidate in candidates.items()},
    }


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    networks = data["networks"]
    score = {name: np.mean(d["accuracy"]) for name, d in networks.items()}
    each = ", ".join(
        f"{name} {score[name]:.1%} with {networks[name]['parameters']:,} parameters"
        for name in sorted(score, key=score.get, reverse=True)
    )
    ratios = {name: d["step"]["ratio"] for name, d in networks.items()}
    least, most = min(ratios, key=ratios.get), max(ratios, key=ratios.get)
    seeds = len(next(iter(networks.values()))["accuracy"])
    return (
        f"Of {data['test']:,} held-out images of {data['name']} ({data['train']:,} to train on, "
        f"{f'mean of {seeds} seeds' if seeds > 1 else 'one seed'}) are classified correctly: {each}; a training step "
        f"by hand-written rules takes {ratios[least]:.2f} ({least}) to {ratios[most]:.2f} ({most}) of the "
        f"automatic derivative's time."
    )


def draw(data) -> dict[str, bytes]:
    """Accuracy against parameters; training time and the time ratio of a step."""
    suffix = name_of(data["name"]).removeprefix("convnets")
    return {f"convnets{suffix}": pictures.accuracy(data), f"convnets_time{suffix}": pictures.times(data)}


def name_of(data: str) -> str:
    return "convnets" if data == "digits" else f"convnets_{data}"


def main(data: str = "digits", quick: bool = False) -> None:
    """Measures, prints the finding, writes data and pictures.

    Args:
        data: "digits", or the name of an image classification data set of TensorFlow Datasets.
        quick: Train two networks for a few epochs from one seed, which takes seconds.
    """
    keep(name_of(data), measure(quick, data), finding, draw, quick=quick)
