"""Jacobians: every method on every function, against JAX, asdex, sparsejac, PyTorch and SciPy.

    python -m benchmarks.jacobians [--full] [--only TEXT]       (needs the extra `peers`)

Each side is compiled as its users would compile it (jit, and vmap for a batch) and returns the dense matrix; the sides
are interleaved in one process. Measured: seconds for each call, the median ratio of the best peer to the planned
method, seconds to compile, with the plan, temporary bytes of the compiled program, and the largest error over the
largest entry, compared with finite differences in float64. `benchmarks.sparse_jacobians` has sizes that are too large
for a dense matrix.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np
import tyro

from benchmarks.jacobian_functions.table import ROWS
from benchmarks.jacobian_functions.torch_twins import twin
from benchmarks.results_folder import keep
from jaxdl import automatic, jacobian
from jaxdl.report import AUTOMATIC, HAND, Table, figure, png, ratio_text, seconds_text

METHODS = {
    "best": jacobian.best,
    "reverse": jacobian.reverse,
    "forward": jacobian.forward,
    "cut": jacobian.cut,
    "sparse": jacobian.sparse,
    "eliminate": jacobian.eliminate,
    "structured": jacobian.structured,
}
SECONDS = 0.7  # for all sides of one function
TURN = 0.02


@dataclass
class Side:
    """One side of the comparison: `run()` computes the matrix and waits for it."""

    run: Callable
    compile_seconds: float
    temporary: int | None = None


def by_jax(make) -> Callable:
    def side(row, f, x):
        start = time.perf_counter()
        g = make(f)
        compiled = jax.jit(jax.vmap(g) if row.batch else g).lower(x).compile()
        seconds = time.perf_counter() - start
        run = lambda: jax.block_until_ready(compiled(x))
        return Side(run, seconds, compiled.memory_analysis().temp_size_in_bytes)

    return side


def by_method(name) -> Callable:
    method = METHODS[name]
    return by_jax((lambda f: lambda x: method(f)(x).dense()) if name == "structured" else method)


def by_asdex(row, f, x):
    import asdex

    point = x[0] if row.batch else x
    return by_jax(lambda f: asdex.jacobian(automatic(f), point, output_format="dense"))(row, f, x)


def by_sparsejac(row, f, x):
    """With the pattern found by jaxdl, as sparsejac finds none; only for functions of vectors."""
    import sparsejac
    from jax.experimental.sparse import BCOO

    if row.group != "sparse":
        return None

    def make(f):
        pattern = jacobian.sparse(f).plan(x).pattern
        g = sparsejac.jacfwd(f, BCOO.from_scipy_sparse(pattern.astype(np.float32)))
        return lambda x: g(x).todense()

    return by_jax(make)(row, f, x)


def by_torch(row, f, x):
    """The faster of jacrev and jacfwd, eager."""
    import torch

    made = twin(row.name, f, x)
    if made is None:
        return None
    g, y = made
    ways = [torch.func.jacrev(g), torch.func.jacfwd(g)]
    return min((Side(lambda way=way: way(y), 0.0) for way in ways), key=lambda side: seconds_of(side.run, 3))


def by_scipy(row, f, x):
    """Forward differences of the compiled function, one call for each input; not for batches."""
    from scipy.optimize import approx_fprime

    if row.batch or x.size > 1000:
        return None
    g = jax.jit(lambda x: f(x).ravel())
    point, call = np.asarray(x, np.float64).ravel(), lambda v: np.asarray(g(v.astype(x.dtype).reshape(x.shape)))
    return Side(lambda: approx_fprime(point, call, 1e-3), 0.0)


PEERS = {
    "jax.jacrev": by_jax(jax.jacrev),
    "jax.jacfwd": by_jax(jax.jacfwd),
    "asdex": by_asdex,
    "sparsejac": by_sparsejac,
    "PyTorch": by_torch,
    "SciPy, differences": by_scipy,
}
SWEEPING = "jax.jacrev", "jax.jacfwd", "PyTorch"
OTHERS = *[*METHODS][1:], "by hand"
SIDES = {name: by_method(name) for name in METHODS} | PEERS


def seconds_of(run, calls: int) -> float:
    """The shortest of some calls, after one that is not counted."""
    times = []
    for _ in range(calls + 1):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def in_turns(runs: dict[str, Callable], seconds: float) -> dict[str, np.ndarray]:
    """Seconds for each call, interleaved, in alternating order. Sides that are 50 times slower are called only once.

    In its turn a side is called for TURN seconds: a single call would mostly measure caches that the others filled.
    """
    first = {name: seconds_of(run, 1) for name, run in runs.items()}
    slow = {name for name, t in first.items() if t > 50 * min(first.values())}
    calls = {name: max(1, int(TURN / t)) for name, t in first.items()}
    times, end = {name: [first[name]] if name in slow else [] for name in runs}, time.perf_counter() + seconds
    rounds = 0
    while rounds < 5 or (time.perf_counter() < end and rounds < 300):
        for name in [n for n in runs if n not in slow][:: 1 if rounds % 2 else -1]:
            start = time.perf_counter()
            for _ in range(calls[name]):
                runs[name]()
            times[name].append((time.perf_counter() - start) / calls[name])
        rounds += 1
    return {name: np.array(t) for name, t in times.items()}


def measure(row) -> dict:
    """Times, temporary bytes and errors of all sides, and the ratios of the planned method to the others."""
    f, x, *by_hand = row.make()
    if row.batch:
        x = x[None] * (1 + 0.01 * jax.random.uniform(jax.random.key(0), (row.batch, *x.shape), x.dtype))
    point = x[0] if row.batch else x
    start = time.perf_counter()
    best = jacobian.best(f)
    plan = best.plan(point)
    planning = time.perf_counter() - start
    order = jacobian.elimination_plan(f, point, seconds=2.0) if row.group == "systems" else None
    makers = SIDES | {"best": by_jax(lambda f: best), "eliminate": by_jax(lambda f: jacobian.eliminate(f, plan=order))}
    if by_hand:
        makers["by hand"] = by_jax(lambda f: by_hand[0])
    sides, left_out = {}, methods_left_out(plan)
    for name in [n for n in makers if n not in left_out]:
        try:
            side = makers[name](row, f, x)
            if side is not None:
                seconds_of(side.run, 1)
                sides[name] = side
        except Exception as error:  # an error of a peer is reported
            left_out[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"
    sides["best"].compile_seconds += planning
    true = reference(row, f, x)
    errors = {name: error_of(side.run(), true) for name, side in sides.items()}
    times = in_turns({name: side.run for name, side in sides.items()}, SECONDS)
    medians = {name: float(np.median(t)) for name, t in times.items()}
    return {
        "group": row.group,
        "name": row.name,
        "size": row.size,
        "batch": row.batch,
        "planned": plan.best.method,
        "multiplications": order.multiplications if order else {},
        "seconds": medians,
        "ratio": ratio(times, min((n for n in PEERS if n in medians), key=medians.get), "best"),
        "from_fastest": ratio(times, "best", min((n for n in METHODS if n in medians), key=medians.get)),
        "from_hand": ratio(times, "best", "by hand") if by_hand else None,
        "compile_seconds": {name: side.compile_seconds for name, side in sides.items()},
        "temporary": {name: side.temporary for name, side in sides.items() if side.temporary is not None},
        "error": errors,
        "left_out": left_out,
    }


def ratio(times, first, second) -> float:
    """The median of the ratios of all rounds, or the ratio of the medians where one side was called only once."""
    a, b = times[first], times[second]
    return float(np.median(a / b)) if len(a) == len(b) else float(np.median(a) / np.median(b))


def methods_left_out(plan) -> dict[str, str]:
    """Why methods are left out: the plan refuses them, or predicts a hundred times the shortest time."""
    fastest = min(way.predicted for way in plan.ways)
    slow = lambda way: f"predicted to take {way.predicted / fastest:.0f} times as long"
    out = {way.method: way.refused or slow(way) for way in plan.ways if way.refused or way.predicted > 100 * fastest}
    same = {"jax.jacrev": "reverse", "jax.jacfwd": "forward"}
    return out | {peer: out[method] for peer, method in same.items() if method in out}


def reference(row, f, x):
    """The matrix by finite differences in float64; None for more than a thousand inputs, and for the LSTM."""
    if x.size > 1000 * max(row.batch, 1) or row.name.startswith("LSTM"):
        return None
    return np.asarray(jax.vmap(jacobian.finite(f))(x) if row.batch else jacobian.finite(f)(x), np.float64)


def error_of(matrix, true) -> float | None:
    """The largest difference over the largest entry."""
    if true is None:
        return None
    return float(np.abs(np.asarray(matrix, np.float64).reshape(true.shape) - true).max() / np.abs(true).max())


def geometric_mean(ratios) -> float:
    return float(np.exp(np.mean(np.log(list(ratios)))))


def table(rows) -> Table:
    cells = []
    for row in rows:
        seconds = row["seconds"]
        peer = min((n for n in PEERS if n in seconds), key=seconds.get)
        cells.append(
            (
                f"{row['name']} {row['size'] if not row['batch'] else ''}".strip()
                + (f", batch {row['batch']}" if row["batch"] else ""),
                row["planned"],
                peer,
                seconds_text(seconds["best"]),
                seconds_text(seconds[peer]),
                ratio_text(row["ratio"]),
                ratio_text(row["from_fastest"]),
                ratio_text(row["from_hand"]),
                *(seconds_text(seconds[name]) if name in seconds else "–" for name in OTHERS),
                seconds_text(row["compile_seconds"]["best"]),
            )
        )
    columns = ("function", "planned", "best peer", "best", "peer", "peer : best", "best : fastest method",
               "best : by hand", *OTHERS, "plan and compile")  # fmt: skip
    mean, least = geometric_mean(row["ratio"] for row in rows), min(row["ratio"] for row in rows)
    sweeping = geometric_mean(
        min(row["seconds"][peer] for peer in SWEEPING if peer in row["seconds"]) / row["seconds"]["best"]
        for row in rows
    )
    note = (
        f"peer : best is how many times as fast the planned method is as the fastest peer: geometric mean {mean:.2f}, "
        f"least {least:.2f}; {sweeping:.2f} over JAX and PyTorch alone, which do not use sparsity. best : fastest "
        f"method is how far the plan is from the fastest of jaxdl's methods: at most "
        f"{max(row['from_fastest'] for row in rows):.2f}. {by_hand_text(rows)}"
    )
    return Table("Jacobians: the planned method against the best peer", columns, cells, note, words=3)


def by_hand_text(rows) -> str:
    ratios = [row["from_hand"] for row in rows if row["from_hand"]]
    if not ratios:
        return ""
    return (
        f"By hand: the Jacobian as one writes it with pen and paper, for {len(ratios)} of {len(rows)} functions; the "
        f"planned method takes {geometric_mean(ratios):.2f} times as long (geometric mean; {min(ratios):.2f} to "
        f"{max(ratios):.2f})."
    )


def draw(rows) -> bytes:
    """Time against size, for every function measured at several sizes: the planned method and the best peer."""
    families = {}
    for row in rows:
        families.setdefault(row["name"], []).append(row)
    families = {name: found for name, found in families.items() if len(found) > 2}
    across = 4
    down = -(-len(families) // across)
    with figure(down, across, width=2.6 * across, height=2.2 * down) as (fig, axes):
        for ax, (name, found) in zip(axes.flat, families.items(), strict=False):
            found = sorted(found, key=lambda row: row["batch"] or row["size"])
            sizes = [row["batch"] or row["size"] for row in found]
            peers = [min(t for peer, t in row["seconds"].items() if peer in PEERS) for row in found]
            ax.loglog(sizes, [1e3 * row["seconds"]["best"] for row in found], marker="o", label="planned", **HAND)
            ax.loglog(sizes, [1e3 * t for t in peers], marker="s", label="best peer", **AUTOMATIC)
            ax.set(
                title=name.split(",")[0], xlabel="points" if found[0]["batch"] else name.partition(", ")[2] or "size"
            )
            ax.set_xticks(sizes, labels=map(str, sizes))
            ax.minorticks_off()
        for ax in list(axes.flat)[len(families) :]:
            ax.set_axis_off()
        for row in axes:
            row[0].set_ylabel("time (ms)")
        axes.flat[0].legend()
        mean = geometric_mean(row["ratio"] for row in rows)
        title = f"The planned Jacobian is {mean:.1f} times as fast as the best peer (geometric mean)"
        fig.suptitle(title, x=0.01, ha="left")
        return png(fig)


def main(full: bool = False, only: str = "") -> None:
    """Measure, and write table, figures and pictures.

    Args:
        full: All sizes, not only one or two of each function.
        only: Only functions with this text in their name; nothing is written.
    """
    chosen = [row for row in ROWS if (full or row.quick) and only in row.label]
    rows = []
    for row in chosen:
        start = time.perf_counter()
        rows.append(measure(row))
        last = rows[-1]
        print(
            f"{row.label}: {last['planned']}, {last['ratio']:.2f} ({time.perf_counter() - start:.0f} s)",
            {name: seconds_text(t) for name, t in last["seconds"].items()},
            last["left_out"],
        )
    if only:
        return table(rows).print()
    keep("jacobians_full" if full else "jacobians", {"rows": rows}, table(rows), draw(rows) if full else None)


if __name__ == "__main__":
    tyro.cli(main)
