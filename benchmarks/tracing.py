"""An op against the same rule in `jax.custom_vjp`: compiled code, and the time to trace it.

    python -m benchmarks.tracing

The step is the gradient of an MLP's loss (64–128–128–10, batch 64) in all its parameters. Tracing is timed with
JAX's caches empty, as in a new process, and with them filled, as when a training script traces its second
function; by interleaved pairs, after one uncounted run of each.
"""

import itertools
import time

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.results_folder import keep
from jaxdl import ops
from jaxdl.report import Table, ratio_text, seconds_text

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
    """Seconds to trace each of the functions, run by run in turn: (runs, functions)."""
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


def main() -> None:
    """Measure, print and keep the table."""
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


if __name__ == "__main__":
    main()
