"""The page and its tables."""

from experiments.hand_vs_automatic import pictures
from experiments.hand_vs_automatic.sentences import (
    causes,
    conclusion,
    details,
    memory,
    of_family,
    place,
    side_of,
    time,
    why,
    worst,
)
from jaxdl.report import Page, Table, bytes_text, number_text, ratio_text, seconds_text

SIDES = ("hand", "automatic", "stock", "tuned")
ABOUT = (
    "Hand: with the hand-written rules. Automatic: the same model, differentiated by JAX. Stock: with functions of "
    "jax.nn, jax.numpy and lax, or as Flax and optax write them, in place of jaxdl's operations. Tuned: the mix of "
    "these that jaxdl.tune found for this model on this machine."
)
NOTE = (
    "Times are ratios to the automatic derivative (below 1 is faster), medians of interleaved pairs in one process, "
    "with their quartiles in brackets. Residuals are kept for the backward pass, without arrays that a compiler "
    "removes, such as zeros; temporary memory is what the compiled gradient takes besides arguments and results. "
    "The error is the largest distance from a float64 run, in units of the largest entry's last place."
)


def families_table(data) -> Table:
    """One row for each family: means over its models."""
    rows = [
        (
            name,
            causes(family) or "–",
            str(len(models := family["models"])),
            *(ratio_text(time(models, side)) for side in ("hand", "stock", "tuned")),
            *(ratio_text(memory(models, "hand", what)) for what in ("residuals", "temporary")),
            f"{number_text(worst(models, 'hand'))} / {number_text(worst(models, 'automatic'))}",
            ratio_text(time(models, "hand", "second")),
        )
        for name, family in data["families"].items()
    ]
    columns = (
        "family", "faster by", "models", "time hand", "time stock", "time tuned", "residuals hand",
        "temporary hand", "error hand / auto", "second derivative",
    )  # fmt: skip
    note = (
        f"Ratios are to the automatic derivative, geometric means; less than 4 kB counts as 4 kB. {NOTE} Second "
        "derivative: its time by hand. Faster by: the rules that alone reduce the time of the whole gradient by more "
        "than 5 %, and how many times as long it takes without them, at most."
    )
    return Table("The three families", columns, rows, note, words=2)


def _of_sides(model, text, what, order="first", sides=SIDES):
    return " / ".join(text(side_of(model, side, order)[what]) for side in sides)


def _timed(figures):
    low, high = figures["quartiles"]
    return f"{figures['time']:.2f}× ({low:.2f}–{high:.2f})"


def times_table(family) -> Table:
    """The time of each model of a family by each side."""
    rows = [
        (
            place(m),
            ", ".join(m["chosen"]).replace("_", " ") or "all by hand",
            f"{m['parameters']:,}",
            seconds_text(m["seconds"]),
            *(_timed(side_of(m, side)) for side in ("hand", "stock", "tuned")),
        )
        for m in family["models"]
    ]
    columns = "model", "tuned: not by hand", "parameters", "automatic", "hand", "stock", "tuned"
    return Table("Time of the gradient", columns, rows, words=2)


def memory_table(family) -> Table:
    """Bytes and errors of each model of a family by each side."""
    rows = [
        (
            place(m),
            *(_of_sides(m, bytes_text, what) for what in ("residuals", "temporary")),
            _of_sides(m, number_text, "ulp"),
        )
        for m in family["models"]
    ]
    columns = "model", "residuals", "temporary memory", "error, ULP"
    return Table("Memory and error of the gradient: hand / auto / stock / tuned", columns, rows)


def second_derivatives(family) -> Table:
    """One row for each model of a family: the pullback of its gradient."""
    rows = [
        (
            place(m),
            *(_timed(side_of(m, side, "second")) for side in ("hand", "stock", "tuned")),
            _of_sides(m, bytes_text, "temporary", "second"),
            _of_sides(m, number_text, "ulp", "second"),
            number_text(m["second"]["hand"]["difference"]),
        )
        for m in family["models"]
    ]
    columns = "model", "hand", "stock", "tuned", "temporary memory", "error, ULP", "difference"
    note = (
        "The gradient and its pullback, from one fixed cotangent. Memory and error are hand / auto / stock / tuned; "
        "the difference is between hand and auto, over the largest entry."
    )
    return Table("The second derivative", columns, rows, note)


def causes_table(family) -> Table:
    """One row for each rule and model: the whole gradient with it and without it."""
    both = lambda pair, text: " / ".join(map(text, pair))
    rows = [
        (
            place(at),
            rule.replace("_", " "),
            _timed(with_rule),
            *(both(with_rule[what], bytes_text) for what in ("residuals", "temporary")),
            both(with_rule["ulp"], number_text),
        )
        for at in family["causes"]
        for rule, with_rule in sorted(at["rules"].items(), key=lambda item: item[1]["time"])
    ]
    columns = "model", "rule", "time", "residuals with / without", "temporary memory", "error, ULP"
    note = (
        "The whole gradient with all rules over that with this rule alone replaced by the automatic derivative: below "
        "1 the rule makes the gradient faster. The models are the one with the least and the one with the most time by "
        "hand, and the one in the middle of the grid. Rules act together, so the ratios need not multiply to the "
        "whole. A program is slower right after one that takes much memory, so a ratio somewhat above 1 is not yet a "
        "loss by the rule."
    )
    return Table("What each rule alone changes in the whole gradient", columns, rows, note, words=2)


def page(data) -> Page:
    """The conclusion, the table of families, and for each family its pictures and tables."""
    result = Page("Hand-written against automatic derivatives: MLPs, convolutional networks, autoencoders")
    result.lead(f"{conclusion(data)}.")
    result.text(details(data))
    result.table(families_table(data))
    result.text(ABOUT)
    result.text(f"Measured on {data['device']} with JAX {data['jax']}: python -m experiments.hand_vs_automatic")
    for name, family in data["families"].items():
        only = {**data, "families": {name: family}}
        result.heading(of_family(name, family))
        result.text(family["about"])
        result.text(why(family))
        result.picture(pictures.times(only), pictures.TIMES_CAPTION)
        result.picture(pictures.memory(only), pictures.MEMORY_CAPTION)
        result.table(times_table(family))
        result.table(memory_table(family))
        result.table(causes_table(family))
        result.details("Second derivatives", second_derivatives(family))
    return result
