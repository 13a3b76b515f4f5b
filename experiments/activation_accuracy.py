"""How accurate are the derivatives of activation functions, over the whole range of float32?

    python -m experiments.activation_accuracy [--quick] [--points N]

Measures the error of each derivative in units in the last place, against 60 digits by mpmath, for jaxdl's rules and for
the derivatives that JAX derives from `jax.nn`.
Prints the finding, and writes it with its figures to results/activation_accuracy.json and a picture beside it.
"""

import functools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import tyro

from experiments.plotting import titled_png
from experiments.results_folder import keep
from jaxdl import ops
from jaxdl.report import AUTOMATIC, HAND, figure, number_text

SMALLEST = float(jnp.finfo(jnp.float32).tiny)

logistic = lambda x: 1 / (1 + mp.exp(-x))
density = lambda x: mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)

# Name in jaxdl.ops: the function in jax.nn, the true derivative, and a zero of the derivative.
FUNCTIONS = {
    "sigmoid": (jax.nn.sigmoid, lambda x: logistic(x) * logistic(-x), None),
    "tanh": (jnp.tanh, lambda x: 1 / mp.cosh(x) ** 2, None),
    "softplus": (jax.nn.softplus, logistic, None),
    "silu": (jax.nn.silu, lambda x: logistic(x) * (1 + x * logistic(-x)), -1.278),
    "gelu": (
        lambda x: jax.nn.gelu(x, approximate=False),
        lambda x: mp.erfc(-x / mp.sqrt(2)) / 2 + x * density(x),
        -0.752,
    ),
    "elu": (jax.nn.elu, lambda x: mp.mpf(1) if x > 0 else mp.exp(x), None),
}

ACCURATE = {"tanh": functools.partial(ops.tanh, accurate_tails=True)}  # by default it is as JAX's, and as fast


def measure(points: int) -> dict:
    """For each function: x, and the error in ULP of jaxdl's and of JAX's derivative.

    Points where the true derivative is subnormal, or within 0.1 of one of its zeros, are left out.
    """
    mp.mp.dps = 60
    x = np.linspace(-90, 90, points, dtype=np.float32)
    data = {}
    for name, (theirs, truth, zero) in FUNCTIONS.items():
        exact = [truth(mp.mpf(float(v))) for v in x]
        near_zero = lambda v, zero=zero: zero is not None and abs(v - zero) < 0.1
        kept = [i for i, t in enumerate(exact) if abs(t) >= SMALLEST and not near_zero(x[i])]
        slopes = {
            side: np.asarray(jax.jit(jax.vmap(jax.grad(f)))(x))
            for side, f in (("jaxdl", ACCURATE.get(name, getattr(ops, name))), ("jax.nn", theirs))
        }
        data[name] = {"x": x[kept].tolist()} | {
            side: [ulp(slope[i], exact[i]) for i in kept] for side, slope in slopes.items()
        }
    return data


def ulp(got, truth) -> float:
    """The error in units in the last place of the true value."""
    place = mp.mpf(2) ** (mp.floor(mp.log(abs(truth), 2)) - 23)
    return float(abs(mp.mpf(float(got)) - truth) / place)


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    worst = {side: {name: max(d[side]) for name, d in data.items()} for side in ("jaxdl", "jax.nn")}
    name = max(worst["jax.nn"], key=worst["jax.nn"].get)
    return (
        f"Over [-90, 90] jaxdl's derivatives are within {max(worst['jaxdl'].values()):.1f} ULP of the truth "
        f"(tanh with accurate_tails); "
        f"those that JAX derives from jax.nn are up to {number_text(worst['jax.nn'][name])} ULP off ({name})."
    )


def draw(data) -> dict[str, bytes]:
    """Error against x, one panel for each function."""
    with figure(2, 3, width=9, height=4.8, sharex=True, sharey=True) as (fig, axes):
        for ax, (name, d) in zip(axes.flat, data.items(), strict=True):
            for side, style in (("jax.nn", AUTOMATIC), ("jaxdl", HAND)):
                ax.plot(d["x"], np.maximum(d[side], 0.05), label=side, **style)
            ax.axhline(4, color="#333333", linewidth=0.8)
            ax.set(title=f"{name}, accurate_tails" if name in ACCURATE else name, yscale="log")
        axes[0][0].legend()
        for ax in axes[1]:
            ax.set_xlabel("x")
        for ax in axes[:, 0]:
            ax.set_ylabel("error (ULP)")
        title = "Hand-written derivatives stay within a few ULP, in the tails too (line: 4 ULP)"
        return {"activation_accuracy": titled_png(fig, title)}


def main(points: int = 721, quick: bool = False) -> None:
    """Measures, prints the finding, writes data and picture.

    Args:
        points: The number of x between −90 and 90.
        quick: Use few points, which takes seconds.
    """
    keep("activation_accuracy", measure(91 if quick else points), finding, draw, quick=quick)


if __name__ == "__main__":
    tyro.cli(main)
