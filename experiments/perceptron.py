"""How many mistakes does the perceptron make, and what if no plane separates the classes?

    python -m experiments.perceptron [--quick]

Measures the number of mistakes until the classes are separated against their margin γ, with Novikoff's bound (R/γ)²;
and for mixed classes the mistakes in each pass and the accuracy on held-out points after it, with that of logistic
regression.
Prints the finding, and writes it with its figures to results/perceptron.json and a picture beside it.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from experiments.plotting import DARK, MIDDLE
from experiments.results_folder import keep
from jaxdl import data, nn, ops, train
from jaxdl.report import figure, number_text, png

POINTS = 1000
LONGEST_SQUARED = 2  # R²: points have a length up to 1, plus 1 for the bias
MIXED = 0.2  # points nearer than this to the plane have a random label
SOLID, DASHED = {"color": DARK, "linestyle": "-"}, {"color": MIDDLE, "linestyle": "--"}


def measure(quick: bool) -> dict:
    """Mistakes by margin; mistakes and accuracy by pass; the accuracy of logistic regression on the same points."""
    margins = (0.4, 0.2, 0.1, 0.05) if quick else (0.4, 0.2, 0.1, 0.05, 0.02, 0.01)
    seeds, passes = (20, 50) if quick else (100, 100)
    mixed, held_out = drawn(-MIXED, seeds)
    return {
        "seeds": seeds,
        "mistakes": {margin: jax.jit(jax.vmap(mistakes_in_all))(*drawn(margin, seeds)[0]) for margin in margins},
        "separated": pass_by_pass(*drawn(0.05, seeds), passes),
        "mixed": pass_by_pass(mixed, held_out, passes),
        "logistic": logistic_accuracy(mixed, held_out),
        "best possible": 1 - near_share(MIXED) / 2,
    }


def drawn(margin: float, seeds: int) -> tuple:
    """(x, y) for training and (x, y) held out, each with a leading axis for the seeds."""
    sets = [data.separated(2 * POINTS, margin, seed) for seed in range(seeds)]
    x, y = (jnp.asarray(np.stack(part)) for part in zip(*sets, strict=True))
    return (x[:, :POINTS], y[:, :POINTS]), (x[:, POINTS:], y[:, POINTS:])


def mistakes_in_all(x, y) -> jax.Array:
    """Mistakes until a pass has none, which is certain for separated classes."""

    def one_pass(state):
        params, mistakes = nn.perceptron_rule(state[0], x, y)
        return params, state[1] + mistakes, mistakes

    start = nn.perceptron().init(jax.random.key(0), x.shape[1:]), jnp.int32(0), jnp.int32(1)
    return jax.lax.while_loop(lambda state: state[2] > 0, one_pass, start)[1]


def pass_by_pass(shown, held_out, passes: int) -> dict:
    """Mistakes in each pass and accuracy on held-out points after it: mean, 5% and 95% quantile over the seeds."""

    def one_seed(x, y, test_x, test_y):
        def one_pass(params, _):
            params, mistakes = nn.perceptron_rule(params, x, y)
            return params, (mistakes, ((nn.perceptron().apply(params, test_x)[:, 0] > 0) == (test_y == 1)).mean())

        return jax.lax.scan(one_pass, nn.perceptron().init(jax.random.key(0), x.shape[1:]), length=passes)[1]

    mistakes, accuracy = jax.jit(jax.vmap(one_seed))(*shown, *held_out)
    return {"mistakes": band(mistakes), "accuracy": band(accuracy)}


def band(values) -> dict:
    low, high = np.quantile(values, (0.05, 0.95), axis=0)
    return {"mean": np.mean(values, axis=0), "low": low, "high": high}


def logistic_accuracy(shown, held_out) -> float:
    """The accuracy of logistic regression on held-out points, mean over the seeds."""
    model, optimizer = nn.logistic_regression(), optax.adam(0.1)
    epoch = train.compiled_epoch(model, ops.logistic_loss, optimizer)
    full_batches = jnp.tile(jnp.arange(POINTS)[None], (500, 1))

    def one_seed(x, y, test_x, test_y):
        params = model.init(jax.random.key(0), x.shape[1:])
        params, _, _ = epoch(params, optimizer.init(params), x, y, full_batches, jax.random.key(0))
        return ((model.apply(params, test_x) > 0) == (test_y == 1)).mean()

    with jax.numpy_dtype_promotion("standard"):  # optax mixes the types of its numbers
        return float(jax.jit(jax.vmap(one_seed))(*shown, *held_out).mean())


def near_share(distance: float) -> float:
    """The share of the unit disc that is nearer than `distance` to a line through its centre."""
    return 2 / math.pi * (distance * math.sqrt(1 - distance**2) + math.asin(distance))


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    margins = list(data["mistakes"])
    wide, narrow = (number_text(float(np.median(data["mistakes"][m]))) for m in (margins[0], margins[-1]))
    closest = max(max(mistakes) * float(m) ** 2 / LONGEST_SQUARED for m, mistakes in data["mistakes"].items())
    mixed = data["mixed"]
    return (
        f"The perceptron separates {POINTS} points after {wide} mistakes (median) at a margin of {margins[0]} and "
        f"{narrow} at {margins[-1]}, never more than {closest:.0%} of Novikoff's (R/γ)²; if classes are mixed it "
        f"still makes {mixed['mistakes']['mean'][-1]:.0f} mistakes in pass {len(mixed['mistakes']['mean'])}, and "
        f"classifies {late_accuracy(data):.1%} of held-out points correctly (mean of the last half of the passes); "
        f"logistic regression {data['logistic']:.1%}, and {data['best possible']:.1%} is possible."
    )


def late_accuracy(data) -> float:
    """The perceptron's mean accuracy on mixed classes over the last half of its passes."""
    accuracy = data["mixed"]["accuracy"]["mean"]
    return float(np.mean(accuracy[len(accuracy) // 2 :]))


def draw(data) -> dict[str, bytes]:
    """Mistakes against margin; mistakes by pass; accuracy on mixed classes by pass."""
    with figure(1, 3, width=12, height=3.8) as (fig, axes):
        against_margin(axes[0], data)
        ax = axes[1]
        line(ax, data["mixed"]["mistakes"], DASHED, "classes mixed nearer than 0.2")
        line(ax, data["separated"]["mistakes"], SOLID, "classes separated by 0.05")
        last = data["mixed"]["mistakes"]["mean"][-1]
        ax.set(title=f"Mixed classes: still {last:.0f} mistakes\nof {POINTS} in the last pass")
        ax.set(
            xlabel="pass (bands: 5 to 95% of seeds)", ylabel=f"mistakes in a pass of {POINTS} points", ylim=(0, None)
        )
        ax.legend(loc=(0.2, 0.12))
        ax = axes[2]
        percent = {name: 100 * np.asarray(values) for name, values in data["mixed"]["accuracy"].items()}
        line(ax, percent, DASHED, "perceptron, after each pass")
        ax.axhline(100 * data["logistic"], label="logistic regression", **SOLID)
        ax.axhline(100 * data["best possible"], label="best possible", color="black", linestyle=":")
        ax.set_title(
            f"Mixed classes: {100 * late_accuracy(data):.1f}%; logistic\nregression {100 * data['logistic']:.1f}%"
        )
        ax.set(xlabel="pass (bands: 5 to 95% of seeds)", ylabel="accuracy on held-out points (%)", ylim=(60, 95))
        ax.legend(loc="lower right")
        return {"perceptron": png(fig)}


def against_margin(ax, data):
    margins = [float(m) for m in data["mistakes"]]
    for margin, mistakes in zip(margins, data["mistakes"].values(), strict=True):
        ax.plot([margin] * len(mistakes), np.maximum(mistakes, 0.8), "o", color=DARK, alpha=0.12, markersize=4)
    median = [np.median(mistakes) for mistakes in data["mistakes"].values()]
    ax.plot(margins, median, "s", markersize=7, label=f"median of {data['seeds']} seeds", **SOLID)
    ax.plot(margins, LONGEST_SQUARED / np.square(margins), label="Novikoff's bound $(R/γ)^2$", **DASHED)
    (slope, _) = np.polyfit(np.log(margins), np.log(median), 1)
    ax.set(xscale="log", yscale="log", xlabel="margin γ (points are of length ≤ 1)", ylabel="mistakes until separated")
    ax.set_title(f"Separated classes: mistakes grow as $γ^{{{slope:.1f}}}$,\nthe bound as $γ^{{-2}}$")
    ax.legend(loc="upper right")


def line(ax, values, style, label):
    passes = np.arange(1, len(values["mean"]) + 1)
    ax.plot(passes, values["mean"], label=label, **style)
    ax.fill_between(passes, values["low"], values["high"], color=style["color"], alpha=0.2, linewidth=0)


def main(quick: bool = False) -> None:
    """Measures, prints the finding, writes data and picture.

    Args:
        quick: Use fewer seeds and margins, which takes seconds.
    """
    keep("perceptron", measure(quick), finding, draw, quick=quick)


if __name__ == "__main__":
    tyro.cli(main)
