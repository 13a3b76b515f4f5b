"""What are hand-written derivatives worth, over all models?

    python -m experiments.hand_vs_automatic [--quick]

Compares the training gradient by hand-written rules with the automatic one, for each model of the lectures at a size
for digits, with a batch of 64 and the same parameters: time (interleaved pairs), bytes kept from the forward to the
backward pass, temporary bytes, and error against a float64 run, beside the same model with stock functions (those of
jax.nn, jax.numpy and lax, or of Flax and optax); and for each rule, over all calls in the models, in how many it is
better.
Prints the finding, and writes it with its figures to results/hand_vs_automatic.json, with a picture and a page,
results/hand_vs_automatic.html, beside it.
"""

from collections import defaultdict

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from experiments.plotting import titled_png
from experiments.results_folder import FOLDER, keep
from jaxdl import contrast, data, nn, ops
from jaxdl.report import (
    AUTOMATIC,
    HAND,
    Page,
    Table,
    bytes_text,
    device_text,
    figure,
    number_text,
    ratio_text,
    write_whole,
)

BATCH = 64
CROSS_ENTROPY = ops.softmax_cross_entropy_with_integer_labels
TEXT, WORDS = 24, 50

reconstruct = lambda x, y: (x, x)
classify = lambda x, y: (x, y)


def _clip():
    image = nn.image_tower(32, patch=2, width=64, depth=2, heads=4)
    return nn.clip(image, nn.text_tower(32, vocabulary=WORDS, width=64, depth=2, heads=4))


# Model, side of its images (None: tokens; 0: images of 8 × 8 and tokens), loss of (output, target), inputs and targets.
MODELS = {
    "linear classifier": (nn.linear_classifier(), 8, CROSS_ENTROPY, classify),
    "MLP 128–128": (nn.mlp(128, 128, 10), 8, CROSS_ENTROPY, classify),
    "MLP of 8 layers, tanh": (nn.mlp(*[256] * 7, 10, activation=nn.tanh), 8, CROSS_ENTROPY, classify),
    "LeNet-5": (nn.lenet5(), 28, CROSS_ENTROPY, classify),
    "network in network": (nn.nin_cifar10(), 8, CROSS_ENTROPY, classify),
    "inception block": (
        nn.serial(nn.inception(16, (8, 16), (4, 8), 8), nn.max_pool(2), nn.flatten, nn.dense(10)),
        28, CROSS_ENTROPY, classify,
    ),
    "fully convolutional": (
        nn.then(nn.fully_convolutional(), ops.global_avg_pool), 16, CROSS_ENTROPY, classify,
    ),
    "linear autoencoder": (nn.linear_autoencoder((8, 8, 1), 8), 8, ops.squared_error, reconstruct),
    "dense autoencoder": (nn.dense_autoencoder((28, 28, 1), 32, (256, 128)), 28, ops.squared_error, reconstruct),
    "convolutional autoencoder": (nn.conv_autoencoder(8), 28, ops.squared_error, reconstruct),
    "sentiment classifier": (nn.sentiment_classifier(WORDS), None, CROSS_ENTROPY, classify),
    "vision transformer": (nn.vit(10, patch=2, width=64, depth=2, heads=4), 8, CROSS_ENTROPY, classify),
    "CLIP": (_clip(), 0, lambda output, y: ops.contrastive_loss(*output), classify),
}  # fmt: skip
TICKS = (0.2, 0.5, 1, 2, 5)
QUICK = ("MLP 128–128", "sentiment classifier")


def measure(quick: bool) -> dict:
    """For each model, and for each rule in it: cost and error by hand and automatic, and the ratio of times."""
    return {name: _of_model(*MODELS[name]) for name in (QUICK if quick else MODELS)}


def _of_model(model, side, loss, given):
    x, y = given(*_batch(side))
    shapes = jax.tree.map(_shape, x)
    params = model.init(jax.random.key(0), shapes)
    noise = iter(jax.random.split(jax.random.key(1), 1000))
    params = jax.tree.map(lambda p: p + 0.02 * jax.random.normal(next(noise), p.shape), params)  # none is zero
    report = contrast(lambda p: loss(model.apply(p, _as_precise(x, p)), _as_precise(y, p)).mean(), params)
    sites = [{"rule": site.name, "count": site.count, **_figures(site)} for site in report.sites]
    return {"parameters": nn.parameter_count(params), **_figures(report.whole), "sites": sites}


def _batch(side):
    digits = data.load("digits", size=side or 8)
    x, y = jnp.asarray(digits.train_x[:BATCH]), jnp.asarray(digits.train_y[:BATCH])
    tokens = jnp.asarray(np.random.default_rng(0).integers(1, WORDS, (BATCH, TEXT)), jnp.int32)
    return {None: (tokens, y % 2), 0: ((x, tokens), y)}.get(side, (x, y))


def _shape(x):
    is_float = jnp.issubdtype(x.dtype, jnp.floating)
    return x.shape[1:] if is_float else jax.ShapeDtypeStruct(x.shape[1:], x.dtype)


def _as_precise(x, params):
    """Floating-point arrays in the dtype of the parameters, which is float64 in the run compared with."""
    dtype = jax.tree.leaves(params)[0].dtype
    return jax.tree.map(lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.floating) else a, x)


def _figures(c):
    worst = lambda side: max((v for d in c.telling if (v := getattr(d, side)) is not None), default=None)
    return {
        "time": c.step.ratio,
        "quartiles": c.step.spread,
        "seconds": c.step.medians,
        "residuals": [c.hand.residual_bytes, c.automatic.residual_bytes],
        "temporary": [c.hand.temporary_bytes, c.automatic.temporary_bytes],
        "ulp": [worst("hand_ulp"), worst("automatic_ulp")],
        "difference": c.largest.relative,
        "stock": _stock(c.beside.get("stock")),
    }


def _stock(side):
    """The figures of the function with stock functions; None where its ops have none."""
    return side and {
        "time": side.step.ratio,
        "residuals": side.cost.residual_bytes,
        "temporary": side.cost.temporary_bytes,
        "ulp": side.ulp,
    }


def geometric_mean(values) -> float:
    return float(np.exp(np.mean(np.log(list(values)))))


def memory_ratio(pair, floor=4096) -> float:
    """hand : automatic, where less than a page of memory counts as a page."""
    return max(pair[0], floor) / max(pair[1], floor)


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    times = {name: m["time"] for name, m in data.items()}
    slowest = max(times, key=times.get)
    residuals = geometric_mean(memory_ratio(m["residuals"]) for m in data.values())
    temporary = geometric_mean(memory_ratio(m["temporary"]) for m in data.values())
    stock = geometric_mean(m["stock"]["time"] if m["stock"] else 1 for m in data.values())
    known = [m["ulp"] for m in data.values() if None not in m["ulp"]]
    closer = sum(hand <= automatic for hand, automatic in known)
    return (
        f"Over {len(data)} models a gradient by hand takes {geometric_mean(times.values()):.2f} of the automatic one's "
        f"time (least {min(times.values()):.2f}, most {times[slowest]:.2f}, {slowest}), keeps {residuals:.2f} of its "
        f"residuals and takes {temporary:.2f} of its temporary memory (geometric means); it is at least as close to "
        f"float64 in {closer} of {len(known)}, and the two differ by at most "
        f"{number_text(max(m['difference'] for m in data.values()))} of the largest entry. The models with stock "
        f"functions take {stock:.2f} of the automatic one's time."
    )


def draw(data) -> dict[str, bytes]:
    """Time, residuals and temporary memory of each model, hand : automatic."""
    names = list(data)
    panels = (
        ("time", [m["time"] for m in data.values()]),
        ("residuals", [memory_ratio(m["residuals"]) for m in data.values()]),
        ("temporary memory", [memory_ratio(m["temporary"]) for m in data.values()]),
    )
    with figure(1, 3, width=9.6, height=1.6 + 0.33 * len(names), sharey=True) as (fig, axes):
        for ax, (label, ratios) in zip(axes, panels, strict=True):
            better = np.array(ratios) <= 1
            ax.hlines(range(len(names)), 1, ratios, color="#999999", linewidth=1.2)
            for mask, style, marker, side in ((better, HAND, "o", "hand"), (~better, AUTOMATIC, "X", "automatic")):
                where = np.flatnonzero(mask)
                ax.plot(np.array(ratios)[where], where, marker, color=style["color"], label=f"{side} needs less")
            ax.axvline(1, color="#333333", linewidth=0.9)
            ax.set(xscale="log", xlabel="hand : automatic", title=f"{label}: {geometric_mean(ratios):.2f}")
            ax.set_xticks(TICKS, map(str, TICKS))
            ax.set_xticks([], minor=True)
            ax.set_xlim(min(0.4, *ratios) / 1.2, max(2.5, *ratios) * 1.2)
            ax.grid(axis="y", visible=False)
        axes[0].set(yticks=range(len(names)), yticklabels=names)
        axes[0].invert_yaxis()
        handles = {label: line for ax in axes for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
        fig.legend(handles.values(), handles, loc="outside lower center", ncols=2)
        time, residuals, temporary = (geometric_mean(ratios) for _, ratios in panels)
        title = (
            f"A training gradient by hand takes {time:.2f} of the automatic one's time,\n"
            f"{residuals:.2f} of its residuals, {temporary:.2f} of its temporary memory (geometric means)"
        )
        return {"hand_vs_automatic": titled_png(fig, title)}


def models_table(data) -> Table:
    both = lambda pair, text: " / ".join(map(text, pair))
    stock = lambda m, what: m["stock"] and m["stock"][what]
    rows = [
        (
            name, f"{m['parameters']:,}", f"{ratio_text(m['time'])} ({m['quartiles'][0]:.2f}–{m['quartiles'][1]:.2f})",
            ratio_text(stock(m, "time")), both([*m["residuals"], stock(m, "residuals")], bytes_text),
            both([*m["temporary"], stock(m, "temporary")], bytes_text), both([*m["ulp"], stock(m, "ulp")], number_text),
            number_text(m["difference"]),
        )
        for name, m in data.items()
    ]  # fmt: skip
    columns = (
        "model", "parameters", "time (quartiles)", "time stock", "residuals", "temporary memory", "error, ULP",
        "difference",
    )  # fmt: skip
    note = (
        "Times are ratios hand : automatic of a gradient of the loss on 64 examples, below 1 where the hand-written "
        "rules are faster; of stock functions stock : automatic. Elsewhere hand / automatic / stock. Errors are the "
        "largest distance from a float64 run, in units of the largest entry's last place; the difference is between "
        "hand and automatic, over the largest entry."
    )
    return Table("Every model, by hand / automatic / stock", columns, rows, note)


def rules_table(data) -> Table:
    """One row for each rule: in how many of its calls it is faster and more accurate, and mean ratios."""
    sites = defaultdict(list)
    for model in data.values():
        for site in model["sites"]:
            sites[site["rule"]].append(site)
    share = lambda wins: f"{sum(wins)} of {len(wins)}"
    rows = []
    for rule, places in sorted(sites.items()):
        known = [s for s in places if s["ulp"][1] is not None]
        rows.append(
            (
                rule.replace("_", " "),
                ratio_text(geometric_mean(s["time"] for s in places)),
                share([s["quartiles"][1] < 1 for s in places]),
                share([s["quartiles"][0] > 1 for s in places]),
                ratio_text(geometric_mean(memory_ratio(s["residuals"]) for s in places)),
                ratio_text(geometric_mean(memory_ratio(s["temporary"]) for s in places)),
                share([s["ulp"][0] <= s["ulp"][1] for s in known]),
            )
        )
    columns = ("rule", "time", "faster", "slower", "residuals", "temporary memory", "as close or closer")
    note = (
        "Over the places where the models call the rule, each shape once: ratios are geometric means, hand : "
        "automatic, less than 4 kB of memory counted as 4 kB; faster and slower where both quartiles of the time's "
        "ratio are on that side of 1; closer to a float64 run."
    )
    return Table("Every rule, over all models", columns, rows, note)


def page(data) -> Page:
    """The finding, the picture and both tables."""
    result = Page("Hand-written against automatic derivatives: all models")
    result.text(finding(data))
    device = jax.devices()[0]
    result.text(f"Measured on {device_text(device)} with JAX {jax.__version__}.")
    caption = "Each model's gradient: left of the line the hand-written rules need less."
    result.picture(draw(data)["hand_vs_automatic"], caption)
    result.table(models_table(data))
    result.table(rules_table(data))
    return result


def main(quick: bool = False) -> None:
    """Measures, prints the finding, writes data, picture and page.

    Args:
        quick: Measure two small models, which takes seconds.
    """
    found = measure(quick)
    keep("hand_vs_automatic", found, finding, draw, quick=quick)
    if not quick:
        write_whole(FOLDER / "hand_vs_automatic.html", page(found).html().encode())


if __name__ == "__main__":
    tyro.cli(main)
