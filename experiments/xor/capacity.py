"""Examples and parameters that XOR of noisy points needs: with the features φ, and with ReLU networks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.stats import norm

from experiments.plotting import GREY, LOOKS, titled_png
from experiments.xor.training import logistic
from jaxdl import data, nn, train
from jaxdl.report import figure

X, Y = map(jnp.asarray, data.xor())
NOISE = 0.25  # standard deviation of the points around the four corners
GOOD = 0.94  # of the held-out points classified correctly; the best possible is 95.5%
EXAMPLES = (4, 8, 16, 32, 64, 128, 256, 512)
HELD_OUT = 2000
SEEDS, STEPS = 25, 1000
FEATURES, LINEAR = "features φ", "linear in x"
MODELS = {
    LINEAR: nn.linear_network(1),
    FEATURES: nn.serial(nn.function(nn.xor_features), nn.dense(1)),
    "2 ReLUs": nn.mlp(2, 1),
    "8 ReLUs": nn.mlp(8, 1),
    "64 ReLUs": nn.mlp(64, 1),
    "512 ReLUs": nn.mlp(512, 1),
}
QUICK = (LINEAR, FEATURES, "64 ReLUs")


def measure(quick: bool) -> dict:
    """By model, the number of parameters, and by number of examples the accuracy on held-out points for every seed."""
    keys = jax.random.split(jax.random.key(0), SEEDS)
    return {
        "best": best_accuracy(),
        "models": {
            name: {
                "parameters": nn.parameter_count(MODELS[name].init(keys[0], (2,))),
                "accuracy": {n: accuracy(MODELS[name], n)(keys) for n in ((8, 64) if quick else EXAMPLES)},
            }
            for name in (QUICK if quick else MODELS)
        },
    }


def best_accuracy() -> float:
    """Of the nearest corner: both bits are right, or both are wrong."""
    wrong = norm.cdf(-0.5 / NOISE)
    return float((1 - wrong) ** 2 + wrong**2)


def accuracy(model: nn.Layer, examples: int):
    """A function of keys: for each, trains on points drawn for it, and classifies held-out ones."""
    optimizer = optax.adam(optax.cosine_decay_schedule(0.03, STEPS))
    epoch = train.compiled_epoch(model, logistic, optimizer)
    rows = jnp.tile(jnp.arange(examples)[None], (STEPS, 1))

    def one(key):
        train_key, test_key, init_key = jax.random.split(key, 3)
        params = model.init(init_key, (2,))
        params, _, _ = epoch(params, optimizer.init(params), *points(train_key, examples), rows, key)
        x, y = points(test_key, HELD_OUT)
        return ((model.apply(params, x)[:, 0] > 0) == y).mean()

    def all_keys(keys):
        with jax.numpy_dtype_promotion("standard"):  # optax mixes the types of its numbers
            return jax.jit(jax.vmap(one))(keys)

    return all_keys


@functools.partial(jax.jit, static_argnums=1)
def points(key, n: int):
    """n noisy points, as many around each corner, and their labels."""
    corners = jnp.arange(n) % 4
    return X[corners] + NOISE * jax.random.normal(key, (n, 2)), Y[corners]


def medians(model: dict) -> dict[int, float]:
    return {int(n): float(np.median(seeds)) for n, seeds in model["accuracy"].items()}


def needed(model: dict) -> int | None:
    """The smallest number of examples from which on the median accuracy is good; None if it never is."""
    good = {n: median >= GOOD for n, median in medians(model).items()}
    return next((n for n in good if all(good[m] for m in good if m >= n)), None)


def needs(models: dict) -> dict[str, int]:
    """The number of examples by model, of those models that need not more than there are."""
    return {name: n for name, model in models.items() if (n := needed(model))}


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    models, examples = data["models"], needs(data["models"])
    each = ", ".join(
        f"{name}, {models[name]['parameters']:,} parameters, "
        + (f"{examples[name]} examples" if name in examples else "more examples than there are")
        for name in models
        if name not in (FEATURES, LINEAR)
    )
    linear = max(medians(models[LINEAR]).values())
    return (
        f"Of noisy points around the corners, logistic regression on the features φ, {models[FEATURES]['parameters']} "
        f"parameters, needs {examples.get(FEATURES)} examples to classify {GOOD:.0%} of held-out points correctly (the "
        f"best possible is {data['best']:.1%}); {each}; without features it never classifies more than {linear:.0%}."
    )


def draw(data) -> bytes:
    """Accuracy on held-out points by number of examples; parameters and examples that are needed."""
    models, examples = data["models"], needs(data["models"])
    looks = dict(zip([FEATURES, *(m for m in models if m not in (FEATURES, LINEAR)), LINEAR], LOOKS, strict=False))
    with figure(1, 2, width=10.4, height=4.1, width_ratios=(1.25, 1)) as (fig, (curves, both)):
        for name, look in looks.items():
            low, median, high = np.quantile(list(models[name]["accuracy"].values()), (0.25, 0.5, 0.75), axis=1) * 100
            n = list(medians(models[name]))
            curves.fill_between(n, low, high, color=look["color"], alpha=0.15, linewidth=0)
            curves.plot(n, median, markersize=5, label=f"{name} ({models[name]['parameters']:,})", **look)
        curves.axhline(100 * data["best"], color="black", linewidth=0.8)
        curves.text(n[0], 100 * data["best"] + 0.5, "best possible", fontsize=8.5)
        curves.axhline(100 * GOOD, color=GREY, linewidth=0.8, linestyle=":")
        curves.set_xscale("log", base=2)
        curves.set_xticks(n, map(str, n))
        curves.set(xlabel="examples", ylabel="accuracy on held-out points (%)", ylim=(15, 100))
        curves.set_title("Median and quartiles of the seeds (parameters in brackets)")
        curves.legend(fontsize=8.5, loc="lower right", ncols=2)
        for name, needed_ in examples.items():
            both.plot(models[name]["parameters"], needed_, markersize=8, **looks[name] | {"linestyle": ""})
            both.annotate(name, (models[name]["parameters"], needed_), (0, 9), textcoords="offset points",
                          ha="center", fontsize=9)  # fmt: skip
        both.set(xscale="log", yscale="log", xlabel="parameters", ylabel=f"examples for an accuracy of {GOOD:.0%}")
        both.set_yticks(n[1:], map(str, n[1:]))
        both.minorticks_off()
        both.set(xlim=(2, 5000), ylim=(n[0], n[-1] * 1.5))
        both.set_title("Fewer parameters, fewer examples")
        return titled_png(fig, title(data))


def title(data) -> str:
    models, examples = data["models"], needs(data["models"])
    wide = [name for name in examples if name != FEATURES]
    others = f", ReLU networks {min(examples[n] for n in wide)} to {max(examples[n] for n in wide)}" if wide else ""
    return (
        f"With the features φ(x) = $(x_u, x_v, x_u x_v)$, {models[FEATURES]['parameters']} parameters learn XOR from "
        f"{examples.get(FEATURES)} noisy examples{others}"
    )
