"""Laplacians: `jacobian.laplacian` against folx, Taylor mode (jax.experimental.jet) and loops of Hessian products.

    python -m benchmarks.laplacians [--only TEXT]       (needs the extra `peers`)

The functions are those of folx's readme and tests, and a Slater determinant of one-electron networks. Each side is
compiled with jit and vmap, and called in turn with the others. folx stands there twice: with dense Jacobians, and with
its recommended sparsity threshold of 6. Its result has the gradient beside the Laplacian, which compilation removes.
"""

import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.jacobian_functions.sides import in_turns
from benchmarks.results_folder import keep
from jaxdl import jacobian
from jaxdl.report import Table, ratio_text, seconds_text

SECONDS = 2.0  # for all sides of one function


class Case(NamedTuple):
    """make() returns a scalar function of a vector and a batch of vectors."""

    name: str
    make: Callable


def dense(*sizes):
    """Weights of dense layers of these widths, of variance 1/inputs."""
    rng = np.random.default_rng(0)
    draw = lambda n, m: jnp.asarray(rng.normal(size=(n, m)) / n**0.5, jnp.float32)
    return list(itertools.starmap(draw, itertools.pairwise(sizes)))


def points(batch, n):
    return jnp.asarray(np.random.default_rng(1).normal(size=(batch, n)), jnp.float32)


def squares():
    """folx's readme: Σ x²."""
    return lambda x: (x**2).sum(), points(20, 100)


def nodes():
    """folx's readme: a network of ten layers of 100 SiLUs on each of 100 nodes with 4 features, summed."""
    *hidden, last = dense(4, *[100] * 10, 1)

    def f(x):
        x = x.reshape(100, 4)
        for w in hidden:
            x = jax.nn.silu(x @ w)
        return (x @ last).sum()

    return f, points(2, 400)


def determinant():
    """folx's tests: log|det tanh(Wx)|, 16 × 16."""
    (w,) = dense(256, 256)
    return lambda x: jnp.linalg.slogdet(jnp.tanh(x @ w).reshape(16, 16))[1], points(4, 256)


def attention():
    """folx's tests: attention of two heads among six points of space, summed."""
    (w,) = dense(3, 8)

    def f(x):
        e = jnp.tanh(x.reshape(6, 3) @ w).reshape(6, 2, 4)
        s = jax.nn.softmax(jnp.einsum("ihd,jhd->hij", e, e), -1)
        return jnp.einsum("hij,jhd->ihd", s, e).sum()

    return f, points(128, 18)


def electrons():
    """log|det| of eight orbitals, a network of 32 tanhs, at eight electrons: 24 inputs."""
    first, second = dense(3, 32, 8)
    return lambda x: jnp.linalg.slogdet(jnp.tanh(x.reshape(8, 3) @ first) @ second)[1], points(128, 24)


def network():
    """A network of tanhs, 64 → 128 → 128 → 1."""
    *hidden, last = dense(64, 128, 128, 1)

    def f(x):
        for w in hidden:
            x = jnp.tanh(x @ w)
        return (x @ last)[0]

    return f, points(64, 64)


CASES = [
    Case("squares", squares),
    Case("nodes", nodes),
    Case("determinant", determinant),
    Case("attention", attention),
    Case("electrons", electrons),
    Case("network", network),
]


def by_folx(threshold):
    def make(f):
        import folx

        return lambda x: folx.ForwardLaplacianOperator(threshold)(f)(x)[0]

    return make


def by_jet(f):
    """The second Taylor coefficient along each axis; JAX 0.11 changed its scale, which is that of x²."""
    from jax.experimental.jet import jet

    square = jet(lambda x: x * x, (jnp.float32(1),), ((jnp.float32(1), jnp.float32(0)),))[1][1]
    scale = 2 / np.asarray(square)

    def along(x, axis):
        return jet(f, (x,), ((axis, jnp.zeros_like(x)),))[1][1]

    return lambda x: jax.vmap(lambda axis: along(x, axis))(jnp.eye(x.size, dtype=x.dtype)).sum() * x.dtype.type(scale)


def by_loop(f):
    """Four lines: one product with the Hessian after another."""

    def laplacian(x):
        _, push = jax.linearize(jax.grad(f), x)
        axes = jnp.eye(x.size, dtype=x.dtype)
        return jax.lax.fori_loop(0, x.size, lambda i, total: total + push(axes[i])[i], x.dtype.type(0))

    return laplacian


def by_hessian(f):
    return lambda x: jnp.trace(jax.hessian(f)(x))


SIDES = {
    "jaxdl": jacobian.laplacian,
    "folx": by_folx(0),
    "folx, sparse": by_folx(6),
    "jet": by_jet,
    "loop": by_loop,
    "trace of the Hessian": by_hessian,
}
PEERS = [name for name in SIDES if name != "jaxdl"]


def measure(case: Case) -> dict:
    f, x = case.make()
    runs, results, compiling, left_out = {}, {}, {}, {}
    for name, side in SIDES.items():
        try:
            start = time.perf_counter()
            compiled = jax.jit(jax.vmap(side(f))).lower(x).compile()
            compiling[name] = time.perf_counter() - start
            results[name] = np.asarray(compiled(x), np.float64)
            runs[name] = lambda compiled=compiled: jax.block_until_ready(compiled(x))
        except Exception as error:  # whatever a peer raises is reported
            left_out[name] = f"{type(error).__name__}: {[*str(error).splitlines(), ''][0][:120]}"
    true = results["trace of the Hessian"]
    times = in_turns(runs, SECONDS)
    medians = {name: float(np.median(t)) for name, t in times.items()}
    peer = min((name for name in PEERS if name in medians), key=medians.get)
    a, b = times[peer], times["jaxdl"]
    return {
        "name": case.name,
        "batch": x.shape[0],
        "inputs": x.shape[1],
        "seconds": medians,
        "ratio": float(np.median(a / b) if len(a) == len(b) else np.median(a) / np.median(b)),
        "peer": peer,
        "compile_seconds": compiling,
        "error": {name: float(np.abs(y - true).max() / np.abs(true).max()) for name, y in results.items()},
        "left_out": left_out,
    }


def table(rows) -> Table:
    cells = [
        (
            f"{row['name']}, {row['inputs']} inputs, batch {row['batch']}",
            row["peer"],
            ratio_text(row["ratio"]),
            *(seconds_text(row["seconds"].get(name)) for name in SIDES),
            seconds_text(row["compile_seconds"]["jaxdl"]),
        )
        for row in rows
    ]
    mean = float(np.exp(np.mean([np.log(row["ratio"]) for row in rows])))
    part = "; ".join(f"{name} {sum(name in row['seconds'] for row in rows)}" for name in PEERS)
    note = (
        f"peer : jaxdl is the time of the fastest peer over jaxdl's: geometric mean {mean:.2f}, least "
        f"{min(row['ratio'] for row in rows):.2f}. Of {len(rows)} functions, those that each peer can do: {part}."
    )
    columns = "function", "best peer", "peer : jaxdl", *SIDES, "compile"
    return Table("Laplacians", columns, cells, note, words=2)


def main(only: str = "") -> None:
    """Measure, and write table and figures.

    Args:
        only: Only functions with this text in their name; nothing is written.
    """
    rows = [measure(case) for case in CASES if only in case.name]
    for row in rows:
        print(row["name"], {k: f"{v:.0e}" for k, v in row["error"].items()}, row["left_out"])
    table(rows).print() if only else keep("laplacians", {"rows": rows}, table(rows))


if __name__ == "__main__":
    tyro.cli(main)
