"""How well does a sum of ReLUs approximate a function, how does the error fall with the width, and at what price?

    python -m experiments.universal_approximation [--quick]

Measures the error of the lecture's six ReLUs against x³ + x² − x − 1 on [−2, 2]; the largest and the root-mean-square
error by width, of constructed ReLUs and of trained networks with one hidden layer, five activations and biases
initialised to 0; the error on held-out points if there are few noisy examples; and the width that more dimensions need.
Prints the finding, and writes it with its figures to results/universal_approximation.json and pictures beside it.
"""

from experiments.results_folder import keep
from experiments.universal_approximation import approximation, generalisation, six_relus
from jaxdl.report import number_text


def measure(quick: bool) -> dict:
    """Errors by width, the six ReLUs, and errors on held-out points."""
    return {
        **approximation.measure(quick),
        "six": six_relus.measure(),
        "generalisation": generalisation.measure(quick),
    }


def finding(data) -> str:
    """The answer in a few sentences, with its figures."""
    functions, lecture = data["functions"], data["lecture"]
    cubic, sine = functions.values()
    powers = " and ".join(f"{approximation.slope(f['built']):.2f}" for f in functions.values())
    widest, relu = max(sine["fitted"]["relu"].items(), key=lambda item: int(item[0]))
    built, trained = (number_text(six_relus.largest_error(cubic, side)) for side in ("built", "fitted"))
    best = approximation.best_trained
    return (
        f"The lecture's six ReLUs come within {number_text(lecture['max'])} of x³ + x² − x − 1 on [−2, 2] (worst at "
        f"x = {six_relus.worst_place(data):.2g}; RMS {number_text(lecture['rms'])}), six evenly spaced within {built}, "
        f"six trained within {trained}; by construction the largest error falls as width to the power {powers} "
        f"(sin 3x); {best(cubic)}, and on sin 3x {best(sine)}, but {widest} trained ReLUs, whose kinks all start "
        f"at 0, have an error of {number_text(relu['max'])} (median of seeds), as many constructed ones of "
        f"{number_text(sine['built'][widest]['max'])}. {generalisation.finding(data['generalisation'])}"
    )


def draw(data) -> dict[str, bytes]:
    """The six ReLUs one by one, curves of six ReLUs, errors against width, errors on held-out points."""
    return {
        "universal_approximation_terms": six_relus.draw_terms(data),
        "universal_approximation": six_relus.draw_curves(data),
        "universal_approximation_error": approximation.draw_errors(data),
        "universal_approximation_held_out": generalisation.draw(data["generalisation"]),
    }


def main(quick: bool = False) -> None:
    """Measures, prints the finding, writes data and pictures.

    Args:
        quick: Use fewer widths, seeds and steps, which takes seconds.
    """
    keep("universal_approximation", measure(quick), finding, draw, quick=quick)
