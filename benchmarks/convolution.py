"""conv2d on the shapes of published networks: the rule against the automatic derivative and PyTorch.

    python -m benchmarks.convolution [--full | --tune]          (needs the extra `peers` for PyTorch)

Forward pass and both cotangents are compiled as one program, and timed in turn in one process with the same number of
threads; the figures are median ratios. PyTorch gets contiguous images (n, c, h, w), its usual order. Both sides also
run with XLA's library YNNPACK turned off, which a caller of `jax.jit` may do.
"""

import os
from typing import Annotated

import jax
import numpy as np
import tyro

from benchmarks.convolution_tuning import Program, models, tune
from benchmarks.results_folder import keep, machine
from jaxdl import automatic, ops
from jaxdl.measure.differentiated import Differentiated
from jaxdl.measure.timing import Pairs, rounds
from jaxdl.report import AUTOMATIC, HAND, Table, bytes_text, figure, png, ratio_text

WITHOUT_YNNPACK: dict[str, str | bool] = {"xla_cpu_experimental_ynn_fusion_type": ""}
BATCHES = (16, 64)

# name: image, channels in, kernel, channels out, settings
SHAPES = {
    "LeNet 1": (28, 1, 5, 6, {"padding": 2}),
    "LeNet 2": (14, 6, 5, 16, {}),
    "AlexNet 1": (64, 3, 11, 64, {"stride": 4, "padding": 2}),
    "AlexNet 2": (7, 64, 5, 192, {"padding": 2}),
    "AlexNet 2, grouped": (7, 96, 5, 256, {"padding": 2, "groups": 2}),
    "AlexNet 3": (3, 192, 3, 384, {"padding": 1}),
    "AlexNet 4": (3, 384, 3, 256, {"padding": 1}),
    "NiN 1": (32, 3, 5, 192, {"padding": 2}),
    "NiN 1, 1×1": (32, 192, 1, 160, {}),
    "NiN 2": (16, 96, 5, 192, {"padding": 2}),
    "NiN 3": (8, 192, 3, 192, {"padding": 1}),
    "Inception stem": (64, 3, 7, 64, {"stride": 2, "padding": 3}),
    "Inception 1×1": (28, 192, 1, 64, {}),
    "Inception 3×3": (28, 96, 3, 128, {"padding": 1}),
    "Inception 5×5": (28, 16, 5, 32, {"padding": 2}),
    "autoencoder 1": (28, 1, 5, 32, {}),
    "autoencoder 2": (24, 32, 5, 32, {}),
    "autoencoder 3": (20, 32, 4, 32, {"stride": 2}),
    "autoencoder 4": (9, 32, 3, 32, {"stride": 2}),
    "autoencoder 5": (4, 32, 4, 8, {}),
    "3×3, 32": (32, 32, 3, 32, {"padding": 1}),
    "3×3, 64": (32, 64, 3, 64, {"padding": 1}),
    "5×5, 32": (28, 32, 5, 32, {}),
    "5×5, 64": (28, 64, 5, 64, {"padding": 2}),
}

# Further sizes for the table of forms, between those of the published networks.
BETWEEN = {
    "1×1, 32, 28²": (28, 32, 1, 64, {}),
    "1×1, 64, 14²": (14, 64, 1, 128, {}),
    "1×1, 256, 14²": (14, 256, 1, 64, {}),
    "3×3, 16, 28²": (28, 16, 3, 32, {"padding": 1}),
    "3×3, 32, 28²": (28, 32, 3, 32, {"padding": 1}),
    "3×3, 64, 28²": (28, 64, 3, 64, {"padding": 1}),
    "3×3, 64, 14²": (14, 64, 3, 64, {"padding": 1}),
    "3×3, 128, 14²": (14, 128, 3, 128, {"padding": 1}),
    "3×3, stride 2, 32, 28²": (28, 32, 3, 64, {"stride": 2, "padding": 1}),
    "3×3, stride 2, 64, 14²": (14, 64, 3, 128, {"stride": 2, "padding": 1}),
}


def problem(name, batch):
    """The convolution and its arguments."""
    size, c, k, o, settings = (SHAPES | BETWEEN)[name]
    p = settings.get("padding", 0)
    settings = {**settings, "padding": ((p, p), (p, p))}
    x = jax.random.normal(jax.random.key(0), (batch, size, size, c))
    w = jax.random.normal(jax.random.key(1), (k, k, c // settings.get("groups", 1), o))
    return lambda x, w: ops.conv2d(x, w, **settings), (x, w)


def by_torch(name, x, w, dy):
    """The same step in PyTorch, as a function without arguments."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    to_torch = lambda a, *axes: torch.from_numpy(np.array(a.transpose(*axes), order="C"))
    x, w, dy = to_torch(x, 0, 3, 1, 2), to_torch(w, 3, 2, 0, 1), to_torch(dy, 0, 3, 1, 2)
    x.requires_grad_()
    w.requires_grad_()
    settings = SHAPES[name][4]

    def step():
        y = torch.nn.functional.conv2d(x, w, **settings)
        return y, torch.autograd.grad(y, (x, w), dy)

    return step


def measured(name, batch, seconds) -> dict:
    """The figures of one shape, as JSON."""
    f, args = problem(name, batch)
    sides = {"hand": Differentiated(f, args), "automatic": Differentiated(automatic(f), args)}
    dy = sides["hand"].cotangent()
    runs = {side: d.parts()[2] for side, d in sides.items()}
    for side, d in sides.items():
        step = jax.jit(d.step).lower(d.arrays, dy).compile(compiler_options=WITHOUT_YNNPACK)
        runs[f"{side}, no YNNPACK"] = lambda step=step, d=d: step(d.arrays, dy)
    try:
        runs["torch"] = by_torch(name, *args, dy[0])
    except ImportError:
        print("PyTorch is left out: pip install '.[peers]'")
    times = dict(zip(runs, rounds(*runs.values(), seconds=len(runs) * seconds), strict=True))
    to_hand = lambda side: Pairs(times["hand"], times[side]).to_json("hand", side)
    return {
        **{side: to_hand(side) for side in runs if side != "hand"},
        **{f"cost of {side}": d.cost().to_json() for side, d in sides.items()},
    }


OTHERS = ("automatic", "hand, no YNNPACK", "automatic, no YNNPACK", "torch")


def row(name, batch, entry) -> tuple[str, ...]:
    """A shape's line in the table."""
    ratios = [ratio_text(entry[side]["ratio"]) if side in entry else "–" for side in OTHERS]
    temporary = [bytes_text(entry[f"cost of {side}"]["temporary_bytes"]) for side in ("hand", "automatic")]
    return name, str(batch), *ratios, " / ".join(temporary)


def geometric_means(data) -> dict[str, float]:
    """Of all shapes, hand-written against each alternative."""
    mean = lambda values: float(np.exp(np.mean(np.log(list(values)))))
    temporary = lambda side: mean(max(d[f"cost of {side}"]["temporary_bytes"], 1000) for d in data.values())
    measured = [side for side in OTHERS if all(side in d for d in data.values())]
    means = {side: mean(d[side]["ratio"] for d in data.values()) for side in measured}
    return means | {"temporary memory": temporary("hand") / temporary("automatic")}


def main(full: bool = False, tune_forms: Annotated[bool, tyro.conf.arg(name="tune")] = False) -> None:
    """Measure every shape.

    Args:
        full: Also batches of 64, and longer runs.
        tune_forms: Instead, find the best forms for this version of JAX, and write them into the table of `jaxdl.ops`.
    """
    if tune_forms:
        tune(Program(f"{name}, batch {batch}", *problem(name, batch)) for batch in BATCHES for name in SHAPES | BETWEEN)
        tune(models(64), seconds=0.8)
        return
    rows, data = [], {}
    for batch in BATCHES if full else BATCHES[:1]:
        for name in SHAPES:
            entry = measured(name, batch, seconds=0.6 if full else 0.2)
            data[f"{name}, batch {batch}"] = entry
            rows.append(row(name, batch, entry))
            print(rows[-1], flush=True)
    means, where = geometric_means(data), machine()
    table = Table(
        f"conv2d, forward and both cotangents, {where['device']}, {where['cores']} cores, JAX {where['jax']}",
        ("shape", "batch", *(f"time, hand : {side}" for side in OTHERS), "temporary hand / auto"),
        rows,
        "Geometric means: " + ", ".join(f"hand : {what} {value:.2f}" for what, value in means.items())
        + " (memory below 1 kB counted as 1 kB).",
    )  # fmt: skip
    minor = "_".join(where["jax"].split(".")[:2])
    keep(f"convolution_jax_{minor}", {"shapes": data, "geometric_means": means}, table, plot(data))


def plot(data) -> bytes:
    """Both ratios of every shape."""
    at = np.arange(len(data))
    with figure(1, 1, width=7, height=1 + len(data) * 0.24) as (fig, axes):
        ratios = lambda side: [d[side]["ratio"] for d in data.values()]
        axes.plot(ratios("automatic"), at, "o", color=HAND["color"], label="hand : automatic")
        if all("torch" in d for d in data.values()):
            axes.plot(ratios("torch"), at, "s", color=AUTOMATIC["color"], label="hand : PyTorch")
        axes.axvline(1, color="#333333", linewidth=1)
        axes.set(xlabel="ratio of times", xscale="log", title="conv2d, forward and both cotangents")
        axes.set_yticks(at, list(data), fontsize=8)
        axes.set_xticks([1 / 8, 0.25, 0.5, 1, 2], ["⅛", "¼", "½", "1", "2"])
        axes.minorticks_off()
        axes.set_ylim(len(data) - 0.2, -0.8)
        axes.legend(loc="upper left")
        return png(fig)


if __name__ == "__main__":
    tyro.cli(main)
