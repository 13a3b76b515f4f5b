"""The pictures of the networks, drawn from their data alone."""

import numpy as np

from jaxdl.report import AUTOMATIC, HAND, figure, png

MARKERS = "osD^vP"
DARK = HAND["color"]


def accuracy(data) -> bytes:
    """Errors would need a second glance: accuracy in per cent, parameters on a logarithmic axis."""
    networks = data["networks"]
    mean = {name: 100 * float(np.mean(d["accuracy"])) for name, d in networks.items()}
    best = max(mean, key=mean.get)
    least = min(networks, key=lambda name: networks[name]["parameters"])
    with figure(width=7.4, height=4.2) as (fig, ax):
        for (name, d), marker in zip(networks.items(), MARKERS, strict=False):
            seeds = 100 * np.asarray(d["accuracy"])
            ax.plot([d["parameters"]] * 2, [seeds.min(), seeds.max()], color="#888888", linewidth=1.2)
            ax.plot(d["parameters"], mean[name], marker, color=DARK, markersize=8)
            label = f"{name}, {mean[name]:.1f}%"
            ax.annotate(label, (d["parameters"], mean[name]), (8, 3), textcoords="offset points", fontsize=9)
        counts = [d["parameters"] for d in networks.values()]
        ax.set(xscale="log", xlim=(min(counts) / 1.3, max(counts) * 1.9), xlabel="parameters")
        ax.set_ylabel(f"right of {data['test']:,} held-out images (%)")
        ax.set_title(
            f"{data['name']}: {best} is right most often, {mean[best]:.1f}%;\n"
            f"{least}, the smallest with {networks[least]['parameters']:,} parameters, {mean[least]:.1f}%"
        )
        return png(fig)


def times(data) -> bytes:
    """Seconds of training, and the ratio hand : automatic of one step with its quartiles."""
    names = list(data["networks"])[::-1]
    networks = [data["networks"][name] for name in names]
    seconds = [d["training_seconds"] for d in networks]
    ratios = np.array([d["step"]["ratio"] for d in networks])
    quartiles = np.array([d["step"]["ratio_quartiles"] for d in networks]).T
    with figure(1, 2, width=9.6, height=3.6, sharey=True) as (fig, (left, right)):
        bars = left.barh(names, seconds, color=DARK, height=0.6)
        left.bar_label(bars, [f"{s:.1f} s, {d['epochs']} epochs" for s, d in zip(seconds, networks, strict=True)],
                       padding=3, fontsize=9)  # fmt: skip
        slowest = names[int(np.argmax(seconds))]
        left.set(xlabel="training time, without compiling (s)", xlim=(0, max(seconds) * 1.5))
        left.set_title(f"{slowest} takes longest to train: {max(seconds):.1f} s")
        spread = np.maximum(0, [ratios - quartiles[0], quartiles[1] - ratios])
        bars = right.barh(names, ratios, xerr=spread, color=DARK, height=0.6, ecolor="#333333", capsize=3)
        right.bar_label(bars, [f"{r:.2f}" for r in ratios], padding=5, fontsize=9)
        right.axvline(1, color=AUTOMATIC["color"], linestyle=AUTOMATIC["linestyle"], label="automatic derivative")
        right.set(xlabel="time of a training step, hand : automatic", xlim=(0, max(1, quartiles.max()) * 1.2))
        right.set_title(f"With rules a step takes {ratios.min():.2f} to {ratios.max():.2f} of the time")
        right.legend(loc="upper left", bbox_to_anchor=(0.0, -0.2), fontsize=9)
        for ax in (left, right):
            ax.grid(axis="y", visible=False)
            ax.set_axisbelow(True)
        return png(fig)
