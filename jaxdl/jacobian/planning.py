"""Which method is the fastest: each is prepared and compiled, its cost is read, and close ones are timed."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.currying import check_unambiguous
from jaxdl.jacobian.analysis.operation_counts import MOVED, work_of
from jaxdl.jacobian.analysis.synthetic_inputs import may_be_run, random_inputs
from jaxdl.jacobian.analysis.vector_function import VectorFunction
from jaxdl.jacobian.jacobian_plan import JacobianPlan, Way
from jaxdl.jacobian.methods.arguments import Argnums
from jaxdl.jacobian.methods.base import P, PlannedJacobian, method
from jaxdl.jacobian.methods.cutting import prepare_cut
from jaxdl.jacobian.methods.gradients import prepare_reverse_over_forward
from jaxdl.jacobian.methods.sparse_jacobians import prepare_sparse
from jaxdl.jacobian.methods.structure import prepare_operator
from jaxdl.jacobian.methods.sweeps import prepare_forward, prepare_reverse
from jaxdl.jacobian.methods.vertex_elimination import prepare_elimination
from jaxdl.jacobian.verification import VerifiedJacobian


def prepare_structured(function: VectorFunction) -> Callable[..., jax.Array]:
    """The operator of `structured` as a matrix."""
    operator = prepare_operator(function)
    return lambda x, *others: operator(x, *others).dense()


PREPARE: dict[str, Callable[[VectorFunction], Any]] = {
    "reverse": prepare_reverse,
    "forward": prepare_forward,
    "cut": prepare_cut,
    "sparse": prepare_sparse,
    "eliminate": functools.partial(prepare_elimination, seconds=1.0),
    "structured": prepare_structured,
}

# Those for Hessians only; the others are forward over reverse, reverse over reverse, … there.
PREPARE_HESSIAN: dict[str, Callable[[VectorFunction], Any]] = {"reverse over forward": prepare_reverse_over_forward}

# Measured on two cores; only their ratios matter.
SECONDS_PER = {"flops": 1e-11, "bytes accessed": 7e-11, "transcendentals": 1e-9}
CALL = 5e-6  # seconds
MOST_SCALARS = 2000  # straight-line code for more takes minutes to compile
CLOSE = 4.0  # predictions differ from measured times by up to a factor of two, either way
TRIAL = 0.03  # seconds to time each method
IN_A_ROW = 4  # calls, so that the first one refills the caches
POINTS_AT_ONCE = 256  # points at once, if a single one takes less time than the call


def plan(f: Callable[..., Any], *args: Any, argnums: Argnums = 0, has_aux: bool = False, **kwargs: Any) -> JacobianPlan:
    """What each method would cost for the Jacobian of f at arguments of these types.

    All methods are compiled, one after the other. Those with close predicted times are timed on random inputs. Nothing
    is run if f has a while loop, which may never end on random inputs, has effects or calls back into Python, nor in
    several processes, which must choose alike; there, and if a run fails, the predicted times decide.

    If f has keyword arguments named `argnums` or `has_aux`, use `best(f, …).plan(*args, **kwargs)`.

    Args:
        f: The function to differentiate.
        *args: Its arguments.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        has_aux: Whether f returns a pair (output, aux).
        **kwargs: The keyword arguments of f.

    Returns:
        The plan of `best`, a report.

    Raises:
        TypeError: If `argnums` or `has_aux` is given and f has a parameter of that name.
        ValueError: If no method can be used.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> plan = jacobian.plan(lambda x: jnp.sin(x).sum(), jnp.ones(1000))
        >>> plan.print()  # doctest: +SKIP
    """
    given = [name for name, is_given in (("argnums", argnums != 0), ("has_aux", has_aux)) if is_given]
    check_unambiguous("jacobian.plan", f, given, "use jacobian.best(f, {name}=…).plan(*args, {name}=…)")
    return best(f, argnums, has_aux).plan(*args, **kwargs)


@method
def best(
    f: Callable[P, Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
) -> PlannedJacobian[P, JacobianPlan]:
    """The Jacobian by the method that `plan` finds to be the fastest for these types of arguments.

    To choose takes some compilations, once for each type of arguments, also while an outer function is traced. The
    matrix of the chosen method is compared with one random product by JAX before it is used, once for each plan; a
    method that is wrong is refused. If f must not be run on random inputs and is only traced, the comparison is part of
    the program, and a wrong matrix is NaN.

    Args:
        f: The function to differentiate.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        has_aux: Whether f returns a pair (output, aux).
        holomorphic: Whether f is a holomorphic function of complex numbers.

    Returns:
        A function of f's arguments that returns the Jacobian, as `jax.jacrev(f)` does; its `plan(*args)` is the
        `JacobianPlan`.

    Raises:
        TypeError: If f is not callable; when called, if inputs or outputs cannot be differentiated.
        ValueError: When called, if no method can be used; with the reason of each.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> jacobian.best(lambda x: x[1:] * x[:-1])(jnp.ones(5)).shape
        (4, 5)
    """
    return PlannedJacobian("best", f, prepare_best, argnums, has_aux, holomorphic)


@method
def value_and_jacobian(
    f: Callable[P, Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False
) -> Callable[P, tuple[Any, Any]]:
    """The value of f and its Jacobian by `best`, from one forward pass where the method has one.

    Every method has it as a method: `jacobian.reverse(f).value_and_jacobian(*args)`.

    Args:
        f: The function to differentiate.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        has_aux: Whether f returns a pair (output, aux).
        holomorphic: Whether f is a holomorphic function of complex numbers.

    Returns:
        A function of f's arguments that returns f(*args) and the Jacobian; with `has_aux` ((output, aux), Jacobian), as
        `jax.value_and_grad` does.

    Raises:
        TypeError, ValueError: As `best`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> y, J = jacobian.value_and_jacobian(lambda x: x[1:] * x[:-1])(jnp.ones(5))
        >>> y.shape, J.shape
        ((4,), (4, 5))
    """
    return best(f, argnums, has_aux, holomorphic).value_and_jacobian


def prepare_best(function: VectorFunction) -> VerifiedJacobian:
    return VerifiedJacobian(function, _planned(function))


def _planned(function: VectorFunction) -> JacobianPlan:
    ways = [_way(function, name) for name in _methods(function)]
    usable = sorted((way for way in ways if not way.refused), key=lambda way: way.seconds)
    close = [way for way in usable if way.predicted < CLOSE * usable[0].predicted]
    if len(close) > 1 and may_be_run(function):
        with contextlib.suppress(Exception):  # f refuses random inputs: the predicted times decide
            usable = _timed(function, close) + usable[len(close) :]
    return JacobianPlan.of(function.m, function.n, [*usable, *(way for way in ways if way.refused)])


def _methods(function: VectorFunction) -> dict[str, Callable[[VectorFunction], Any]]:
    return PREPARE if function.potential is None else PREPARE | PREPARE_HESSIAN


def _way(function: VectorFunction, name: str) -> Way:
    """A method, prepared and compiled, with the costs that XLA counts. Any error of the method is why it is refused."""
    if name == "eliminate" and not _is_small(function):
        return Way(
            name, refused=f"more than {MOST_SCALARS:,} scalar operations: its program would take long to compile"
        )
    if name == "eliminate" and jax.process_count() > 1:
        return Way(name, refused="a search with a time limit may find another order in another process")
    try:
        run = _methods(function)[name](replace(function, name=name))
        if why := _no_gain(name, function, run):
            return Way(name, refused=why)
        program = jax.jit(run)
        compiled = program.lower(*function.types).compile()
    except Exception as error:
        if jx.is_spoilt_trace(error):
            raise
        return Way(name, refused=_reason(error))
    cost: Any = compiled.cost_analysis() or {}
    memory = compiled.memory_analysis()
    return Way(
        name,
        _sweeps(name, function, run),
        flops=cost.get("flops", math.nan),
        bytes=cost.get("bytes accessed", math.nan),
        temporary=math.nan if memory is None else memory.temp_size_in_bytes,
        predicted=CALL + sum(rate * cost.get(key, 0.0) for key, rate in SECONDS_PER.items()),
        run=run,
        program=program,
        compiled=compiled,
    )


def _reason(error: Exception) -> str:
    """The message of an error, without the notes that JAX adds."""
    text = str(error).split("\n\n")[0].split("\n---")[0].strip()
    return (
        text if isinstance(error, ValueError | TypeError) and text else f"{type(error).__name__}: {text}".rstrip(": ")
    )


def _is_small(function: VectorFunction) -> bool:
    """Whether f has few scalar operations: then the form of the program matters more than the number of sweeps."""
    return work_of(function.jaxpr) <= MOST_SCALARS * MOVED


def _no_gain(name: str, function: VectorFunction, run: Any) -> str:
    """Why a method has no advantage over plain sweeps; empty if it has."""
    if name == "cut" and len(run.sizes) == 2:
        return "no place is narrower than the input and the output"
    if name == "sparse" and sum(run.plan.sweeps) >= min(function.m, function.n) and not _is_small(function):
        return "no two rows or columns can share a sweep"
    if name == "eliminate" and run.plan.multiplications["found"] > MOST_SCALARS:
        return f"more than {MOST_SCALARS:,} multiplications: its program would take long to compile"
    return ""


def _sweeps(name: str, function: VectorFunction, run: Any) -> str:
    match name:
        case "reverse" | "reverse over forward":
            return f"{function.m:,} rows"
        case "forward":
            return f"{function.n:,} columns"
        case "cut":
            return f"{run.plan.sweeps:,} across {' → '.join(f'{size:,}' for size in run.sizes)}"
        case "sparse":
            columns, rows = run.plan.sweeps
            return f"{columns:,} columns, {rows:,} rows"
        case "eliminate":
            return f"{run.plan.multiplications['found']:,} multiplications"
    return "layer by layer"


def _timed(function: VectorFunction, ways: list[Way]) -> list[Way]:
    """The methods with their times on random inputs: the median of several calls, interleaved."""
    batch = POINTS_AT_ONCE if ways[0].predicted < 2 * CALL else 0
    with jax.ensure_compile_time_eval():
        inputs = random_inputs(np.random.default_rng(0).normal, function)
        if batch:
            inputs[0] = jnp.stack([inputs[0]] * batch)
        programs = {way: _in_batches(way, inputs) if batch else way.compiled for way in ways}
        times: dict[Way, list[float]] = {way: [] for way in ways}
        end = time.perf_counter() + TRIAL * len(ways)
        rounds = 0
        while rounds < 3 or (time.perf_counter() < end and rounds < 1000):
            for way in ways:
                for _ in range(IN_A_ROW):
                    start = time.perf_counter()
                    jax.block_until_ready(programs[way](*inputs))
                    times[way].append(time.perf_counter() - start)
            rounds += 1
    return [replace(way, measured=float(np.median(times[way][IN_A_ROW:])) / max(batch, 1)) for way in ways]


def _in_batches(way: Way, inputs: list[Any]) -> Callable[..., Any]:
    return jax.jit(jax.vmap(way.program, (0, *[None] * (len(inputs) - 1)))).lower(*inputs).compile()
