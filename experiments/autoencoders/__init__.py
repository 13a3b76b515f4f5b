"""What do autoencoders keep of digits, what are their codes good for, and where do they fail?

    python -m experiments.autoencoders [--quick] [--only NAME]

One file for each question. Is the linear autoencoder PCA (pca)? What do reconstructions look like (reconstructions),
and how does their error depend on the size of the code (code_size)? What lies between two codes (interpolation)? Are
samples from a Gaussian over codes convincing digits (samples)? How much noise can be removed (denoising), and where
are points near a curve moved (curve)? How well are missing pixels restored (inpainting)? What does a network trained
by the squared error predict if several answers are correct (multimodal)? How many directions does a code use
(spectrum)?
Prints a finding for each question, and writes it with its figures to results/autoencoders_NAME.json and a picture
beside it.
"""

from typing import Literal

from experiments.autoencoders import (
    code_size,
    curve,
    denoising,
    inpainting,
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
    "curve": curve,
    "inpainting": inpainting,
    "multimodal": multimodal,
    "spectrum": spectrum,
}


def main(quick: bool = False, only: Literal[tuple(QUESTIONS)] | None = None) -> None:
    """Measures, prints the findings, writes data and pictures.

    Args:
        quick: Train less, which takes seconds.
        only: Answer one question instead of all.
    """
    for name in [only] if only else QUESTIONS:
        question = QUESTIONS[name]
        picture = f"autoencoders_{name}"
        draw = lambda data, q=question, picture=picture: {picture: q.draw(data)}
        keep(picture, question.measure(quick), question.finding, draw, quick=quick)
