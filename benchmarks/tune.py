"""Tuned programs against the function as written, the automatic derivative and the stock functions.

    python -m benchmarks.tune [--only LeNet] [--seconds 25] [--large]

Each gradient is compiled once more after tuning, and timed in turn with those of the function as written (hand), of
`automatic` and of `stock`, each with the compiler's options as they are and with those that were chosen. The bar is the
best of all of them. Results are kept for each version of JAX; a run replaces those of its programs.
"""

import json
import time

import jax
import numpy as np
import tyro

from benchmarks.results_folder import FOLDER, keep, machine
from benchmarks.tuned_programs import large_programs, programs
from jaxdl import automatic, stock, tune
from jaxdl.jaxpr import in_arrays, is_array
from jaxdl.measure import Differentiated, Pairs, rounds
from jaxdl.report import Table, bytes_text, number_text, ratio_text
from jaxdl.tuner.tuning import COMPILER_OPTIONS

SIDES = {"hand": lambda f: f, "automatic": automatic, "stock": stock}
NAME = "tune"


def measure(program, seconds: float) -> dict:
    """Ratios of times, bytes, and what was chosen, for one program."""
    f, args = program.make()
    start = time.perf_counter()
    tuned = tune(f, argnums=0, seconds=seconds, choose_compiler_options=True)(*args)
    took = time.perf_counter() - start
    default = tune(f, argnums=0, seconds=seconds)(*args)
    found = {"tuned": _compiled(tuned, args, tuned.compiler_options)}
    found["tuned, options as they are"] = _compiled(default, args, {})
    for name, side in SIDES.items():
        found[name] = _compiled(side(f), args, {})
        for options in COMPILER_OPTIONS["cpu"]:
            if tuned.compiler_options:
                found[f"{name}, options chosen"] = _compiled(side(f), args, dict(options))
    times = dict(zip(found, rounds(*[run for run, _ in found.values()], seconds=3.0, least=9), strict=True))
    ratio = lambda a, b: Pairs(times[a], times[b]).ratio
    others = [name for name in found if not name.startswith("tuned")]
    plain = [name for name in others if "," not in name]
    return {
        "seconds": took,
        "against": {name: ratio("tuned", name) for name in others},
        "options as they are": {name: ratio("tuned, options as they are", name) for name in plain},
        "options": tuned.compiler_options,
        "residuals": {name: memory[0] for name, (_, memory) in found.items()},
        "temporary": {name: memory[1] for name, (_, memory) in found.items()},
        "choices": {d.key: d.choice for d in tuned.decisions},
        "step": float(np.median(times["tuned"])),
    }


def _compiled(f, args, options):
    """A function that runs the gradient in the first argument, and its residual and temporary bytes."""
    step = jax.jit(jax.value_and_grad(f)).lower(*args).compile(compiler_options=options or None)
    arrays = [x for x in jax.tree.leaves(args) if is_array(x)]
    smooth = range(len(jax.tree.leaves(args[0])))
    residuals, _ = Differentiated(in_arrays(f, args, {}), arrays, smooth).stored_bytes()
    return lambda: step(*args), (residuals, step.memory_analysis().temp_size_in_bytes)


def geometric_mean(values) -> float:
    return float(np.exp(np.mean(np.log(list(values)))))


def table(version: str, rows: dict) -> Table:
    """Times of the tuned gradient over those of the others; "best" is the best of hand, automatic and stock."""
    shown = []
    for name, row in rows.items():
        against, plain = row["against"], row["options as they are"]
        sides = [against[side] for side in SIDES]
        shown.append(
            (
                name, *map(ratio_text, sides), ratio_text(max(against.values())), ratio_text(max(plain.values())),
                bytes_text(row["residuals"]["tuned"]), bytes_text(row["residuals"]["automatic"]),
                number_text(row["seconds"]),
            )
        )  # fmt: skip
    means = [geometric_mean(row["against"][side] for row in rows.values()) for side in SIDES]
    worst = [max(max(row[kind].values()) for row in rows.values()) for kind in ("against", "options as they are")]
    of_sides = ", ".join(f"{mean:.2f} of {side}" for mean, side in zip(means, SIDES, strict=True))
    note = (
        f"Geometric means: {of_sides}. Worst against the best: {worst[0]:.2f}; with the options as they are "
        f"{worst[1]:.2f}."
    )
    columns = (
        "program", *SIDES, "best, with or without options", "best, options as they are", "residuals", "automatic's",
        "seconds",
    )  # fmt: skip
    return Table(f"Time of the tuned gradient over that of others, JAX {version}", columns, shown, note)


def main(only: str = "", seconds: float = 25.0, large: bool = False) -> None:
    """Measures and keeps the results.

    Args:
        only: Part of the names of the programs to measure.
        seconds: The time for tuning each program.
        large: The models for ImageNet.
    """
    path = FOLDER / f"{NAME}.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    versions = kept.get("versions", {})
    rows = versions.setdefault(jax.__version__, {})
    for program in large_programs() if large else programs():
        if only in program.name:
            rows[program.name] = measure(program, seconds) | {"machine": machine()}
            tables = [table(version, found) for version, found in versions.items()]
            keep(NAME, {"versions": versions}, tables[list(versions).index(jax.__version__)])
    joined = "\n\n".join(f"{t.title}\n\n{t.markdown()}\n\n{t.note}" for t in tables)
    (FOLDER / f"{NAME}.md").write_text(joined + "\n")


if __name__ == "__main__":
    tyro.cli(main)
