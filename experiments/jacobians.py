"""What does a whole Jacobian cost, and how many directions does a code use?

    python -m experiments.jacobians [--quick]

Trains autoencoders of the digits with codes of 2 to 64 numbers. Measures the time of their Jacobian by rows, by columns
and cut at the code, the method that `jacobian.plan` chooses, the number of sweeps by size of the code, and the singular
values of the Jacobian for one digit of each class.
Prints the finding, and writes it with its figures to results/jacobians.json and pictures beside it.
"""

from functools import partial

import jax
import numpy as np
import optax
import tyro

from experiments.plotting import LOOKS, titled_png
from experiments.results_folder import keep
from jaxdl import jacobian, nn, ops
from jaxdl.data import load
from jaxdl.measure import pairs
from jaxdl.report import figure
from jaxdl.train import fit

CODES, QUICK_CODES = (2, 4, 8, 16, 32, 64), (2, 8)
METHODS = {"rows": jax.jacrev, "columns": jax.jacfwd, "cut at the code": jacobian.cut}


def measure(quick: bool) -> dict:
    """For each code: the planned method, times in ms, sweeps, and singular values (one digit of each class, 784)."""
    digits = load("digits", size=8 if quick else 28)
    images = np.stack([digits.test_x[np.argmax(digits.test_y == c)] for c in range(digits.classes)])
    found = {}
    for code in QUICK_CODES if quick else CODES:
        model = nn.dense_autoencoder(digits.shape, code, (32, 16) if quick else (512, 256))
        x = digits.train_x
        params = fit(
            model, ops.squared_error, (x, x), optax.adam(1e-3), 3 if quick else 40, jax.random.key(0), quiet=True
        ).params
        found[code] = measure_one(partial(model.apply, params), images, quick)
    return {"inputs": int(np.prod(digits.shape)), "codes": found}


def measure_one(f, images, quick) -> dict:
    x = images[0]
    plan = jacobian.plan(f, x)
    compiled = {name: jax.jit(method(f)) for name, method in METHODS.items()}
    seconds = 0.05 if quick else 0.5
    in_a_loop = {name: pairs(lambda g=g: g(x), lambda g=g: g(x), seconds=seconds) for name, g in compiled.items()}
    spectrum = jax.jit(jax.vmap(jacobian.spectrum(f)))(images)
    return {
        "planned": plan.best.method,
        "sweeps": jacobian.cut(f).plan(x).sweeps,
        "ms": {name: 1e3 * p.medians[0] for name, p in in_a_loop.items()},
        "singular_values": spectrum.singular_values,
        "rank": spectrum.rank,
        "used": (spectrum.singular_values > 0.01 * spectrum.singular_values[:, :1]).sum(1),
    }


def times_as_fast(found) -> float:
    """The time of the better of rows and columns over that of the cut."""
    return min(found["ms"]["rows"], found["ms"]["columns"]) / found["ms"]["cut at the code"]


def finding(data) -> str:
    """The answer in one sentence, with its figures."""
    codes = data["codes"]
    of = lambda code, what: codes[code][what]
    small, large = min(codes, key=int), max(codes, key=int)
    fastest = max(codes, key=lambda code: times_as_fast(codes[code]))
    used = ", ".join(f"{np.mean(of(code, 'used')):.1f} of {code}" for code in codes)
    return (
        f"Cut at its code, the {data['inputs']} × {data['inputs']} Jacobian of an autoencoder takes "
        f"{of(small, 'sweeps')} to {of(large, 'sweeps')} sweeps and is up to {times_as_fast(codes[fastest]):.0f} times "
        f"as fast as by the better of rows and columns (code of {fastest}); directions with a singular value above 1% "
        f"of the largest: {used}."
    )


def draw(data) -> dict[str, bytes]:
    """Time against code; singular values by code."""
    return {"jacobians": draw_times(data), "jacobians_spectrum": draw_spectra(data)}


def draw_times(data) -> bytes:
    codes = data["codes"]
    sizes = [int(code) for code in codes]
    with figure(width=6.4) as (fig, ax):
        for name, look in zip(("cut at the code", "rows", "columns"), LOOKS, strict=False):
            ax.loglog(sizes, [codes[code]["ms"][name] for code in codes], label=name, base=2, **look)
        ax.set(xlabel="numbers in the code", ylabel="time of the Jacobian (ms)", xticks=sizes, xticklabels=sizes)
        ax.set_yscale("log", base=10)
        ax.legend()
        return titled_png(
            fig,
            f"Cut at the code, a Jacobian costs two sweeps for each number in it:\n"
            f"up to {max(map(times_as_fast, codes.values())):.0f} times as fast as {data['inputs']} rows or columns",
        )


def draw_spectra(data) -> bytes:
    codes = data["codes"]
    with figure(width=6.4) as (fig, ax):
        shades = np.linspace(0.75, 0, len(codes))
        for (code, found), shade in zip(codes.items(), shades, strict=True):
            values = np.mean(found["singular_values"], 0)[: int(code) + 4]
            values = values / values[0]
            ax.semilogy(np.arange(1, len(values) + 1), values, marker=".", color=str(shade), label=code)
        ax.axhline(0.01, color="#333333", linewidth=0.8, linestyle=":")
        ax.set(xlabel="singular value, by size", ylabel="of the largest (dotted: 1%)", ylim=(1e-8, 2))
        ax.legend(title="numbers in the code", ncols=2, loc="lower right", bbox_to_anchor=(0.9, 0.02))
        largest = max(codes, key=int)
        used = np.mean(codes[largest]["used"])
        return titled_png(
            fig,
            f"As many singular values as the code has numbers, then rounding;\n"
            f"of {largest} numbers {used:.0f} give more than 1% of the largest (mean of 10 digits)",
        )


def main(quick: bool = False) -> None:
    """Measures, prints the finding, writes data and pictures.

    Args:
        quick: Use two small codes and small images, which takes seconds.
    """
    with jax.numpy_dtype_promotion("standard"):
        found = measure(quick)
    keep("jacobians", found, finding, draw, quick=quick)


if __name__ == "__main__":
    tyro.cli(main)
