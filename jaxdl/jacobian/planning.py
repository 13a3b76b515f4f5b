"""Which way to a Jacobian is the cheapest: every method is prepared and compiled, its cost read, close ones tried."""

import contextlib
import functools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.operation_counts import MOVED, work_of
from jaxdl.jacobian.analysis.synthetic_inputs import drawn, may_be_run
from jaxdl.jacobian.methods.base import Vector, method
from jaxdl.jacobian.methods.cutting import cut
from jaxdl.jacobian.methods.sparse_jacobians import sparse
from jaxdl.jacobian.methods.structure import operator_of
from jaxdl.jacobian.methods.sweeps import forward, reverse
from jaxdl.jacobian.methods.vertex_elimination import eliminate
from jaxdl.jacobian.verification import Trusted
from jaxdl.report import Table, bytes_text, count_text, seconds_text


def multiplied_out(vector: Vector):
    """The operator of `structured` as a matrix."""
    operator = operator_of(vector)
    return lambda x, *others: operator(x, *others).dense()


METHODS = reverse, forward, cut, sparse
PREPARE = {m.__name__: m.__wrapped__ for m in METHODS} | {
    "eliminate": functools.partial(eliminate.__wrapped__, seconds=1.0),
    "structured": multiplied_out,
}

# Of two cores, but what counts is how they compare.
SECONDS_PER = {"flops": 1e-11, "bytes accessed": 7e-11, "transcendentals": 1e-9}
CALL = 5e-6
SCALARS = 2000  # for more, straight-line code takes minutes to compile
CLOSE = 4.0  # predictions differ from measured times by up to a factor of two, either way
TRIED = 0.03  # seconds for each that is tried
IN_A_ROW = 4  # or each would find the caches full of what the others left there
BATCH = 256  # points at once, where one is so little work that calling costs more


@dataclass(frozen=True, eq=False)
class Way:
    """A method on one function: its sweeps in words, what XLA counts in the compiled program, and the time.

    flops, bytes: as compiled; temporary: bytes beside arguments and result; predicted and measured: seconds (measured
    is None where nothing else came close); refused: why the method cannot be used, else empty.
    """

    method: str
    sweeps: str = ""
    flops: float = math.nan
    bytes: float = math.nan
    temporary: float = math.nan
    predicted: float = math.inf
    measured: float | None = None
    refused: str = ""
    run: Callable | None = None  # of the vector, as `best` calls it
    program: Callable | None = None  # the same, jitted, of the vector by itself
    compiled: Callable | None = None

    @property
    def seconds(self) -> float:
        return self.predicted if self.measured is None else self.measured


@dataclass(frozen=True)
class Plan:
    """The ways to one Jacobian of m rows and n columns, the fastest first; `str` of it is a table that says why."""

    m: int
    n: int
    ways: tuple

    @classmethod
    def of(cls, m, n, ways) -> "Plan":
        """Sorts the ways, those that were tried first. Raises ValueError with the reasons where all are refused."""
        ways = sorted(ways, key=lambda way: (bool(way.refused), way.measured is None, way.seconds))
        if ways[0].refused:
            reasons = "\n".join(f"{way.method}: {way.refused}" for way in ways)
            raise ValueError(f"jacobian.best: no method gives this Jacobian.\n{reasons}")
        return cls(m, n, tuple(ways))

    @property
    def best(self) -> Way:
        return self.ways[0]

    def without_best(self, why: str) -> "Plan":
        """The plan with its best way refused."""
        return Plan.of(self.m, self.n, [replace(self.best, refused=why), *self.ways[1:]])

    def __str__(self):
        return str(self.table())

    def table(self) -> Table:
        """One row for each method that can be used, the fastest first; the note says why others cannot."""
        title = f"Jacobian of {self.m:,} × {self.n:,}: {self.why}"
        columns = "method", "sweeps", "FLOPs", "bytes", "temporary", "predicted", "measured"
        note = "\n".join(f"{way.method}: {way.refused}" for way in self.ways if way.refused)
        return Table(title, columns, [_row(way) for way in self.ways if not way.refused], note, words=2)

    @property
    def why(self) -> str:
        first, *others = (way for way in self.ways if not way.refused)
        if not others:
            return f"{first.method} is the only way"
        how = "measured" if first.measured is not None else "predicted"
        return (
            f"{first.method}, {others[0].seconds / first.seconds:.2g} times as fast as {others[0].method} and "
            f"{max(w.seconds for w in others) / first.seconds:.2g} times as the slowest ({how})"
        )


def plan(f: Callable, *args, argnums=0, has_aux=False, **kwargs) -> Plan:
    """What each method would cost for the Jacobian of f at arguments of these types: the `Plan` of `best`.

    Methods are compiled for it, one after the other; those whose predicted times lie close together are run a few
    times, on numbers drawn for it. No run where f has a while loop, which might not end on such numbers, where it has
    effects or calls back into Python, nor in several processes, which must choose alike: there the prediction decides,
    and where a run fails.
    """
    return best(f, argnums, has_aux).evaluated(lambda call: call.plan, args, kwargs)


@method
def best(vector: Vector):
    """The Jacobian by the method that `plan` finds the fastest for these types of arguments.

    Takes f, argnums and has_aux as `jax.jacrev`. Choosing takes some compilations, once for each type of arguments,
    also while an outer function is traced. The matrix of the chosen method is compared with one random product by JAX
    before it is trusted, once for each plan; a method that is wrong is put aside. Where a plan is made for a jitted
    function that must not be run on drawn numbers, the comparison is part of the program, and a wrong matrix is NaN.
    Raises ValueError with every method's reason where none can be used.
    """
    return Best(vector)


class Best(Trusted):
    """`run(x, *others)` by the best way of its `plan`."""

    def __init__(self, vector: Vector):
        super().__init__(vector, planned(vector))


def planned(vector: Vector) -> Plan:
    ways = [_way(vector, m) for m in PREPARE]
    usable = sorted((way for way in ways if not way.refused), key=lambda way: way.seconds)
    close = [way for way in usable if way.predicted < CLOSE * usable[0].predicted]
    if len(close) > 1 and may_be_run(vector):
        with contextlib.suppress(Exception):  # f refuses the numbers drawn for it: then the prediction decides
            usable = _tried(vector, close) + usable[len(close) :]
    return Plan.of(vector.m, vector.n, [*usable, *(way for way in ways if way.refused)])


def _way(vector, name) -> Way:
    """The method prepared and compiled by itself, and what XLA counts; any error of it is why it is refused."""
    if name == "eliminate" and not _is_small(vector):
        return Way(name, refused=f"more than {SCALARS:,} scalar operations: its program would take long to compile")
    if name == "eliminate" and jax.process_count() > 1:
        return Way(name, refused="a search that time ends may find another order in another process")
    try:
        run = PREPARE[name](replace(vector, name=name))
        if why := _pointless(name, vector, run):
            return Way(name, refused=why)
        program = jax.jit(run)
        compiled = program.lower(*vector.types).compile()
    except Exception as error:
        if jx.is_spoilt_trace(error):
            raise
        return Way(name, refused=_reason(error))
    cost = compiled.cost_analysis() or {}
    predicted = CALL + sum(rate * cost.get(key, 0.0) for key, rate in SECONDS_PER.items())
    temporary = compiled.memory_analysis().temp_size_in_bytes
    flops, moved = (cost.get(key, math.nan) for key in ("flops", "bytes accessed"))
    counted = flops, moved, temporary, predicted
    return Way(name, _sweeps(name, vector, run), *counted, run=run, program=program, compiled=compiled)


def _reason(error) -> str:
    """What an error says, without the notes that JAX adds."""
    text = str(error).split("\n\n")[0].split("\n---")[0].strip()
    return (
        text if isinstance(error, ValueError | TypeError) and text else f"{type(error).__name__}: {text}".rstrip(": ")
    )


def _is_small(vector) -> bool:
    """Whether f is some scalars only: then it is the form of the program that counts, more than the sweeps."""
    return work_of(vector.jaxpr) <= SCALARS * MOVED


def _pointless(name, vector, run) -> str:
    """Why a method would do no more than plain sweeps."""
    if name == "cut" and len(run.sizes) == 2:
        return "no place is narrower than the input and the output"
    if name == "sparse" and sum(run.plan.sweeps) >= min(vector.m, vector.n) and not _is_small(vector):
        return "no two rows or columns can share a sweep"
    if name == "eliminate" and run.plan.multiplications["found"] > SCALARS:
        return f"more than {SCALARS:,} multiplications: its program would take long to compile"
    return ""


def _sweeps(name, vector, run) -> str:
    match name:
        case "reverse":
            return f"{vector.m:,} rows"
        case "forward":
            return f"{vector.n:,} columns"
        case "cut":
            return f"{run.sweeps:,} across {' → '.join(f'{size:,}' for size in run.sizes)}"
        case "sparse":
            columns, rows = run.plan.sweeps
            return f"{columns:,} columns, {rows:,} rows"
        case "eliminate":
            return f"{run.plan.multiplications['found']:,} multiplications"
    return "layer by layer"


def _tried(vector, ways) -> list[Way]:
    """The ways with the time of the compiled program on drawn numbers: the median of several calls, in turn."""
    batch = BATCH if ways[0].predicted < 2 * CALL else 0
    with jax.ensure_compile_time_eval():
        inputs = drawn(np.random.default_rng(0).normal, vector)
        if batch:
            inputs[0] = jnp.stack([inputs[0]] * batch)
        programs = {way: _in_batches(way, inputs) if batch else way.compiled for way in ways}
        times = {way: [] for way in ways}
        end = time.perf_counter() + TRIED * len(ways)
        rounds = 0
        while rounds < 3 or (time.perf_counter() < end and rounds < 1000):
            for way in ways:
                for _ in range(IN_A_ROW):
                    start = time.perf_counter()
                    jax.block_until_ready(programs[way](*inputs))
                    times[way].append(time.perf_counter() - start)
            rounds += 1
    return [replace(way, measured=float(np.median(times[way][IN_A_ROW:])) / max(batch, 1)) for way in ways]


def _in_batches(way, inputs):
    return jax.jit(jax.vmap(way.program, (0, *[None] * (len(inputs) - 1)))).lower(*inputs).compile()


def _row(way) -> tuple[str, ...]:
    measured = "" if way.measured is None else seconds_text(way.measured)
    counts = count_text(way.flops), bytes_text(way.bytes), bytes_text(way.temporary)
    return way.method, way.sweeps, *counts, seconds_text(way.predicted), measured
