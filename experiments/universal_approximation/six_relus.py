"""The lecture's six ReLUs one by one, their sum, and other sums of six ReLUs."""

import jax.numpy as jnp
import numpy as np

from experiments.plotting import DARK, MIDDLE, titled_png
from experiments.universal_approximation.approximation import FUNCTIONS, A, B, values
from jaxdl import nn, ops
from jaxdl.report import INK, figure, number_text

CURVE = "#bbbbbb"


def measure() -> dict:
    """The terms ±nᵢ(x) of the lecture's sum, with their formulas, on the points of the curves."""
    layers = nn.six_relus().init(None, (1,))
    hidden, last = layers[1], layers[-1]
    x = jnp.linspace(A, B, 201)
    terms = last["w"] * ops.relu(hidden["w"][0][:, None] * x[None] + hidden["b"][:, None])
    return {
        "formulas": [formula(*of) for of in zip(last["w"][:, 0], hidden["w"][0], hidden["b"], strict=True)],
        "terms": terms,
        "apart": float(jnp.abs(terms.sum(0) - values(nn.six_relus())[::10]).max()),
    }


def formula(sign, w, b) -> str:
    """As text, such as −relu(−5x − 7.7)."""
    text = f"{'+' if sign > 0 else '-'}relu({w:g}x {'+' if b > 0 else '-'} {abs(b):g})"
    return text.replace("-", "−")


def largest_error(function, side) -> float:
    """The largest error of six ReLUs, on the points of the curve."""
    curves = function["curves"]
    return float(np.abs(np.subtract(curves[side], curves["exact"])).max())


def worst_place(data) -> float:
    """Where the lecture's sum is farthest from the cubic."""
    curve, cubic = data["lecture"]["curve"], next(iter(data["functions"].values()))
    worst = np.abs(np.subtract(curve, cubic["curves"]["exact"])).argmax()
    return float(np.linspace(A, B, len(curve))[worst])


def draw_terms(data) -> bytes:
    """Each term, with the sum of the terms up to it; then the whole sum over the cubic."""
    terms = np.array(data["six"]["terms"])
    sums = terms.cumsum(0)
    cubic = data["functions"][next(iter(FUNCTIONS))]["curves"]["exact"]
    x = np.linspace(A, B, len(cubic))
    with figure(2, 4, width=11.4, height=5.6, sharex=True, sharey=True) as (fig, axes):
        for i, (ax, name) in enumerate(zip(axes.flat, data["six"]["formulas"], strict=False)):
            ax.plot(x, cubic, color=CURVE, linewidth=4)
            ax.plot(x, sums[i], color=MIDDLE, linestyle="--", label=f"sum of the first {i + 1}" if i else None)
            ax.plot(x, terms[i], color=DARK, linewidth=2, label="this ReLU")
            ax.set_title(f"n{'₁₂₃₄₅₆'[i]}:  {name}", fontsize=9.5)
        whole, apart = axes.flat[6], axes.flat[7]
        whole.plot(x, cubic, color=CURVE, linewidth=4, label="x³ + x² − x − 1")
        whole.plot(x, sums[-1], color=INK, label="sum of all six")
        whole.set_title("−n₁ − n₂ − n₃ + n₄ + n₅ + n₆", fontsize=9.5)
        apart.plot(x, sums[-1] - cubic, color=INK)
        apart.axhline(0, color=CURVE, linewidth=4)
        apart.set_title(f"sum − cubic: {number_text(data['lecture']['max'])} off at x = {worst_place(data):.2g}")
        for ax in axes[1]:
            ax.set_xlabel("x")
        for ax in (axes[0, 1], whole):
            ax.legend(fontsize=8, loc="upper left")
        return titled_png(
            fig,
            f"Three of the six ReLUs bend the sum down, three bend it up: it is within "
            f"{number_text(data['lecture']['rms'])} of the cubic (grey) by RMS",
        )


def draw_curves(data) -> bytes:
    """The lecture's, evenly spaced and trained ReLUs over the two functions."""
    x = np.linspace(A, B, len(data["lecture"]["curve"]))
    with figure(1, 2, width=9.6, height=4) as (fig, axes):
        for ax, (name, function) in zip(axes, data["functions"].items(), strict=True):
            curves = function["curves"]
            ax.plot(x, curves["exact"], color=CURVE, linewidth=5, label=name)
            if ax is axes[0]:
                label = f"lecture's (error {number_text(data['lecture']['max'])})"
                ax.plot(x, data["lecture"]["curve"], color="black", linestyle=":", linewidth=1.6, label=label)
            for side, style, label in (
                ("built", {"color": DARK}, "evenly spaced"),
                ("fitted", {"color": MIDDLE, "linestyle": "--"}, "trained"),
            ):
                error = number_text(largest_error(function, side))
                ax.plot(x, curves[side], label=f"{label} (error {error})", **style)
            ax.set(xlabel="x", ylabel="value", title=f"{name} by six ReLUs")
            ax.set_ylim(top=1.55 * max(curves["exact"]) if ax is axes[0] else 2.4)
            ax.legend(loc="upper left", fontsize=8)
        lecture, built = data["lecture"]["max"], largest_error(next(iter(data["functions"].values())), "built")
        title = (
            f"Six ReLUs: the lecture's have an error of {number_text(lecture)}, evenly spaced of {number_text(built)}"
        )
        return titled_png(fig, title)
