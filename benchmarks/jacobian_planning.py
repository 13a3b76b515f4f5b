"""How long planning takes: seconds of processor time, each in a fresh process.

    python -m benchmarks.jacobian_planning [--only TEXT]

`best` plans each function of the quick set of `benchmarks.jacobians`, and some for which the number of operations of
the program says little about the time to compile it; `cut` plans a deep narrow network; and a first call of
`sparse_hessian` stands beside one of `jax.jit(jax.hessian(f))`.
"""

import multiprocessing
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.jacobian_functions.table import ROWS
from benchmarks.results_folder import keep
from jaxdl import jacobian
from jaxdl.report import Table, seconds_text


def loop(x):
    """40 lines."""
    for _ in range(40):
        x = jnp.sin(x) * jnp.roll(x, 1) + 0.1 * x**2
    return x


def lorenz(p):
    """25 steps of Euler's method, by the three parameters."""
    s, b, r = p
    x = jnp.array([1.0, 2.0, 3.0])
    for _ in range(25):
        x = x + 0.01 * jnp.stack([s * (x[1] - x[0]), x[0] * (r - x[2]) - x[1], x[0] * x[1] - b * x[2]])
    return x


def recurrent(h):
    """Six steps of a gated recurrent unit of width 24."""
    random = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(random.normal(size=shape, scale=0.3), jnp.float32)
    w, u, xs = draw(24, 72), draw(24, 72), draw(6, 24)
    for x in xs:
        a, b = x @ w, h @ u
        reset, update = jax.nn.sigmoid(a[:24] + b[:24]), jax.nn.sigmoid(a[24:48] + b[24:48])
        h = (1 - update) * jnp.tanh(a[48:] + reset * b[48:]) + update * h
    return h


def exponentials(x):
    """The product of the exponentials of two 4 × 4 matrices."""
    a, b = x.reshape(2, 4, 4)
    return jax.scipy.linalg.expm(a) @ jax.scipy.linalg.expm(b)


def narrow(x):
    """160 layers of width 8 between 40 inputs and 40 outputs."""
    random = np.random.default_rng(0)
    layers = jnp.asarray(random.normal(size=(160, 8, 8)), jnp.float32)
    ends = jnp.asarray(random.normal(size=(8, 40)), jnp.float32)
    h = ends @ x
    for layer in layers:
        h = jnp.tanh(layer @ h)
    return ends.T @ h


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def differences(x):
    return jnp.diff(jnp.exp(x))


def plan(make: Callable, method=jacobian.best, **options) -> Callable:
    def run():
        f, x, *_ = make()
        start = time.process_time()
        found = method(f, **options).plan(x)
        return time.process_time() - start, found.best.method if method is jacobian.best else method.__name__

    return run


def first_call(make: Callable) -> Callable:
    def run():
        x = jnp.linspace(0, 1, 8)
        start = time.process_time()
        jax.block_until_ready(make(rosenbrock)(x))
        return time.process_time() - start, "first call"

    return run


CASES: dict[str, Callable] = {row.label: plan(row.make, batch=row.batch > 1) for row in ROWS if row.quick} | {
    "loop of 40 lines": plan(lambda: (loop, jnp.linspace(0.1, 1, 10))),
    "Lorenz system by 3 parameters": plan(lambda: (lorenz, jnp.array([10.0, 8 / 3, 28.0]))),
    "gated recurrent unit": plan(lambda: (recurrent, jnp.zeros(24))),
    "exponentials of two matrices": plan(lambda: (exponentials, jnp.linspace(0, 0.3, 32))),
    "differences of 50 exponentials": plan(lambda: (differences, jnp.linspace(0, 1, 50))),
    "differences of 400 exponentials": plan(lambda: (differences, jnp.linspace(0, 1, 400))),
    "narrow network, 160 layers": plan(lambda: (narrow, jnp.ones(40)), jacobian.cut),
    "Hessian, 8 variables: jit(jax.hessian)": first_call(lambda f: jax.jit(jax.hessian(f))),
    "Hessian, 8 variables: sparse_hessian": first_call(jacobian.sparse_hessian),
}


def measured(name: str) -> tuple[str, float, str]:
    jax.block_until_ready(jax.jit(jnp.sin)(jnp.ones(3)))  # JAX starts
    seconds, method = CASES[name]()
    return name, seconds, method


def main(only: str = "") -> None:
    """Plan every function.

    Args:
        only: Only functions with this text in their name; nothing is written.
    """
    names = [name for name in CASES if only in name]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        rows = list(pool.imap(measured, names, chunksize=1))
    longest = max(rows, key=lambda row: row[1])
    cells = [(name, method, seconds_text(seconds)) for name, seconds, method in rows]
    note = f"Processor time, which counts all threads. The longest: {longest[0]}, {seconds_text(longest[1])}."
    table = Table("Seconds of processor time to plan", ("function", "method", "time"), cells, note, words=2)
    if only:
        return table.print()
    keep("jacobian_planning", {"rows": rows}, table)


if __name__ == "__main__":
    tyro.cli(main)
