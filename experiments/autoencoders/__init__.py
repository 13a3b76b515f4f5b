"""What do autoencoders keep of digits, what can be done with their codes, and where do they fail?

    python -m experiments.autoencoders [--quick] [--only NAME]

Asked: one question a file. Is the linear one PCA (pca)? What do the reconstructions look like (reconstructions), and
how good are they by code size (code_size)? What lies between two codes (interpolation)? Are digits drawn from a
Gaussian over codes convincing (samples)? How much noise can be removed (denoising)? What does the squared error
predict where several answers are right (multimodal)? How many directions does a code use (spectrum)?
Finding: one a question, printed, written with its figures to results/autoencoders_NAME.json, and drawn beside it.
"""

from typing import Literal

from experiments.autoencoders import (
    code_size,
    denoising,
    interpolation,
    multimodal,
    pca,
    reconstructions,
    samples,
    spectrum,
)
from experiments.results_folder import keep

QUESTIONS = {
    "pca": pca,
    "reconstructions": reconstructions,
    "code_size": code_size,
    "interpolation": interpolation,
    "samples": samples,
    "denoising": denoising,
    "multimodal": multimodal,
    "spectrum": spectrum,
}


def main(quick: bool = False, only: Literal[tuple(QUESTIONS)] | None = None) -> None:
    """Measure, print the findings, write data and pictures.

    Args:
        quick: Train less, in seconds.
        only: One question in place of all.
    """
    for name in [only] if only else QUESTIONS:
        question = QUESTIONS[name]
        picture = f"autoencoders_{name}"
        draw = lambda data, q=question, picture=picture: {picture: q.draw(data)}
        keep(picture, question.measure(quick), question.finding, draw, quick=quick)
