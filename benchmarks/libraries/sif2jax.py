"""The optimisation problems of sif2jax: Hessians and constraint Jacobians by `sparse` and `best` against JAX's.

    python -m benchmarks.libraries.sif2jax --resume
    python -m benchmarks.libraries.sif2jax --only ROSENBR --tools sparse

In float64, near the problem's starting point: at the point itself derivatives are often zero by coincidence.
"""

import functools
import json
import math
import sys
import warnings
from collections import Counter
from importlib.metadata import version

import jax
import jax.numpy as jnp
import tyro

from benchmarks.libraries import worker
from benchmarks.libraries.judge import Status, Wrong, apart
from benchmarks.libraries.running import cells
from benchmarks.results_folder import FOLDER, keep
from jaxdl import jacobian
from jaxdl.report import Table

KEPT = FOLDER / "libraries_sif2jax.json"
LARGEST = 1000
BATCH = 50  # problems per process, after which the table is saved; importing sif2jax takes half a minute
ALLOWED = 1e3  # times 1e-9: hundreds of terms are summed in a different order


def problems() -> dict:
    import sif2jax

    return {p.name: p for p in sif2jax.problems}


def size(problem) -> int:
    return sum(math.prod(jnp.shape(x)) for x in jax.tree.leaves(problem.y0))


def by_size() -> list[str]:
    """Names of the problems with at most LARGEST variables, smallest first."""
    sizes = {name: size(problem) for name, problem in problems().items()}
    return [name for name in sorted(sizes, key=lambda name: (sizes[name], name)) if sizes[name] <= LARGEST]


def moved(y0):
    """The starting point, each number x moved by up to 0.01 max(|x|, 1)."""
    step = lambda x: 0.01 * jnp.maximum(jnp.abs(x), 1) * jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)
    return jax.tree.map(lambda x: x + step(x), jax.tree.map(lambda x: jnp.asarray(x, float), y0))


def judged(problem, tool: str) -> str:
    """Compares a problem's Hessian and constraint Jacobian with JAX's."""
    y = moved(problem.y0)
    objective, constraint = lambda y: problem.objective(y, problem.args), lambda y: problem.constraint(y)
    derivatives = {}
    if jnp.shape(jax.eval_shape(objective, y)) == ():
        sparse = {"sparse": jacobian.sparse_hessian(objective), "best": jacobian.best(jax.grad(objective))}
        derivatives["Hessian"] = sparse[tool], jax.hessian(objective)
    if hasattr(problem, "constraint") and jax.tree.leaves(jax.eval_shape(constraint, y)):
        derivatives["constraint Jacobian"] = getattr(jacobian, tool)(constraint), jax.jacrev(constraint)
    for what, (ours, truth) in derivatives.items():
        expected = jax.jit(truth)(y)
        known = lambda ours, jaxs: jnp.where(
            jnp.isnan(jaxs), jaxs, ours
        )  # entries where JAX gives NaN are not compared
        by = apart(jax.tree.map(known, ours(y), expected), expected)
        if by > ALLOWED:
            raise Wrong(f"{what} of {size(problem)} variables: {by:.3g} times what is allowed")
    jax.clear_caches()
    return f"{size(problem)} variables"


def main(
    only: tuple[str, ...] = (), tools: tuple[str, ...] = ("sparse", "best"), seconds: float = 60, resume: bool = False,
    again: tuple[str, ...] = (),
) -> None:  # fmt: skip
    """Judge the problems, and save table and rows.

    Args:
        only: Only problems with these names.
        tools: sparse, best or both.
        seconds: Limit of processor time for all derivatives of a problem.
        resume: Skip problems that have a result.
        again: Skip problems that have a result, except results with these statuses.
    """
    rows = {(r["problem"], r["tool"]): r for r in json.loads(KEPT.read_text())["rows"]} if KEPT.exists() else {}
    names = [name for name in by_size() if not only or name in only]
    for tool in tools:
        done = {k[0] for k, r in rows.items() if k[1] == tool and r["status"] not in again} if resume or again else ()
        left = [name for name in names if name not in done]
        for some in (left[i : i + BATCH] for i in range(0, len(left), BATCH)):
            for cell in cells(__spec__.name, ["worker", tool, str(seconds)], some):
                name = cell.pop("cell")
                rows[name, tool] = {"problem": name, "tool": tool} | cell
                print(*rows[name, tool].values(), flush=True)
            keep(
                "libraries_sif2jax",
                {"rows": sorted(rows.values(), key=lambda r: (r["problem"], r["tool"]))},
                table(rows),
            )


def table(rows: dict) -> Table:
    """The problems that are not right, and the counts of all statuses."""
    bad = [(r["problem"], r["tool"], r["status"], r["why"]) for r in rows.values() if r["status"] != Status.RIGHT]
    counts = Counter((r["tool"], r["status"]) for r in rows.values())
    note = f"sif2jax {version('sif2jax')}, up to {LARGEST} variables: " + ", ".join(
        f"{tool}: {n} {status}" for (tool, status), n in sorted(counts.items())
    )
    return Table(
        "Optimisation problems of sif2jax that are not right", ("problem", "by", "status", "why"), bad, note, words=4
    )


def work(tool: str, seconds: str, *names: str) -> None:
    jax.config.update("jax_enable_x64", True)
    known = problems()
    worker.run_cells({name: functools.partial(judged, known[name], tool) for name in names}, float(seconds))


if __name__ == "__main__" and sys.argv[1:2] == ["worker"]:
    sys.stdout = sys.stderr
    warnings.simplefilter("ignore")
    work(*sys.argv[2:])
elif __name__ == "__main__":
    tyro.cli(main)
