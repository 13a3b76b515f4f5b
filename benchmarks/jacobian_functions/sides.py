"""The sides of the comparison: jaxdl's methods, the peers, and the Jacobian by hand, each as `side(row, f, x)`."""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from jaxdl import automatic, jacobian

# Read when PyTorch is imported: its idle threads and processes must not keep the cores busy.
os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "TORCHINDUCTOR_COMPILE_THREADS": "1"}

SLOW = 10  # times the shortest first call: slower sides are called only once
TURN = 0.02  # seconds of one side's calls before the next one's

METHODS = {
    "best": jacobian.best,
    "reverse": jacobian.reverse,
    "forward": jacobian.forward,
    "cut": jacobian.cut,
    "sparse": jacobian.sparse,
    "eliminate": jacobian.eliminate,
    "structured": jacobian.structured,
}


class TakesNoPart(NotImplementedError):
    """A function that a peer cannot do, with the reason."""


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

    return by_jax(lambda f: asdex.jacobian(automatic(f), one(row, x), output_format="dense"))(row, f, x)


def by_sparsejac(row, f, x):
    """With the pattern found by jaxdl, as sparsejac finds none."""
    import sparsejac
    from jax.experimental.sparse import BCOO

    y = jax.eval_shape(f, one(row, x))
    if row.batch or x.ndim != 1 or y.ndim != 1:
        raise TakesNoPart("only functions of a vector to a vector, without vmap")

    def make(f):
        pattern = jacobian.sparse(f).plan(x).pattern
        if 2 * pattern.nnz > math.prod(pattern.shape):
            raise TakesNoPart("the Jacobian is dense")
        g = sparsejac.jacfwd(f, BCOO.from_scipy_sparse(pattern.astype(np.float32)))
        return lambda x: g(x).todense()

    return by_jax(make)(row, f, x)


def by_torch(row, f, x):
    """The faster of jacrev and jacfwd of torch.func, eager."""
    ways, x = in_torch(row, f, x)
    return min((Side(lambda way=way: way(x), 0.0) for way in ways), key=lambda side: seconds_of(side.run, 3))


def by_compiled_torch(row, f, x):
    """torch.compile of torch.func's jacrev where there are fewer outputs than inputs, of its jacfwd elsewhere.

    make_fx writes the Jacobian out in basic operations first, as torch.compile cannot read all of these functions.
    """
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    if row.name.startswith("LSTM"):
        raise TakesNoPart("the loop over characters is unrolled, and takes minutes to compile")
    fewer_outputs = jax.eval_shape(f, one(row, x)).size < one(row, x).size
    (reverse, forward), x = in_torch(row, f, x)
    torch._dynamo.reset()  # it compiles only the first eight functions of one source line
    start = time.perf_counter()
    written_out = make_fx(reverse if fewer_outputs else forward)(x)
    compiled = torch.compile(written_out, fullgraph=True)
    compiled(x)
    return Side(lambda: compiled(x), time.perf_counter() - start)


def in_torch(row, f, x):
    """(jacrev, jacfwd) of the function in PyTorch, and its argument."""
    import torch

    from benchmarks.jacobian_functions.torch_twins import twin

    torch.set_num_threads(os.cpu_count())

    g, x = twin(row.name, f, x)
    ways = torch.func.jacrev(g), torch.func.jacfwd(g)
    return (tuple(map(torch.vmap, ways)) if row.batch else ways), x


def by_casadi(row, f, x):
    """In float64, CasADi's only type; see `casadi_twins`."""
    from benchmarks.jacobian_functions.casadi_twins import compiled_by_casadi

    start = time.perf_counter()
    return Side(compiled_by_casadi(f, x, row.batch), time.perf_counter() - start)


def by_scipy(row, f, x):
    """Forward differences of the compiled function, one call for each input."""
    from scipy.optimize import approx_fprime

    if row.batch or x.size > 1000:
        raise TakesNoPart("one point, of at most 1,000 inputs")
    g = jax.jit(lambda x: f(x).ravel())
    point, call = np.asarray(x, np.float64).ravel(), lambda v: np.asarray(g(v.astype(x.dtype).reshape(x.shape)))
    return Side(lambda: approx_fprime(point, call, 1e-3), 0.0)


PEERS = {
    "jax.jacrev": by_jax(jax.jacrev),
    "jax.jacfwd": by_jax(jax.jacfwd),
    "asdex": by_asdex,
    "sparsejac": by_sparsejac,
    "PyTorch": by_torch,
    "PyTorch, compiled": by_compiled_torch,
    "CasADi": by_casadi,
    "SciPy, differences": by_scipy,
}
SWEEPING = "jax.jacrev", "jax.jacfwd", "PyTorch", "PyTorch, compiled"
SIDES = {name: by_method(name) for name in METHODS} | PEERS


def one(row, x):
    """A single point of a batch."""
    return x[0] if row.batch else x


def seconds_of(run, calls: int) -> float:
    """The shortest of some calls, after one that is not counted."""
    times = []
    for _ in range(calls + 1):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def in_turns(runs: dict[str, Callable], seconds: float) -> dict[str, np.ndarray]:
    """Seconds for each call, interleaved, in alternating order. Sides that are SLOW times slower are called only once.

    In its turn a side is called for TURN seconds: a single call would mostly measure caches that the others filled.
    """
    first = {name: seconds_of(run, 3) for name, run in runs.items()}
    slow = {name for name, t in first.items() if t > SLOW * min(first.values())}
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
