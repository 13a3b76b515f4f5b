"""The pictures of XOR, drawn from its data alone."""

import numpy as np
from matplotlib.colors import BoundaryNorm

from experiments.plotting import DARK, MIDDLE, titled_png
from experiments.xor.fits import ANSWERS, POINTS, SQUARE
from experiments.xor.surfaces import LINEAR_SPAN, SPAN
from jaxdl.report import figure, number_text, png

# Losses at which all outputs are equal; three are equal; there are two pairs of equal outputs.
PLATEAUS = ((np.log(2), "ln 2"), (0.75 * np.log(3) - 0.5 * np.log(2), "¾ ln 3 − ½ ln 2"), (np.log(2) / 2, "½ ln 2"))
CLASSES = (("o", "white", "XOR = 0"), ("s", "black", "XOR = 1"))


def regions(data) -> bytes:
    """Values of three models over the square, and the feature space of the two ReLUs."""
    fits = data["fits"]
    half = fits["linear"]["b"]
    panels = {
        f"Linear: {half:.2g} everywhere,\nno line gets over {fits['best_line']} of 4": fits["linear"]["grid"],
        "Linear in $(x_u, x_v, x_u x_v)$:\nall four right": fits["features"]["grid"],
        "Two ReLUs, weights known:\nall four right": fits["relu"]["grid"],
    }
    with figure(1, 4, width=12.4, height=3.7) as (fig, axes):
        for ax, (title, grid) in zip(axes[:3], panels.items(), strict=True):
            shades = values(ax, np.asarray(grid))
            points(ax, POINTS)
            ax.set(title=title, xlabel="$x_u$", ylabel="$x_v$", xticks=[0, 1], yticks=[0, 1])
        fig.colorbar(shades, ax=axes[2], label="model's value", shrink=0.75, ticks=[-1, -0.5, 0, 0.5, 1, 1.5])
        feature_space(axes[3], np.asarray(fits["relu"]["hidden"]))
        return titled_png(fig, "XOR is not linear in x, but in features of x (dashed: where the value is ½)")


def values(ax, grid):
    """The values as shades, with the contour of ½ if there is one."""
    axis = np.linspace(*SQUARE, len(grid))
    shades = ax.contourf(axis, axis, grid.clip(-1, 1.5), np.linspace(-1, 1.5, 21), cmap="Blues_r")
    if grid.min() < 0.49 < 0.51 < grid.max():
        ax.contour(axis, axis, grid, [0.5], colors="white", linewidths=2.5)
        ax.contour(axis, axis, grid, [0.5], colors="black", linewidths=0.8, linestyles="--")
    ax.set_aspect("equal")
    ax.grid(False)
    return shades


def points(ax, at):
    for answer, (marker, face, label) in enumerate(CLASSES):
        mine = at[answer == ANSWERS]
        ax.scatter(*mine.T, s=70, marker=marker, c=face, edgecolors="black", linewidths=1.5, label=label, zorder=3)


def feature_space(ax, hidden):
    """h = (relu(x_u + x_v), relu(x_u + x_v − 1)), where the line h₁ − 2h₂ = ½ separates the classes."""
    points(ax, hidden)
    h = np.array([-0.3, 2.3])
    ax.plot(h, (h - 0.5) / 2, color=DARK, label="$h_1 - 2 h_2 = ½$")
    for name, at, shift in (("(0, 0)", hidden[0], (-14, 9)), ("(1, 0) and\n(0, 1)", hidden[1], (-20, -32)),
                            ("(1, 1)", hidden[3], (-36, 6))):  # fmt: skip
        ax.annotate(name, at, shift, textcoords="offset points", fontsize=9)
    ax.set(title="In the space of the two ReLUs\na line separates", xlabel="$h_1$", ylabel="$h_2$")
    ax.set(xlim=(-0.3, 2.3), ylim=(-0.6, 1.6), xticks=[0, 1, 2], yticks=[0, 1])
    ax.set_aspect("equal")
    ax.legend(loc="upper left", fontsize=8, borderaxespad=0)


def shares(data) -> dict[str, float]:
    """For each width, the share of seeds with all four points correct."""
    return {width: float(np.mean(np.asarray(d["right"]) == 4)) for width, d in data["training"].items()}


def by_width(data) -> bytes:
    """The share of seeds that succeed, and the final loss of every seed."""
    share = shares(data)
    seeds = len(data["training"]["2"]["right"])
    with figure(1, 2, width=9.2, height=3.6) as (fig, (left, right)):
        bars = left.bar(range(len(share)), [100 * s for s in share.values()], color=DARK, width=0.6)
        left.bar_label(bars, fmt="%.0f%%", padding=2)
        left.set(ylabel="seeds with all four points right (%)", ylim=(0, 110), yticks=range(0, 101, 20))
        left.set_title(
            f"Two ReLUs suffice, but only {share['2']:.0%} of {seeds} seeds\nfind them; with 16, {share['16']:.0%}"
        )
        left.grid(axis="x", visible=False)
        rng = np.random.default_rng(0)
        for place, d in enumerate(data["training"].values()):
            loss, solved = np.asarray(d["loss"]), np.asarray(d["right"]) == 4
            x = place + rng.uniform(-0.28, 0.28, seeds)
            right.scatter(x[solved], loss[solved], s=14, c=DARK, label="all four right")
            right.scatter(x[~solved], loss[~solved], s=18, c=MIDDLE, marker="x", linewidths=1, label="stuck")
        for level, name in PLATEAUS:
            right.axhline(level, color="#555555", linewidth=0.8, linestyle=":")
            right.text(0.99, level + 0.01, name, transform=right.get_yaxis_transform(), fontsize=8, ha="right")
        right.set(xlim=(-0.5, len(share) + 0.3), ylim=(-0.03, 0.78))
        right.set(ylabel="logistic loss after training", title=stuck_title(data))
        right.legend(*[part[-2:] for part in right.get_legend_handles_labels()], loc=(0.02, 0.15), fontsize=8)
        for ax in (left, right):
            ax.set_axisbelow(True)
            ax.set_xlabel("width (ReLUs)")
            ax.set_xticks(range(len(share)), share)
        return png(fig)


def stuck_title(data):
    loss, right = (np.concatenate([np.asarray(d[k]) for d in data["training"].values()]) for k in ("loss", "right"))
    stuck, solved = number_text(float(loss[right < 4].min())), number_text(float(loss[right == 4].max()))
    return f"Stuck networks are on one of three plateaus,\nat {stuck} or more; the others are under {solved}"


def loss_surfaces(data) -> bytes:
    """Contours of the linear model's squared error, and of the logistic loss around a solved and a stuck network."""
    surfaces = data["surfaces"]
    with figure(1, 3, width=11.4, height=4.1) as (fig, axes):
        grid = np.asarray(surfaces["linear"])
        w, b = (np.linspace(*span, len(grid)) for span in LINEAR_SPAN)
        row, column = np.unravel_index(grid.argmin(), grid.shape)
        contours(axes[0], w, b, grid, [0.26, 0.3, 0.4, 0.6, 1, 1.5, 2, 3], (w[column], b[row]))
        lowest = f"at w = {w[column]:.2g}, b = {b[row]:.2g}, of {number_text(grid.min())}"
        axes[0].set(xlabel="$w_1 = w_2$", ylabel="b", title=f"Linear model, squared error: one minimum,\n{lowest}")
        for ax, name in zip(axes[1:], ("solved", "stuck"), strict=True):
            grid = np.asarray(surfaces[name]["grid"])
            steps = np.linspace(*SPAN, len(grid))
            contours(ax, steps, steps, grid, [0.01, 0.1, 0.4, 0.5, 0.7, 1, 2, 4, 8], (0, 0))
            ax.set(xlabel="step along u (norm of each array = 1)", ylabel="step along v (norm of each array = 1)")
            loss, seed = number_text(surfaces[name]["loss"]), surfaces[name]["seed"]
            ax.set_title(f"Three ReLUs, logistic loss: {name},\n{loss} at the cross (seed {seed})")
        return png(fig)


def contours(ax, across, up, grid, levels, cross):
    """Labelled contour lines over shades that are darker where the loss is smaller."""
    ax.contourf(
        across, up, grid, [0, *levels, 1e9], cmap="Blues_r", norm=BoundaryNorm([0, *levels, 1e9], 256), alpha=0.7
    )
    ax.clabel(ax.contour(across, up, grid, levels, colors="black", linewidths=0.7), fontsize=8, fmt="%g")
    ax.plot(*cross, "w+", markersize=13, markeredgewidth=4)
    ax.plot(*cross, "k+", markersize=11, markeredgewidth=2)
    ax.grid(False)
