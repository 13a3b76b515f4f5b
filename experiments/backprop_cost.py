"""What does back-propagation cost, in memory and in computation, as a network gets deeper?

    python -m experiments.backprop_cost [--quick]

Measures, by depth, the bytes kept from the forward to the backward pass, and the memory, FLOPs and time of the backward
pass relative to the forward pass: with hand-written rules, with the automatic derivative, and with hand-written rules
under `jax.checkpoint`, around each layer or around groups of √depth layers. The lectures say that all intermediate
results are kept, and that the backward pass computes twice as much as the forward pass. The passes are compiled
separately, and also together. The same for the lectures' models at sizes for digits: operations as counted by the
graph, time, and the bytes kept.
Prints the finding, and writes it with its figures to results/backprop_cost.json and pictures beside it.
"""

import math
import textwrap
from collections.abc import Callable

import jax
import numpy as np
import tyro

from experiments.plotting import DARK, MIDDLE
from experiments.results_folder import keep
from jaxdl import automatic, nn, ops, trace
from jaxdl.measure import Differentiated, pairs
from jaxdl.report import AUTOMATIC, FURTHER, HAND, figure, number_text, png

WIDTH = BATCH = 256
ACTIVATION_BYTES = 4 * WIDTH * BATCH
OTHER_ACTIVATIONS = {"tanh": nn.tanh, "gelu": nn.gelu}
LOOKS = {
    "hand": HAND | {"marker": "o"},
    "automatic": AUTOMATIC | {"marker": "s"},
    "each layer": FURTHER[0] | {"marker": "^"},
    "√depth groups": FURTHER[1] | {"marker": "D"},
}
LABELS = {
    "hand": "hand-written",
    "automatic": "automatic",
    "each layer": "checkpointed, each layer",
    "√depth groups": "checkpointed, √depth layers",
}
MODEL_BATCH, WORDS = 64, 50
# Model, and the shape of an image or the length of a text.
MODELS = {
    "linear classifier": (nn.linear_classifier(), (28, 28, 1)),
    "MLP 128–128": (nn.mlp(128, 128, 10), (28, 28, 1)),
    "MLP of 8 layers, tanh": (nn.mlp(*[256] * 7, 10, activation=nn.tanh), (28, 28, 1)),
    "LeNet-5": (nn.lenet5(), (28, 28, 1)),
    "network in network": (nn.nin_cifar10(), (8, 8, 3)),
    "inception block": (nn.serial(nn.inception(16, (8, 16), (4, 8), 8), nn.global_avg_pool), (28, 28, 16)),
    "fully convolutional": (nn.fully_convolutional(), (16, 16, 1)),
    "linear autoencoder": (nn.linear_autoencoder((28, 28, 1), 32), (28, 28, 1)),
    "dense autoencoder": (nn.dense_autoencoder((28, 28, 1), 32, (256, 128)), (28, 28, 1)),
    "convolutional autoencoder": (nn.conv_autoencoder(8), (28, 28, 1)),
    "vision transformer": (nn.vit(10, patch=4, width=64, depth=2, heads=4), (28, 28, 1)),
    "sentiment classifier": (nn.sentiment_classifier(WORDS), (24,)),
}
QUICK = ("MLP 128–128", "sentiment classifier")


def measure(quick: bool) -> dict:
    """Costs of each kind of derivative by depth; bytes kept by a layer, also with other activations; costs by model."""
    depths, seconds = ((2, 8), 0.1) if quick else ((2, 4, 8, 16, 32), 1.5)
    return {
        "relu": {depth: costs(depth, seconds) for depth in depths},
        "kept a layer": {
            name: {way: kept_by_a_layer(way, layer) for way in ("hand", "automatic")}
            for name, layer in {"relu": nn.relu, **OTHER_ACTIVATIONS}.items()
        },
        "models": {name: of_model(*MODELS[name], seconds) for name in (QUICK if quick else MODELS)},
    }


def of_model(model: nn.Layer, shape: tuple[int, ...], seconds: float) -> dict:
    """Operations and time of the backward pass relative to the forward pass, and the bytes kept in between."""
    is_text = len(shape) == 1
    types = jax.ShapeDtypeStruct(shape, np.int32) if is_text else shape
    weights, structure = jax.tree.flatten(model.init(jax.random.key(0), types))
    key, batch = jax.random.key(1), (MODEL_BATCH, *shape)
    x = jax.random.randint(key, batch, 1, WORDS) if is_text else jax.random.normal(key, batch)
    loss = lambda *weights: ops.mean(ops.square(model.apply(jax.tree.unflatten(structure, weights), x)))
    side = Differentiated(loss, weights)
    forward, (_, run_backward, _) = jax.jit(loss), side.parts()
    counted = trace(loss)(*weights).costs()
    return {
        "operations": counted.backward / counted.forward,
        "time": pairs(run_backward, lambda: forward(*weights), seconds=seconds).to_json("backward", "forward"),
        "kept_bytes": counted.kept_bytes,
    }


def costs(depth: int, seconds: float) -> dict:
    """For each kind of derivative: bytes kept, cost of the backward pass relative to the forward pass, both in one."""
    sides = {way: Differentiated(*problem(way, depth, nn.relu)) for way in LOOKS}
    plain = sides["hand"]
    forward = jax.jit(plain.f).lower(*plain.arrays).compile()
    run_forward = lambda: forward(*plain.arrays)
    found = {}
    for way, side in sides.items():
        in_one, (_, run_backward, _) = side.cost(), side.parts()
        backward = compiled_backward(side)
        found[way] = {
            "kept_bytes": in_one.residual_bytes,
            "temporary_bytes": backward.memory_analysis().temp_size_in_bytes,
            "flops_over_forward": backward.cost_analysis()["flops"] / forward.cost_analysis()["flops"],
            "time": pairs(run_backward, run_forward, seconds=seconds).to_json("backward", "forward"),
            "in_one": {"flops": in_one.flops, "temporary_bytes": in_one.temporary_bytes},
        }
    return found


def compiled_backward(side: Differentiated):
    """The backward pass alone, compiled as a function of the pullback and the cotangent."""
    _, pullback = jax.eval_shape(side.forward, *side.arrays)
    return jax.jit(lambda pullback, dy: pullback(dy)).lower(pullback, side.cotangent()).compile()


def problem(way: str, depth: int, activation: nn.Layer) -> tuple[Callable, list[jax.Array]]:
    """The squared error of a network of `depth` layers as a function of its weights, and the weights."""
    block = nn.serial(nn.dense(WIDTH), activation)
    size = {"each layer": 1, "√depth groups": round(math.sqrt(depth))}.get(way)
    network = nn.serial(*[block] * depth) if size is None else checkpointed(block, depth, size)
    network = nn.with_function(network, automatic) if way == "automatic" else network
    weights, structure = jax.tree.flatten(network.init(jax.random.key(0), (WIDTH,)))
    x, y = (jax.random.normal(jax.random.key(seed), (BATCH, WIDTH)) for seed in (1, 2))

    def loss(*weights):
        return ops.squared_error(network.apply(jax.tree.unflatten(structure, weights), x), y).mean()

    return loss, weights


def checkpointed(block: nn.Layer, depth: int, size: int) -> nn.Layer:
    """`depth` blocks in checkpointed groups of up to `size`: only the inputs of a group are kept."""
    groups = [min(size, depth - start) for start in range(0, depth, size)]
    return nn.serial(*[nn.with_function(nn.serial(*[block] * n), jax.checkpoint) for n in groups])


def kept_by_a_layer(way: str, activation: nn.Layer) -> float:
    """The bytes that one more layer keeps, in units of a layer's output."""
    kept = [Differentiated(*problem(way, depth, activation)).cost().residual_bytes for depth in (4, 5)]
    return (kept[1] - kept[0]) / ACTIVATION_BYTES


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    depth = max(data["relu"], key=int)
    deepest = data["relu"][depth]
    mb = {way: number_text(d["kept_bytes"] / 1e6) for way, d in deepest.items()}
    flops = {way: d["flops_over_forward"] for way, d in deepest.items()}
    time = {way: d["time"]["ratio"] for way, d in deepest.items()}
    held = {way: number_text((d["kept_bytes"] + d["temporary_bytes"]) / 1e6) for way, d in deepest.items()}
    a_layer = data["kept a layer"]["relu"]
    return (
        f"At depth {depth} the backward pass computes {flops['hand']:.2f} times the forward pass's FLOPs and takes "
        f"{time['hand']:.1f} times as long, automatic {time['automatic']:.1f} ({flops['each layer']:.2f} and "
        f"{time['each layer']:.1f} with checkpoints); "
        f"hand-written rules keep {a_layer['hand']:.2f} of a layer's two outputs (dense and ReLU), the automatic "
        f"derivative {a_layer['automatic']:.2f}: {mb['hand']} and {mb['automatic']} MB, and with checkpoints "
        f"{mb['each layer']} MB (each layer) or {mb['√depth groups']} MB (√depth layers); including the memory of the "
        f"backward pass itself, the latter is {held['√depth groups']} MB, without checkpoints {held['hand']} MB; "
        f"{in_one(deepest)}. {of_models(data['models'])}."
    )


def models_title(models) -> str:
    ratios = {name: d["time"]["ratio"] for name, d in models.items()}
    least, most = min(ratios, key=ratios.get), max(ratios, key=ratios.get)
    title = (
        f"The backward pass takes {ratios[least]:.1f} ({least}) to {ratios[most]:.1f} times ({most}) as long as the "
        f"forward pass, {math.exp(np.log(list(ratios.values())).mean()):.1f} times on average"
    )
    return textwrap.fill(title, 60)


def of_models(models) -> str:
    """Range and geometric mean over all models."""
    ratios = {"operations": [d["operations"] for d in models.values()],
              "time": [d["time"]["ratio"] for d in models.values()]}  # fmt: skip
    ranges = {
        k: f"{min(r):.2f} to {max(r):.2f} times (mean {math.exp(np.log(r).mean()):.2f})" for k, r in ratios.items()
    }
    return (
        f"Of {len(models)} models the backward pass computes {ranges['operations']} as much as the forward pass, and "
        f"takes {ranges['time']} as long"
    )


def in_one(ways) -> str:
    """The differences that remain if both passes are compiled together."""
    flops, temporary = ({d["in_one"][k] for d in ways.values()} for k in ("flops", "temporary_bytes"))
    low, high = (number_text(end(temporary) / 1e6) for end in (min, max))
    if len(flops) == 1 and low == high:
        return f"compiled together, the CPU compiler removes the checkpoints and makes all four equal, at {high} MB"
    return f"compiled together, the four take {low} to {high} MB"


def draw(data) -> dict[str, bytes]:
    """Bytes kept, memory, FLOPs and time of the backward pass, against depth."""
    depths = [int(depth) for depth in data["relu"]]
    by_way = lambda value: {way: np.array([value(d[way]) for d in data["relu"].values()]) for way in LOOKS}
    kept = by_way(lambda d: d["kept_bytes"] / 1e6)
    held = by_way(lambda d: (d["kept_bytes"] + d["temporary_bytes"]) / 1e6)
    one = np.max(list(by_way(lambda d: d["in_one"]["temporary_bytes"] / 1e6).values()), 0)
    flops = by_way(lambda d: d["flops_over_forward"])
    time = by_way(lambda d: d["time"]["ratio"])
    every = np.multiply(depths, 2 * ACTIVATION_BYTES / 1e6)
    share = {way: f"{values[-1] / every[-1]:.0%}" for way, values in kept.items()}
    last = lambda values, way: number_text(float(values[way][-1]))
    panels = (
        (kept, "kept from forward to backward (MB)",
         f"At depth {depths[-1]}, hand-written rules keep {share['hand']} of all intermediate\n"
         f"results, automatic {share['automatic']}, √depth checkpoints {share['√depth groups']}"),
        (held, "held in the backward pass (MB)",
         f"With its own memory the backward pass holds {last(held, 'hand')} MB,\n"
         f"automatic {last(held, 'automatic')}, √depth checkpoints {last(held, '√depth groups')}"),
        (flops, "FLOPs, backward : forward",
         f"The backward pass computes {last(flops, 'hand')} times the forward's\n"
         f"FLOPs, {last(flops, 'each layer')} times where it recomputes"),
        (time, "time, backward : forward",
         f"It takes {time['hand'][-1]:.1f} times as long as the forward pass,\n"
         f"automatic {time['automatic'][-1]:.1f}, recomputing {time['each layer'][-1]:.1f} (bars: quartiles)"),
    )  # fmt: skip
    with figure(2, 2, width=10, height=7.4) as (fig, axes):
        axes[0, 0].plot(depths, every, color="#bbbbbb", linewidth=5, label="all intermediates")
        axes[0, 1].plot(
            depths, one, color="black", linewidth=1, marker="x", label="both passes compiled together, all kinds"
        )
        for ax, (values, label, title) in zip(axes.flat, panels, strict=True):
            by_depth(ax, depths, values)
            ax.set(ylabel=label, title=title)
        for way, quartiles in by_way(lambda d: d["time"]["ratio_quartiles"]).items():
            axes[1, 1].vlines(depths, *quartiles.T, color=LOOKS[way]["color"], linewidth=1)
        for ax in axes[0]:
            ax.set_yscale("log")
        for ax in axes[1]:
            ax.axhline(2, color="black", linewidth=0.9, linestyle=":", label="the lectures' figure, 2")
            ax.set_ylim(0, None)
        handles = {line.get_label(): line for ax in axes.flat for line in ax.get_lines()}
        fig.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize=9)
        return {"backprop_cost": png(fig), "backprop_cost_models": draw_models(data["models"])}


def draw_models(models) -> bytes:
    """Both ratios for each model."""
    names, rows = list(models), np.arange(len(models))
    with figure(width=7.2, height=1.2 + 0.3 * len(models)) as (fig, ax):
        ax.axvline(2, color="black", linewidth=0.9, linestyle=":", label="the lectures' figure, 2")
        ax.plot([models[name]["operations"] for name in names], rows, "o", color=DARK, label="operations")
        ax.plot([models[name]["time"]["ratio"] for name in names], rows, "D", color=MIDDLE, label="time")
        quartiles = np.array([models[name]["time"]["ratio_quartiles"] for name in names])
        ax.hlines(rows, *quartiles.T, color=MIDDLE, linewidth=1)
        ax.set_yticks(rows, names)
        ax.invert_yaxis()
        ax.set_xlim(0, None)
        ax.set(xlabel="backward : forward", title=models_title(models))
        fig.legend(loc="outside lower center", ncols=3, fontsize=9)
        return png(fig)


def by_depth(ax, depths, values):
    for way, look in LOOKS.items():
        ax.plot(depths, values[way], label=LABELS[way], **look)
    ax.set_xscale("log", base=2)
    ax.set_xticks(depths, depths)
    ax.set_xlabel("depth (layers of 256)")


def main(quick: bool = False) -> None:
    """Measures, prints the finding, writes data and pictures.

    Args:
        quick: Measure two depths with few timings, which takes seconds.
    """
    keep("backprop_cost", measure(quick), finding, draw, quick=quick)


if __name__ == "__main__":
    tyro.cli(main)
