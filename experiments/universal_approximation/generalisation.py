"""Does a wider network generalise, and how wide must it be in more dimensions?

The error on held-out points by width, of networks trained on few noisy examples of sin 3x; and the error by width in
one to four dimensions, with new examples in every step, so that only the width limits it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.plotting import GREY, LOOKS, titled_png
from experiments.universal_approximation.approximation import A, B
from jaxdl import nn, ops, train
from jaxdl.report import figure

EXAMPLES, NOISE = 20, 0.3
WIDTHS = (2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
DIMENSIONS = (1, 2, 3, 4)
WIDTHS_BY_DIMENSION = (4, 16, 64, 256, 1024)
BATCH = 512
GOOD = 0.25  # of the function's standard deviation


def measure(quick: bool) -> dict:
    """By width, the errors for every seed; by dimension and width, the error."""
    seeds, steps = (5, 1000) if quick else (25, 8000)
    widths = (2, 64) if quick else WIDTHS
    dimensions, across = ((1, 2), (64,)) if quick else (DIMENSIONS, WIDTHS_BY_DIMENSION)
    return {
        "widths": {width: from_few_examples(width, seeds, steps) for width in widths},
        "dimensions": {d: {width: from_new_examples(width, d, steps // 2) for width in across} for d in dimensions},
    }


def from_few_examples(width: int, seeds: int, steps: int) -> dict:
    """Root-mean-square errors on the noisy examples, and on held-out points against the function, for every seed."""
    model = nn.mlp(width, 1)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.01, steps))
    epoch = train.compiled_epoch(model, ops.squared_error, optimizer)
    rows = jnp.tile(jnp.arange(EXAMPLES)[None], (steps, 1))
    held_out = jnp.linspace(A, B, 1001)[:, None]
    f = lambda x: jnp.sin(3 * x)

    def one(key):
        of_x, of_noise, of_params = jax.random.split(key, 3)
        x = jax.random.uniform(of_x, (EXAMPLES, 1), minval=A, maxval=B)
        y = f(x) + NOISE * jax.random.normal(of_noise, (EXAMPLES, 1))
        params = spread(model, of_params, 1)
        params, _, _ = epoch(params, optimizer.init(params), x, y, rows, key)
        error = lambda x, y: jnp.sqrt(((model.apply(params, x) - y) ** 2).mean())
        return {"training": error(x, y), "held-out": error(held_out, f(held_out))}

    with jax.numpy_dtype_promotion("standard"):  # optax mixes the types of its numbers
        return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), seeds))


def spread(model: nn.Layer, key: jax.Array, dimension: int):
    """Initial parameters with which each ReLU bends at a random point: with biases of 0 all would bend at 0."""
    flat, hidden, *rest = model.init(key, (dimension,))
    points = jax.random.uniform(key, hidden["w"].shape, minval=A, maxval=B)
    return flat, {**hidden, "b": -(points * hidden["w"]).sum(0)}, *rest


def from_new_examples(width: int, dimension: int, steps: int) -> float:
    """The root-mean-square error for ∏ √2 sin 3xᵢ, whose variance is about 1, over the last tenth of the steps."""
    model = nn.mlp(width, 1)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.005, steps))
    f = lambda x: jnp.prod(2**0.5 * jnp.sin(3 * x), 1)

    def step(carry, key):
        params, state = carry
        x = jax.random.uniform(key, (BATCH, dimension), minval=A, maxval=B)
        loss = lambda params: ops.squared_error(model.apply(params, x)[:, 0], f(x)).mean()
        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state, params)
        return (optax.apply_updates(params, updates), state), value

    @jax.jit
    def run(key):
        params = spread(model, key, dimension)
        _, losses = jax.lax.scan(step, (params, optimizer.init(params)), jax.random.split(key, steps))
        return jnp.sqrt(losses[-(steps // 10) :].mean())

    with jax.numpy_dtype_promotion("standard"):
        return float(run(jax.random.key(0)))


def medians(data, kind: str) -> dict[int, float]:
    """The median error over the seeds by width, on training or held-out points."""
    return {int(width): float(np.median(errors[kind])) for width, errors in data["widths"].items()}


def needed(data) -> dict[int, int | None]:
    """By dimension, the smallest of the widths with a good error; None if there is none."""
    good = lambda by_width: min((int(w) for w, error in by_width.items() if error <= GOOD), default=None)
    return {int(d): good(by_width) for d, by_width in data["dimensions"].items()}


def widths_text(data) -> str:
    """How wide a network must be, by dimension."""
    widest = max(int(w) for w in next(iter(data["dimensions"].values())))
    text = lambda width: f"more than {widest:,}" if width is None else f"{width:,}"
    return ", ".join(f"{text(width)} in {d}" for d, width in needed(data).items())


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    training, held_out = medians(data, "training"), medians(data, "held-out")
    best, widest = min(held_out, key=held_out.get), max(held_out)
    return (
        f"Trained on {EXAMPLES} noisy examples of sin 3x, the error on them falls from {training[best]:.2f} with "
        f"{best} ReLUs to {training[widest]:.2f} with {widest}, while that on held-out points rises from "
        f"{held_out[best]:.2f} to {held_out[widest]:.2f} (RMS, median of seeds); for an RMS error of {GOOD:g} of a "
        f"product of sines the width must be {widths_text(data)} dimensions."
    )


def draw(data) -> bytes:
    """Training and held-out error by width; error by width and dimension."""
    held_out = medians(data, "held-out")
    best, widest = min(held_out, key=held_out.get), max(held_out)
    with figure(1, 2, width=10, height=4.1) as (fig, (few, new)):
        names = {"held-out": "on held-out points", "training": f"on the {EXAMPLES} noisy examples"}
        for (kind, label), look in zip(names.items(), LOOKS, strict=False):
            values = np.array([errors[kind] for errors in data["widths"].values()])
            low, median, high = np.quantile(values, (0.25, 0.5, 0.75), axis=1)
            few.errorbar(list(held_out), median, [median - low, high - median], capsize=2, markersize=4,
                         label=label, **look)  # fmt: skip
        few.axhline(NOISE, color=GREY, linewidth=0.8, linestyle=":")
        few.text(widest, NOISE, "noise ", ha="right", va="bottom", fontsize=8.5)
        few.set_title("It may not generalise: sin 3x from few examples")
        for (d, by_width), shade, marker in zip(data["dimensions"].items(), (0, 0.3, 0.5, 0.7), "osD^", strict=False):
            label = f"{d} dimension" + ("s" if int(d) > 1 else "")
            new.plot([int(w) for w in by_width], by_width.values(), marker=marker, color=str(shade), label=label)
        new.axhline(GOOD, color=GREY, linewidth=0.8, linestyle=":")
        new.set_title("It may need an infeasible size: ∏ √2 sin 3xᵢ")
        for ax in (few, new):
            ax.set(xlabel="width (ReLUs)", ylabel="root-mean-square error", ylim=(0, None))
            ax.set_xscale("log", base=2)
            ax.legend(fontsize=8.5, ncols=2)
        new.set_ylim(0, 1.45)
        few.set_xticks(list(held_out), map(str, held_out), fontsize=8.5)
        widths = [int(w) for w in next(iter(data["dimensions"].values()))]
        new.set_xticks(widths, map(str, widths))
        return titled_png(
            fig,
            f"Wider is not better on held-out points: {held_out[best]:.2f} with {best} ReLUs, {held_out[widest]:.2f} "
            f"with {widest};\nfor an error of {GOOD:g} the width must be {widths_text(data)} dimensions",
        )
