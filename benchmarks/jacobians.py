"""Jacobians: every method on every function, against JAX, asdex, sparsejac, PyTorch, CasADi, SciPy and hands.

    python -m benchmarks.jacobians [--full] [--only TEXT]       (needs the extra `peers`)

Each side is compiled as its users would compile it (jit, and vmap for a batch) and returns the dense matrix; the sides
are interleaved in one process. Measured: seconds for each call, the median ratios of the best peer to the planned
method, and of the planned method to the Jacobian by hand, seconds to compile, with the plan, temporary bytes of the
compiled program, and the largest error over the largest entry, compared with the Jacobian by hand (a test compares that
with JAX's in float64), or with finite differences in float64. The JSON file also says why a side takes no part in a
function, and where the benchmark's own time goes.
`benchmarks.sparse_jacobians` has sizes that are too large for a dense matrix.
"""

import time
from collections.abc import Callable

import jax
import numpy as np
import tyro

from benchmarks.jacobian_functions.sides import METHODS, PEERS, SIDES, SWEEPING, by_jax, in_turns, one
from benchmarks.jacobian_functions.table import ROWS
from benchmarks.results_folder import keep
from jaxdl import jacobian
from jaxdl.report import AUTOMATIC, HAND, Table, figure, png, ratio_text, seconds_text

JAX = {"reverse": "jax.jacrev", "forward": "jax.jacfwd"}
OTHERS = *[*METHODS][1:], "by hand"
SECONDS = 0.7  # for all sides of one function
SLOW, SLOW_PEER = 20, 100  # times the shortest predicted time: such methods and peers are not compiled
LOOSE = {"linestyle": "none"}
TICKS = 0.2, 0.5, 1, 2, 5, 10
SEARCH = 5.0  # seconds for an order of elimination


class Clock:
    """Seconds of the benchmark itself, by part."""

    def __init__(self):
        self.seconds, self.last = {}, time.perf_counter()

    def part(self, name: str) -> float:
        """Counts the time since the last part as this part's."""
        now = time.perf_counter()
        self.seconds[name], self.last = now - self.last, now
        return self.seconds[name]


def measure(row) -> dict:
    """Times, temporary bytes and errors of all sides, and the ratios of the planned method to the others."""
    clock = Clock()
    f, x, *by_hand = row.make()
    if row.batch:
        x = x[None] * (1 + 0.01 * jax.random.uniform(jax.random.key(0), (row.batch, *x.shape), x.dtype))
    clock.part("make")
    best = jacobian.best(f, batch=row.batch > 1)
    plan = best.plan(one(row, x))
    planning = clock.part("plan")
    order = jacobian.elimination_plan(f, one(row, x), seconds=SEARCH) if row.group == "systems" else None
    clock.part("search")
    makers = SIDES | {"best": by_jax(lambda f: best), "eliminate": by_jax(lambda f: jacobian.eliminate(f, plan=order))}
    if by_hand:
        makers["by hand"] = by_jax(lambda f: by_hand[0])
    planned, left_out = plan.best.method, methods_left_out(plan)
    sides = made(row, f, x, {name: make for name, make in makers.items() if name not in (planned, *left_out)}, left_out)
    sides["best"].compile_seconds += planning
    clock.part("compile")
    true = np.asarray(sides["by hand"].run(), np.float64) if "by hand" in sides else reference(row, f, x)
    errors = {name: error_of(side.run(), true) for name, side in sides.items()}
    clock.part("reference")
    times = in_turns({name: side.run for name, side in sides.items()}, SECONDS)
    times[planned] = times["best"]  # the same program
    medians = {name: float(np.median(t)) for name, t in times.items()}
    clock.part("calls")
    return {
        "group": row.group,
        "name": row.name,
        "size": row.size,
        "batch": row.batch,
        "planned": planned,
        "multiplications": order.multiplications if order else {},
        "seconds": medians,
        "ratio": ratio(times, best_peer(medians), "best"),
        "from_fastest": ratio(times, "best", min((n for n in METHODS if n in medians), key=medians.get)),
        "from_hand": ratio(times, "best", "by hand") if by_hand else None,
        "compile_seconds": {name: side.compile_seconds for name, side in sides.items()},
        "temporary": {name: side.temporary for name, side in sides.items() if side.temporary is not None},
        "error": errors,
        "left_out": left_out,
        "plan_seconds": planning,
        "benchmark_seconds": clock.seconds,
    }


def made(row, f, x, makers: dict[str, Callable], left_out: dict[str, str]) -> dict:
    """The sides that can do this function, each called once; why the others cannot is added to `left_out`."""
    sides = {}
    for name, make in makers.items():
        try:
            side = make(row, f, x)
            side.run()
            sides[name] = side
        except Exception as error:  # whatever a peer raises is reported
            left_out[name] = f"{type(error).__name__}: {[*str(error).splitlines(), ''][0][:120]}"
    return sides


def best_peer(seconds: dict[str, float]) -> str:
    return min((name for name in PEERS if name in seconds), key=seconds.get)


def ratio(times, first, second) -> float:
    """The median of the ratios of all rounds, or the ratio of the medians where one side was called only once."""
    a, b = times[first], times[second]
    return float(np.median(a / b)) if len(a) == len(b) else float(np.median(a) / np.median(b))


def methods_left_out(plan) -> dict[str, str]:
    """Why methods are left out, and JAX's two: the plan refuses them, or predicts many times the shortest time."""
    fastest = min(way.predicted for way in plan.ways)
    sides = [(way.method, SLOW, way) for way in plan.ways]
    sides += [(JAX[way.method], SLOW_PEER, way) for way in plan.ways if way.method in JAX]
    slow = lambda way: f"predicted to take {way.predicted / fastest:.0f} times as long"
    refused = [(name, way) for name, limit, way in sides if way.refused or limit * fastest < way.predicted < np.inf]
    return {name: way.refused or slow(way) for name, way in refused}


def reference(row, f, x):
    """The matrix by finite differences in float64; None for more than a thousand inputs."""
    if x.size > 1000 * max(row.batch, 1):
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
        peer = best_peer(seconds)
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
                seconds_text(row["plan_seconds"]),
                seconds_text(row["compile_seconds"]["best"]),
            )
        )
    columns = ("function", "planned", "best peer", "best", "peer", "peer : best", "best : fastest method",
               "best : by hand", *OTHERS, "plan", "plan and compile")  # fmt: skip
    return Table("Jacobians: the planned method against the best peer", columns, cells, note(rows), words=3)


def note(rows) -> str:
    mean, least = geometric_mean(row["ratio"] for row in rows), min(row["ratio"] for row in rows)
    sweeping = [min((row["seconds"][p] for p in SWEEPING if p in row["seconds"]), default=None) for row in rows]
    pairs = [(peer, row["seconds"]["best"]) for peer, row in zip(sweeping, rows, strict=True) if peer]
    parts = [
        f"peer : best is the time of the fastest peer over that of the planned method: geometric mean {mean:.2f}, "
        f"least {least:.2f}; {geometric_mean(peer / best for peer, best in pairs):.2f} with JAX and PyTorch alone, "
        f"which do not use sparsity. best : fastest method is the time of the planned method over that of the fastest "
        f"of jaxdl's methods: at most {max(row['from_fastest'] for row in rows):.2f}.",
        by_hand_text(rows),
        f"{taking_part(rows)} CasADi computes in float64, its only type, and sparsejac takes jaxdl's patterns.",
    ]
    return " ".join(filter(None, parts))


def by_hand_text(rows) -> str:
    ratios = [row["from_hand"] for row in rows if row["from_hand"]]
    if not ratios:
        return ""
    return (
        f"{len(ratios)} of the {len(rows)} functions have a Jacobian written by hand; the planned method takes "
        f"{geometric_mean(ratios):.2f} times as long (geometric mean; {min(ratios):.2f} to {max(ratios):.2f})."
    )


def taking_part(rows) -> str:
    """In how many functions each peer took part, and in how many it was the best one."""
    count = lambda peer: sum(peer in row["seconds"] for row in rows)
    best = lambda peer: sum(best_peer(row["seconds"]) == peer for row in rows)
    slow = {peer: sum("predicted" in row["left_out"].get(peer, "") for row in rows) for peer in PEERS}
    skipped = lambda peer: f" ({slow[peer]} more were predicted to be too slow)" if slow[peer] else ""
    found = [f"{peer} {count(peer)}{skipped(peer)}, {best(peer)}" for peer in PEERS]
    return f"Of {len(rows)} functions, those that each peer can do, and those where it is the best: {'; '.join(found)}."


def time_text(rows) -> str:
    """Where the benchmark's own time went."""
    parts = {}
    for row in rows:
        for name, seconds in row["benchmark_seconds"].items():
            parts[name] = parts.get(name, 0.0) + seconds
    compiling = {name: sum(row["compile_seconds"].get(name, 0) for row in rows) for name in (*SIDES, "by hand")}
    compiling["best"] -= parts["plan"]
    listed = lambda parts: ", ".join(f"{name} {seconds:.0f} s" for name, seconds in parts.items() if seconds >= 0.5)
    return f"The benchmark took {sum(parts.values()):.0f} s: {listed(parts)}; to compile {listed(compiling)}."


def draw(rows) -> bytes:
    """The best peer's time and that by hand over the planned method's, function by function."""
    rows = sorted(rows, key=lambda row: row["ratio"])
    height = np.arange(len(rows))
    hand = [(y, 1 / row["from_hand"]) for y, row in zip(height, rows, strict=True) if row["from_hand"]]
    with figure(1, 1, width=6.4, height=1.2 + 0.2 * len(rows)) as (fig, axes):
        (ax,) = np.ravel(axes)
        ax.axvline(1, color="black", linewidth=0.9, label="planned")
        ax.semilogx([row["ratio"] for row in rows], height, marker="s", **AUTOMATIC | LOOSE, label="best peer")
        ax.semilogx([ratio for _, ratio in hand], [y for y, _ in hand], marker="o", **HAND | LOOSE, label="by hand")
        ax.set_yticks(height, labels=[f"{row['name']} {row['batch'] or row['size']}" for row in rows])
        ax.set_xticks(TICKS, labels=map(str, TICKS))
        ax.minorticks_off()
        ax.set(xlabel="time, over that of the planned method")
        ax.legend()
        fig.suptitle(headline(rows), x=0.01, ha="left")
        return png(fig)


def headline(rows) -> str:
    mean = geometric_mean(row["ratio"] for row in rows)
    return f"Planned Jacobians: {mean:.2f} times the speed of the best peer (geometric mean)"


def draw_sizes(rows) -> bytes:
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
        fig.suptitle(headline(rows), x=0.01, ha="left")
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
    print(time_text(rows))
    if only:
        return table(rows).print()
    keep("jacobians_full" if full else "jacobians", {"rows": rows}, table(rows), (draw_sizes if full else draw)(rows))


if __name__ == "__main__":
    tyro.cli(main)
