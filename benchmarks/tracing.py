"""An op against the same rule in `jax.custom_vjp`: compiled code, time to trace it, and memory that is not freed.

    python -m benchmarks.tracing

The step is the gradient of an MLP's loss (64–128–128–10, batch 64) with respect to all its parameters. Tracing is timed
with JAX's caches empty, as in a new process, and with them filled, as when a training script traces its second
function; by interleaved pairs, after one uncounted run of each. Memory is measured after 200 operations are defined,
differentiated and dropped, each with an array of 1 MB that its primal closes over, and after 200 eager steps of a loss
with new weights in its `reduce`.
"""

import gc
import itertools
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.results_folder import keep
from jaxdl import op, ops, saving
from jaxdl.report import Table, bytes_text, ratio_text, seconds_text

WIDTHS = (64, 128, 128, 10)


def custom(op):
    """The same rule by `jax.custom_vjp`."""
    twin = jax.custom_vjp(op.primal)
    twin.defvjp(op.derivative, lambda saved, dy: saved(dy))
    return twin


def step(dense, relu, loss):
    """The gradient of an MLP's loss."""

    def value(params, x, y):
        for w, b in params[:-1]:
            x = relu(dense(x, w, b))
        return loss(dense(x, *params[-1]), y)

    return jax.grad(value)


def square_loss(logits, y):
    return ((logits - y) ** 2).mean()


def traced(make, arguments, *, cold: bool, runs: int = 40):
    """Seconds to trace each function, alternating between them: (runs, functions)."""
    times = []
    for _ in range(runs + 1):
        row = []
        for f in make:
            if cold:
                jax.clear_caches()
            fresh = jax.jit(lambda *a, f=f: f(*a))
            start = time.perf_counter()
            fresh.trace(*arguments)
            row.append(time.perf_counter() - start)
        times.append(row)
    return np.array(times[1:])


def alive() -> int:
    """Bytes of all arrays that are still referenced."""
    gc.collect()
    return sum(x.nbytes for x in jax.live_arrays())


def defined_and_dropped(by: Callable, count: int = 200) -> int:
    """Bytes not freed after operations that close over 1 MB each are differentiated once and dropped."""

    def once(closed_over):
        primal = lambda x: x * closed_over.sum()
        derivative = lambda x: (x * closed_over.sum(), saving(lambda s, dy: (dy * s,), closed_over.sum()))
        jax.grad(by(primal, derivative))(1.0)

    before = alive()
    for i in range(count):
        once(jnp.full(250_000, float(i)))
    return alive() - before


def by_jaxdl(primal, derivative):
    f = op(primal)
    f.rule(derivative)
    return f


def by_jax(primal, derivative):
    f = jax.custom_vjp(primal)
    f.defvjp(derivative, lambda saved, dy: saved(dy))
    return f


def fresh_reductions(count: int = 200) -> tuple[int, float, float]:
    """Bytes not freed after eager steps with a new function as a setting; seconds of the tenth step and the last."""
    before, seconds = alive(), []
    p, t = jnp.ones(250_000), jnp.zeros(250_000)
    for i in range(count):
        w = jnp.full(250_000, float(i))
        start = time.perf_counter()
        jax.grad(lambda p, w=w: ops.squared_error(p, t, reduce=lambda x: (x * w).mean()))(p).block_until_ready()
        seconds.append(time.perf_counter() - start)
        del w
    del p, t
    return alive() - before, *(float(np.median(part)) for part in (seconds[5:15], seconds[-10:]))


def main() -> None:
    """Measure, print and save the tables."""
    key = jax.random.key(0)
    params = [(jax.random.normal(key, (i, o)) * i**-0.5, jnp.zeros(o)) for i, o in itertools.pairwise(WIDTHS)]
    arguments = params, jax.random.normal(key, (64, 64)), jax.random.normal(key, (64, 10))
    by_op = step(ops.dense, ops.relu, square_loss)
    by_custom = step(custom(ops.dense), custom(ops.relu), square_loss)
    costs = [jax.jit(f).lower(*arguments).compile() for f in (by_op, by_custom)]
    flops, accessed = ([c.cost_analysis()[what] for c in costs] for what in ("flops", "bytes accessed"))
    temporary = [c.memory_analysis().temp_size_in_bytes for c in costs]
    rows = [
        ("FLOPs", *(f"{v:.0f}" for v in flops), ratio_text(flops[0] / flops[1])),
        ("bytes accessed", *(f"{v:.0f}" for v in accessed), ratio_text(accessed[0] / accessed[1])),
        ("temporary bytes", *(f"{v:.0f}" for v in temporary), ratio_text(temporary[0] / temporary[1])),
    ]
    data = {"flops": flops, "bytes_accessed": accessed, "temporary_bytes": temporary}
    for name, cold in (("tracing, caches empty", True), ("tracing, caches filled", False)):
        times = traced((by_op, by_custom), arguments, cold=cold)
        medians, ratio = np.median(times, 0), float(np.median(times[:, 0] / times[:, 1]))
        rows.append((name, *map(seconds_text, medians), ratio_text(ratio)))
        data[name] = {"op_seconds": medians[0], "custom_vjp_seconds": medians[1], "ratio": ratio}
    title = "The gradient of an MLP's loss, by jaxdl.op and by jax.custom_vjp with the same rules"
    keep("tracing", data, Table(title, ("", "op", "custom_vjp", "ratio"), rows))
    stays = {"op": defined_and_dropped(by_jaxdl), "custom_vjp": defined_and_dropped(by_jax)}
    left, early, late = fresh_reductions()
    rows = [
        ("200 operations defined, differentiated and dropped, by jaxdl.op", bytes_text(stays["op"])),
        ("the same, by jax.custom_vjp", bytes_text(stays["custom_vjp"])),
        ("200 eager steps with a new function in reduce=", bytes_text(left)),
        ("time of the last steps over that of the tenth", ratio_text(late / early)),
    ]
    kept = {"defined_bytes": stays, "fresh_bytes": left, "early_seconds": early, "late_seconds": late}
    keep("memory_of_ops", kept, Table("Memory of arrays that a rule closes over", ("", "not freed"), rows))


if __name__ == "__main__":
    main()
