"""Where does a denoising autoencoder move points near a curve?

The lectures' 2D signal: points of a spiral with Gaussian noise. The trained network φ is compared with the direction to
the nearest point of the curve, and with the best answer by the squared error: E[x | x̃], the mean of the points x of the
curve, each as likely as the noise that leads from it to x̃.
"""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.autoencoders.models import trained
from experiments.plotting import DARK, GREY, LIGHT, LOOKS, MIDDLE, titled_png
from jaxdl import nn
from jaxdl.report import figure

NOISE = 0.1  # standard deviation in each direction
ANGLES = np.linspace(0.5 * np.pi, 3.5 * np.pi, 10_001)  # of the spiral, whose arms are 0.5 apart
GRID = np.linspace(-1.2, 1.2, 29)
EDGES = NOISE * np.arange(0, 2.6, 0.25)  # bins of the distance from the curve
EXAMPLES, POINTS, SHOWN = 20_480, 5000, 200
NETWORK, BEST = "denoising autoencoder", "E[x | x̃]"


def spiral(n: int) -> np.ndarray:
    """(n, 2): points at equal distances along the curve."""
    radius = ANGLES / (4 * np.pi)
    curve = np.stack([radius * np.cos(ANGLES), radius * np.sin(ANGLES)])
    length = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(curve), axis=0))])
    at = np.linspace(0, length[-1], n)
    return np.stack([np.interp(at, length, coordinate) for coordinate in curve], 1).astype(np.float32)


def measure(quick: bool) -> dict:
    """Where noisy points and those of a grid are moved; by distance from the curve, the distance after and the cosine
    of the movement with the direction to the nearest point of the curve.
    """
    network, curve = denoiser(quick), spiral(2000)
    random = np.random.default_rng(0)
    noisy = random.choice(curve, POINTS) + NOISE * random.standard_normal((POINTS, 2)).astype(np.float32)
    answers = {NETWORK: network(noisy), BEST: posterior_mean(noisy, curve)}
    grid = np.stack(np.meshgrid(GRID, GRID), -1).reshape(-1, 2).astype(np.float32)
    grid = grid[distance(grid, curve) < EDGES[-1]]
    return {
        "curve": curve[::10],
        "points": {"from": noisy[:SHOWN], "to": answers[NETWORK][:SHOWN]},
        "field": {"from": grid, "to": network(grid)},
        "before": float(distance(noisy, curve).mean()),
        "after": {name: float(distance(y, curve).mean()) for name, y in answers.items()},
        "from best": float(np.linalg.norm(answers[NETWORK] - answers[BEST], axis=1).mean()),
        "bins": {name: by_distance(noisy, y, curve) for name, y in answers.items()},
    }


def denoiser(quick: bool):
    """The network trained to remove the noise from points of the curve."""
    x, model = spiral(EXAMPLES), nn.mlp(128, 128, 2)
    params = trained(nn.denoising(model, NOISE), x, x, epochs=40 if quick else 150, batch=256)
    apply = jax.jit(model.apply)
    return lambda noisy: np.asarray(apply(params[1], jnp.asarray(noisy)))


def posterior_mean(noisy, curve) -> np.ndarray:
    """E[x | x̃] for points x that are distributed evenly along the curve."""
    likelihood = np.exp(-squared_distances(noisy, curve) / (2 * NOISE**2))
    return likelihood @ curve / likelihood.sum(1, keepdims=True)


def squared_distances(points, curve) -> np.ndarray:
    """From each point (rows) to each point of the curve (columns)."""
    return ((points[:, None] - curve) ** 2).sum(-1)


def nearest(points, curve) -> np.ndarray:
    return curve[squared_distances(points, curve).argmin(1)]


def distance(points, curve) -> np.ndarray:
    return np.sqrt(squared_distances(points, curve).min(1))


def by_distance(noisy, answers, curve) -> dict:
    """For each bin of the distance before: quartiles of the cosine, and of the distance after."""
    to_curve, moved = nearest(noisy, curve) - noisy, answers - noisy
    before, after = np.linalg.norm(to_curve, axis=1), distance(answers, curve)
    cosine = (to_curve * moved).sum(1) / np.maximum(before * np.linalg.norm(moved, axis=1), 1e-9)
    bins = np.digitize(before, EDGES) - 1
    quartiles = lambda values: [np.quantile(values[bins == i], (0.25, 0.5, 0.75)) for i in range(len(EDGES) - 1)]
    return {"cosine": quartiles(cosine), "after": quartiles(after)}


def beyond_noise(data, name: str) -> float:
    """The median cosine, averaged over the bins of points at least as far from the curve as the noise."""
    return float(np.mean([q[1] for q, low in zip(data["bins"][name]["cosine"], EDGES, strict=False) if low >= NOISE]))


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    after = data["after"]
    return (
        f"A denoising autoencoder moves points near a curve onto it: their mean distance falls from "
        f"{data['before']:.3f} to {after[NETWORK]:.3f} (the best answer by the squared error, E[x | x̃], has "
        f"{after[BEST]:.3f}); farther from the curve than the noise, {NOISE:g}, φ(x̃) − x̃ has a median cosine of "
        f"{beyond_noise(data, NETWORK):.3f} with the direction to the nearest point of the curve."
    )


def draw(data) -> bytes:
    """Points before and after, the vector field φ(x̃) − x̃, and cosine and distance after by distance before."""
    with figure(2, 2, width=9.6, height=8.8, height_ratios=(1.5, 1)) as (fig, ((points, field), (after, cosine))):
        draw_movements(points, data["points"], data["curve"])
        points.plot(
            *np.transpose(data["points"]["from"]),
            "o",
            color=MIDDLE,
            markersize=3.5,
            markerfacecolor="white",
            label="noisy, x̃",
        )
        points.plot(*np.transpose(data["points"]["to"]), "o", color=DARK, markersize=3, label="restored, φ(x̃)")
        points.set_title("Noisy points and where the network moves them")
        points.legend(fontsize=8.5, loc="upper left", ncols=3)
        draw_movements(field, data["field"], data["curve"])
        field.set_title("The vector field φ(x̃) − x̃")
        draw_bins(after, data, "after")
        after.plot(EDGES, EDGES, color=GREY, linestyle=":", label="not moved")
        after.set(ylabel="distance after", title="Distance from the curve, before and after")
        draw_bins(cosine, data, "cosine")
        cosine.set(ylabel="cosine", ylim=(None, 1.02), title="Cosine with the direction to the curve")
        for ax in (after, cosine):
            ax.set_xlabel("distance before (lines: medians, bars: quartiles)")
            ax.axvline(NOISE, color=GREY, linewidth=0.8)
            ax.legend(fontsize=8.5)
        return titled_png(
            fig,
            f"A denoising autoencoder moves points to the curve: from {data['before']:.3f} to "
            f"{data['after'][NETWORK]:.3f} on average,\nalong the direction to it (median cosine "
            f"{beyond_noise(data, NETWORK):.3f} for points farther away than the noise, {NOISE:g})",
        )


def draw_movements(ax, movements, curve):
    """The curve, and an arrow for each point."""
    start, end = (np.array(movements[part]) for part in ("from", "to"))
    ax.plot(*np.transpose(curve), color=LIGHT, linewidth=3.5, label="curve")
    arrows = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.0025, "headwidth": 5, "headlength": 6}
    ax.quiver(*start.T, *(end - start).T, color="#333333", zorder=3, **arrows)
    ax.set_aspect("equal")
    ax.set(xlim=(-1.05, 0.9), ylim=(-1.15, 1.25), xticks=(-1, -0.5, 0, 0.5), yticks=(-1, -0.5, 0, 0.5, 1))
    ax.set(xlabel="first coordinate", ylabel="second coordinate")


def draw_bins(ax, data, kind):
    """Medians and quartiles by distance before."""
    middles = (EDGES[1:] + EDGES[:-1]) / 2
    for name, look in zip((NETWORK, BEST), LOOKS, strict=False):
        low, median, high = np.transpose(data["bins"][name][kind])
        shift = 0.003 if name == BEST else 0
        ax.errorbar(middles + shift, median, [median - low, high - median], capsize=2, markersize=4, label=name, **look)
