"""How long does it take to trace a large function as a graph, and to draw it?

    python -m benchmarks.graphs [--equations 100000]

The function is a chain of sines, products, sums and differences of one number: the equations are small, so that the
time per equation in Python matters most. The pictures show the whole graph, with as many boxes open as stay legible.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro

from benchmarks.results_folder import keep
from jaxdl import trace
from jaxdl.report import Table, seconds_text


def chain(equations: int) -> Callable[[jax.Array], jax.Array]:
    """A function of about `equations` equations."""

    def f(x):
        for _ in range(equations // 4):
            x = jnp.sin(x) * 1.5 + x - 0.5
        return x

    return f


def timed(f: Callable, *args: Any) -> tuple[Any, float]:
    """The result of f and the seconds it took."""
    start = time.perf_counter()
    result = f(*args)
    return result, time.perf_counter() - start


def main(equations: int = 100_000) -> None:
    """Measures, prints the table, writes data and table.

    Args:
        equations: The number of equations of the function.
    """
    f, number = chain(equations), jnp.float32(0.3)
    _, by_jax = timed(lambda: jax.make_jaxpr(f)(number))
    jax.clear_caches()
    graph, traced = timed(trace, f, number)
    _, evaluated = timed(graph.evaluate)
    with tempfile.TemporaryDirectory() as folder:
        drawn = {kind: timed(graph.save, Path(folder) / f"graph.{kind}")[1] for kind in ("svg", "html")}
    figures = {"equations": len(graph.nodes) - 1, "make_jaxpr": by_jax, "trace": traced, "values": evaluated} | drawn
    rows = [(name, seconds_text(seconds)) for name, seconds in figures.items() if name != "equations"]
    table = Table(f"A graph of {figures['equations']:,} equations", ("step", "time"), rows)
    keep("graphs", figures, table)


if __name__ == "__main__":
    tyro.cli(main)
