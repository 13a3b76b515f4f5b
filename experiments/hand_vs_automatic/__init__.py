"""What are hand-written derivatives worth for MLPs, convolutional networks and autoencoders?

    python -m experiments.hand_vs_automatic [--quick]

For each of the three families, by depth, width and batch, the gradient of a training loss is compared: by hand-written
rules, automatic, with stock functions (those of jax.nn, jax.numpy and lax, or as Flax and optax write them), and with
the mix that `jaxdl.tune` finds. Measured are its time, in interleaved pairs in one process; the residuals, without
arrays that a compiler removes; temporary memory; the error against a float64 run; and the same of a second derivative,
the pullback of the gradient. Why a family gains or loses is measured too: each rule alone is taken out of the whole.
Everything runs on JAX's default device.
Prints the finding, and writes it with its figures to results/hand_vs_automatic.json, with the pictures
hand_vs_automatic and hand_vs_automatic_memory and the page hand_vs_automatic.html beside it.
"""

import json
import textwrap

from experiments.hand_vs_automatic import pictures
from experiments.hand_vs_automatic.families import FAMILIES, QUICK
from experiments.hand_vs_automatic.measurement import measured
from experiments.hand_vs_automatic.sentences import conclusion_on_memory, conclusion_on_time, finding
from experiments.hand_vs_automatic.tables import page
from experiments.plotting import titled_png
from experiments.results_folder import FOLDER, keep
from jaxdl.report import write_whole


def measure(quick: bool) -> dict:
    """The figures of every family, and where they were measured."""
    return measured(QUICK, seconds=0.2) if quick else measured(FAMILIES, seconds=5.0)


def draw(data) -> dict[str, bytes]:
    """Times and kept bytes by depth, width and batch."""
    figures = {
        "hand_vs_automatic": (pictures.times, conclusion_on_time),
        "hand_vs_automatic_memory": (pictures.memory, conclusion_on_memory),
    }
    return {
        name: titled_png(picture(data), textwrap.fill(title(data), 105)) for name, (picture, title) in figures.items()
    }


def main(quick: bool = False) -> None:
    """Measures, prints the finding, writes data, pictures and page.

    Args:
        quick: Measure one tiny model of two families, which takes seconds.
    """
    keep("hand_vs_automatic", measure(quick), finding, draw, quick=quick)
    folder = FOLDER / "quick" if quick else FOLDER
    data = json.loads((folder / "hand_vs_automatic.json").read_text())["data"]
    write_whole(folder / "hand_vs_automatic.html", page(data).html().encode())
