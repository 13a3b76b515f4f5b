"""Sparse Jacobians that are too large for a dense matrix, compared with asdex; and Jacobians within a memory limit.

    python -m benchmarks.sparse_jacobians [--full]       (needs the extra `peers`)

For each function and size: the seconds for pattern and colours (the plan), to compile, and for a call of the compiled
function that returns BCOO, both sides interleaved; the number of sweeps. Then a dense Jacobian of 10⁴ × 10⁴ by
`reverse` and `forward` with `max_bytes`: the temporary memory of the compiled program, compared with the limit.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.jacobian_functions import sparse_systems
from benchmarks.results_folder import keep
from jaxdl import jacobian
from jaxdl.measure import pairs
from jaxdl.report import AUTOMATIC, HAND, Table, bytes_text, figure, png, ratio_text, seconds_text

SIZES = (1_000, 10_000, 100_000)
FULL_SIZES = (*SIZES, 1_000_000)
MAKE = {
    "banded": sparse_systems.banded,
    "Brusselator": sparse_systems.brusselator_1d,
    "Burgers": sparse_systems.burgers,
    "Rosenbrock": sparse_systems.rosenbrock,
    "heat by scan": sparse_systems.heat,
}
SIDE, BUDGETS = 10_000, (4_000_000, 40_000_000, 200_000_000)


def measure(make, n: int) -> dict:
    """The costs of both sides. The plan is timed twice, and the faster time counts, so that imports do not."""
    import asdex

    f, x = make(n)
    plans = {
        "jaxdl": lambda: jacobian.sparse(f),
        "asdex": lambda: asdex.jacobian_coloring(f, x),
    }
    plan_seconds, jacobians = dict.fromkeys(plans, np.inf), {}
    for _ in range(2):
        for name, plan in plans.items():
            start = time.perf_counter()
            jacobians[name] = plan()
            if name == "jaxdl":
                jacobians[name].plan(x)
            plan_seconds[name] = min(plan_seconds[name], time.perf_counter() - start)
    functions = {
        "jaxdl": jacobians["jaxdl"].bcoo,
        "asdex": asdex.jacobian_from_coloring(f, jacobians["asdex"], output_format="bcoo"),
    }
    compiled, compile_seconds = {}, {}
    for name, g in functions.items():
        start = time.perf_counter()
        compiled[name] = jax.jit(g).lower(x).compile()
        compile_seconds[name] = time.perf_counter() - start
    ours, theirs = (lambda g=g: g(x) for g in compiled.values())
    forward, reverse = jacobians["jaxdl"].plan(x).sweeps
    return {
        "n": int(x.size),
        "plan_seconds": plan_seconds,
        "compile_seconds": compile_seconds,
        "call": pairs(ours, theirs, seconds=1.0).to_json("jaxdl", "asdex"),
        "sweeps": {"jaxdl": forward + reverse, "asdex": int(jacobians["asdex"].num_colors)},
        "same": same(ours(), theirs()),
    }


def same(ours, theirs) -> bool:
    """Whether the products with a vector agree: the entries of the two matrices have different orders."""
    v = jnp.cos(jnp.arange(ours.shape[1], dtype=ours.dtype))
    a, b = (np.asarray(matrix @ v, np.float64) for matrix in (ours, theirs))
    return bool(np.abs(a - b).max() <= 1e-5 * np.abs(a).max())


def budgets() -> list[dict]:
    """y = tanh(A sin x) with 10⁴ inputs and outputs. The matrix takes 400 MB, all sweeps at once another 800 MB."""
    a = jax.random.normal(jax.random.key(0), (SIDE, 8)) / 8
    f, x = (lambda x: jnp.tanh(a @ (a.T @ jnp.sin(x)) + x)), jnp.ones(SIDE)
    found = []
    for name, method in (("reverse", jacobian.reverse), ("forward", jacobian.forward)):
        for budget in (None, *BUDGETS):
            g = method(f) if budget is None else method(f, max_bytes=budget)
            start = time.perf_counter()
            compiled = jax.jit(g).lower(x).compile()
            seconds = time.perf_counter() - start
            jax.block_until_ready(compiled(x))
            start = time.perf_counter()
            jax.block_until_ready(compiled(x))
            took = time.perf_counter() - start
            temporary = compiled.memory_analysis().temp_size_in_bytes
            cost = {"temporary": temporary, "seconds": took, "compile": seconds}
            found.append({"method": name, "budget": budget, **cost})
    return found


def table(rows) -> Table:
    cells = []
    for row in rows:
        plan, compiling, call = row["plan_seconds"], row["compile_seconds"], row["call"]
        first = {name: plan[name] + compiling[name] + call[f"{name}_seconds"] for name in plan}
        cells.append(
            (
                row["name"],
                f"{row['n']:,}",
                f"{row['sweeps']['jaxdl']} / {row['sweeps']['asdex']}",
                *(f"{seconds_text(d['jaxdl'])} / {seconds_text(d['asdex'])}" for d in (plan, compiling)),
                f"{seconds_text(call['jaxdl_seconds'])} / {seconds_text(call['asdex_seconds'])}",
                ratio_text(1 / call["ratio"]),
                ratio_text(first["asdex"] / first["jaxdl"]),
            )
        )
    columns = "function", "inputs", "sweeps", "plan", "compile", "call", "asdex : jaxdl", "first call, asdex : jaxdl"
    note = "A first call is plan, compilation and a call together."
    return Table("Sparse Jacobians as BCOO, jaxdl / asdex", columns, cells, note)


def budget_table(rows) -> Table:
    cells = [
        (
            row["method"],
            bytes_text(row["budget"]) if row["budget"] else "none",
            bytes_text(row["temporary"]),
            seconds_text(row["seconds"]),
            seconds_text(row["compile"]),
        )
        for row in rows
    ]
    columns = ("method", "max_bytes", "temporary memory", "seconds", "to compile, chunk found")
    return Table("A Jacobian of 10,000 × 10,000 (400 MB) within a budget", columns, cells)


def draw(rows) -> bytes:
    """Seconds of a call and of the plan against the number of inputs."""
    banded = [row for row in rows if row["name"] == "banded"]
    n = [row["n"] for row in banded]
    with figure(1, 2, width=8.4, height=3.4, sharex=True) as (fig, axes):
        for name, style in (("jaxdl", HAND), ("asdex", AUTOMATIC)):
            axes[0].loglog(n, [1e3 * row["call"][f"{name}_seconds"] for row in banded], marker="o", label=name, **style)
            axes[1].loglog(n, [1e3 * row["plan_seconds"][name] for row in banded], marker="o", label=name, **style)
        for ax, title in zip(axes, ("a compiled call", "pattern and colours"), strict=True):
            ax.set(xlabel="inputs", ylabel="time (ms)", title=title)
        axes[0].legend()
        last = banded[-1]
        fig.suptitle(
            f"The Jacobian of a banded function grows as its size; with {last['n']:,} inputs a call takes "
            f"{1e3 * last['call']['jaxdl_seconds']:.2g} ms",
            x=0.01,
            ha="left",
        )
        return png(fig)


def main(full: bool = False) -> None:
    """Measure, and write tables, figures and a picture.

    Args:
        full: Up to a million inputs, not a hundred thousand.
    """
    rows = [{"name": name, **measure(make, n)} for name, make in MAKE.items() for n in (FULL_SIZES if full else SIZES)]
    kept = budgets()
    keep("sparse_jacobians", {"rows": rows}, table(rows), draw(rows))
    keep("jacobian_memory", {"rows": kept}, budget_table(kept))


if __name__ == "__main__":
    tyro.cli(main)
