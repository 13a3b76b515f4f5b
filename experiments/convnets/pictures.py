"""The pictures of the networks, drawn from their data alone."""

import numpy as np
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from experiments.plotting import DARK
from jaxdl.report import AUTOMATIC, HAND, figure, png

MARKERS = "osD^vP"
TO_THE_RIGHT = ("MLP", "ViT")  # labels; the others' are on the left of their points


def accuracy(data) -> bytes:
    """Mean and range of the seeds' accuracy against the number of parameters."""
    networks = data["networks"]
    mean = {name: 100 * float(np.mean(d["accuracy"])) for name, d in networks.items()}
    best = max(mean, key=mean.get)
    least = min(networks, key=lambda name: networks[name]["parameters"])
    with figure(width=7.4, height=4.2) as (fig, ax):
        for (name, d), marker in zip(networks.items(), MARKERS, strict=False):
            seeds = 100 * np.asarray(d["accuracy"])
            ax.plot([d["parameters"]] * 2, [seeds.min(), seeds.max()], color="#888888", linewidth=1.2)
            ax.plot(d["parameters"], mean[name], marker, color=DARK, markersize=8)
            place = {"xytext": (9, -3), "ha": "left"} if name in TO_THE_RIGHT else {"xytext": (-9, -3), "ha": "right"}
            label = f"{name}, {mean[name]:.1f}%"
            ax.annotate(label, (d["parameters"], mean[name]), textcoords="offset points", fontsize=9, **place)
        counts = [d["parameters"] for d in networks.values()]
        ax.set(xscale="log", xlim=(min(counts) / 2.2, max(counts) * 1.5), xlabel="parameters")
        ax.xaxis.set_major_locator(FixedLocator([m * 10**e for e in range(3, 9) for m in (1, 2, 5)]))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_ylabel(f"accuracy on {data['test']:,} held-out images (%)")
        seeds = len(networks[best]["accuracy"])
        ax.set_title(
            f"On {data['name']}, {best} has the best accuracy, {mean[best]:.1f}%; {least},\n"
            f"the smallest with {networks[least]['parameters']:,} parameters, has {mean[least]:.1f}%"
            + (f" (means and ranges of {seeds} seeds)" if seeds > 1 else "")
        )
        return png(fig)


def times(data) -> bytes:
    """Seconds of training, and the ratio hand : automatic of one step with its quartiles."""
    names = list(data["networks"])[::-1]
    networks = [data["networks"][name] for name in names]
    seconds = [d["training_seconds"] for d in networks]
    ratios = np.array([d["step"]["ratio"] for d in networks])
    quartiles = np.array([d["step"]["ratio_quartiles"] for d in networks]).T
    with figure(1, 2, width=9.6, height=3.4, sharey=True) as (fig, (left, right)):
        bars = left.barh(names, seconds, color=DARK, height=0.6)
        left.bar_label(bars, [f"{s:.1f} s, {d['epochs']} epochs" for s, d in zip(seconds, networks, strict=True)],
                       padding=3, fontsize=9)  # fmt: skip
        slowest = names[int(np.argmax(seconds))]
        left.set(xlabel="training time, without compiling (s)", xlim=(0, max(seconds) * 1.5))
        left.set_title(f"{slowest} takes longest to train: {max(seconds):.1f} s")
        spread = np.maximum(0, [ratios - quartiles[0], quartiles[1] - ratios])
        bars = right.barh(names, ratios, xerr=spread, color=HAND["color"], height=0.6, ecolor="#333333", capsize=3)
        right.bar_label(bars, [f"{r:.2f}" for r in ratios], label_type="center", color="white", fontsize=9)
        right.axvline(1, color=AUTOMATIC["color"], linestyle=AUTOMATIC["linestyle"])
        right.text(1.02, -0.42, "automatic", color="#9c4a06", fontsize=9, rotation=90)
        right.set(
            xlabel="time of a training step, hand : automatic (and quartiles)", xlim=(0, max(1, quartiles.max()) * 1.12)
        )
        right.set_title(f"Hand-written rules take {ratios.min():.2f} to {ratios.max():.2f} of the time")
        for ax in (left, right):
            ax.grid(axis="y", visible=False)
            ax.set_axisbelow(True)
        return png(fig)
