"""The error by width, of constructed ReLUs and of trained networks with one hidden layer and five activations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.plotting import LOOKS
from jaxdl import nn, ops, train
from jaxdl.report import figure, number_text, png

A, B = -2.0, 2.0
SIX = 6
FUNCTIONS = {"x³ + x² − x − 1": lambda x: x**3 + x**2 - x - 1, "sin 3x": lambda x: jnp.sin(3 * x)}
ACTIVATIONS = {"relu": nn.relu, "tanh": nn.tanh, "sigmoid": nn.sigmoid, "gelu": nn.gelu, "elu": nn.elu}
SHOWN = jnp.linspace(A, B, 101)[:, None]  # training inputs
CHECKED = jnp.linspace(A, B, 2001)[:, None]  # inputs for the errors


def measure(quick: bool) -> dict:
    """For each function the errors of constructed and trained networks by width, and curves of six ReLUs."""
    widths, seeds, steps = ((4, 16), 3, 1000) if quick else ((2, 4, 8, 16, 32, 64), 7, 8000)
    built = (4, 8, 16, 32) if quick else (2, 4, 8, 16, 32, 64, 128, 256)
    fits = {
        name: {width: fit(nn.mlp(width, 1, activation=activation), seeds, steps) for width in widths}
        for name, activation in ACTIVATIONS.items()
    }
    six = fit(nn.mlp(SIX, 1), seeds, steps)
    return {
        "lecture": {**errors(values(nn.six_relus()), values_of(0)), "curve": values(nn.six_relus())[::10]},
        "functions": {
            function: {
                "built": {width: errors(values(interpolation(i, width)), values_of(i)) for width in built},
                "fitted": {name: {w: errors(f[i], values_of(i)) for w, f in fit.items()} for name, fit in fits.items()},
                "curves": {
                    "built": values(interpolation(i, SIX))[::10],
                    "fitted": median_seed(six[i], values_of(i))[::10],
                    "exact": values_of(i)[::10],
                },
            }
            for i, function in enumerate(FUNCTIONS)
        },
    }


def fit(model: nn.Layer, seeds: int, steps: int) -> jax.Array:
    """The values of the model trained on each function from each seed, all at once: (functions, seeds, inputs)."""
    optimizer = optax.adam(optax.cosine_decay_schedule(0.02, steps))
    epoch = train.compiled_epoch(model, ops.squared_error, optimizer)
    full_batches = jnp.tile(jnp.arange(len(SHOWN))[None], (steps, 1))

    def one(y, key):
        params = model.init(key, (1,))
        params, _, _ = epoch(params, optimizer.init(params), SHOWN, y, full_batches, key)
        return model.apply(params, CHECKED)[:, 0]

    targets = jnp.stack([f(SHOWN) for f in FUNCTIONS.values()])
    keys = jax.random.split(jax.random.key(0), seeds)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes the types of its numbers
        return jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))(targets, keys)


def interpolation(i: int, width: int) -> nn.Layer:
    return nn.relu_interpolation(list(FUNCTIONS.values())[i], A, B, width)


def values(model: nn.Layer) -> jax.Array:
    return model.apply(model.init(jax.random.key(0), (1,)), CHECKED)[:, 0]


def values_of(i: int) -> jax.Array:
    return list(FUNCTIONS.values())[i](CHECKED)[:, 0]


def errors(got, exact) -> dict[str, float]:
    """The largest and the root-mean-square error; the median over seeds if there is a leading axis for them."""
    apart = jnp.atleast_2d(got) - exact[None]
    return {"max": float(jnp.median(jnp.abs(apart).max(1))), "rms": float(jnp.median(jnp.sqrt((apart**2).mean(1))))}


def median_seed(got, exact):
    """The values of the seed with the median largest error."""
    order = jnp.argsort(jnp.abs(got - exact[None]).max(1))
    return got[order[len(order) // 2]]


def slope(by_width: dict) -> float:
    """The exponent p of the largest error ~ widthᵖ, fitted from width 8 on."""
    widths = np.array([int(w) for w in by_width if int(w) >= 8])
    (power, _) = np.polyfit(np.log(widths), np.log([by_width[str(w)]["max"] for w in widths]), 1)
    return float(power)


def draw_errors(data) -> bytes:
    with figure(2, 2, width=9.6, height=7, sharex=True, sharey="col") as (fig, axes):
        for column, (name, function) in zip(axes.T, data["functions"].items(), strict=True):
            for ax, kind, label in zip(
                column, ("max", "rms"), ("largest error", "root-mean-square error"), strict=True
            ):
                error_lines(ax, function, kind)
                ax.set(yscale="log", ylabel=f"{label} on [−2, 2]")
            fall = f"constructed, the error falls as width$^{{{slope(function['built']):.2f}}}$"
            column[0].set_title(f"{name}: {fall};\n{best_trained(function)}")
            column[1].set_xlabel("width")
        fig.legend(
            *axes[0, 0].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=3,
            title="trained: median of seeds",
        )
        return png(fig)


def error_lines(ax, function, kind):
    built = {int(w): e[kind] for w, e in function["built"].items()}
    ax.plot(built.keys(), built.values(), "k-", linewidth=2.5, label="constructed (ReLUs)")
    for (activation, by_width), look in zip(function["fitted"].items(), LOOKS, strict=False):
        found = {int(w): e[kind] for w, e in by_width.items()}
        ax.plot(found.keys(), found.values(), label=f"trained, {activation}", **look)
    ax.set_xscale("log", base=2)
    ax.set_xticks(list(built), list(built))


def best_trained(function) -> str:
    found = {(a, w): e["max"] for a, by in function["fitted"].items() for w, e in by.items()}
    activation, width = min(found, key=found.get)
    return f"trained, {width} {activation} are best with {number_text(found[activation, width])}"
