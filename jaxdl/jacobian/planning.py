"""Which method is the fastest: each is estimated, those that can win are compiled, and these are timed."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.core
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.currying import check_unambiguous
from jaxdl.jacobian.analysis.synthetic_inputs import may_be_run, random_inputs
from jaxdl.jacobian.analysis.vector_function import VectorFunction
from jaxdl.jacobian.estimation import estimated, is_small, methods, not_prepared, prepare_decided, reason
from jaxdl.jacobian.jacobian_plan import CALL, NO_TIME, JacobianPlan, Way
from jaxdl.jacobian.methods.arguments import Argnums
from jaxdl.jacobian.methods.base import P, PlannedJacobian, method
from jaxdl.jacobian.saved_plans import with_plan
from jaxdl.jacobian.verification import VerifiedJacobian

SECONDS = 5.0  # for planning
TRIAL = 0.05  # seconds to time each method
IN_A_ROW = 4  # calls, so that the first one refills the caches and wakes the threads
POINTS_AT_ONCE = 256  # for Jacobians in batches, if a single point takes less time than the call
MOST_CONSTANT = 10_000  # entries of an array that is compiled as a constant
FIRST = 3  # calls of each method; one alone may be forty times as slow, as where threads start
CLOSE = 4.0  # a method whose first calls take so many times as long as another's is not called again
NEAR = 1.25  # estimates that differ by no more say nothing
MOST_OF_TIME = 0.2  # what the compilation of a method whose estimate is not better may take
MOST_FOR_ONE = 0.4  # what that of any method may take
FEW = 3  # sweeps of one mode that may take less time than a single one of the other
FEWER = 0.9  # of the sweeps, by the same program, always take less time


def plan(
    f: Callable[..., Any],
    *args: Any,
    argnums: Argnums = 0,
    has_aux: bool = False,
    seconds: float = SECONDS,
    **kwargs: Any,
) -> JacobianPlan:
    """What each method would cost for the Jacobian of f at arguments of these types.

    The operations of each method are estimated first. Methods that can win are compiled, the most promising first, as
    long as there is time, and timed on random inputs; the others are shown with the reason. Nothing is run if f has a
    while loop, which may never end on random inputs, has effects or calls back into Python, nor in several processes,
    which must choose alike; there, and if a run fails, the estimates decide.

    | column | says |
    |---|---|
    | FLOPs | floating-point operations, as XLA counts them in the compiled program |
    | bytes | bytes that the program reads and writes, by XLA's count |
    | temporary | bytes that it takes beside its arguments and the matrix |
    | predicted | the time from the estimate alone |
    | measured | the time of a call of the jitted program on random inputs, the lower quartile of many |

    In batches (`best(f, batch=True)`) all of them are for one of the points.

    If f has keyword arguments named `argnums`, `has_aux` or `seconds`, use `best(f, …).plan(*args, **kwargs)`.

    Args:
        f: The function to differentiate.
        *args: Its arguments.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        has_aux: Whether f returns a pair (output, aux).
        seconds: About how long planning may take. With more, methods are tried that look worse.
        **kwargs: The keyword arguments of f.

    Returns:
        The plan of `best`, a report.

    Raises:
        TypeError: If `argnums`, `has_aux` or `seconds` is given and f has a parameter of that name.
        ValueError: If no method can be used.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> plan = jacobian.plan(lambda x: jnp.sin(x).sum(), jnp.ones(1000))
        >>> plan.print()  # doctest: +SKIP
    """
    given = {"argnums": argnums != 0, "has_aux": has_aux, "seconds": seconds != SECONDS}
    names = [name for name, is_given in given.items() if is_given]
    check_unambiguous("jacobian.plan", f, names, "use jacobian.best(f, {name}=…).plan(*args, {name}=…)")
    return best(f, argnums, has_aux, seconds=seconds).plan(*args, **kwargs)


@method
def best(
    f: Callable[P, Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    holomorphic: bool = False,
    *,
    seconds: float = SECONDS,
    plan: JacobianPlan | str | os.PathLike[str] | None = None,
    batch: bool | None = None,
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
        seconds: About how long planning may take, for each type of arguments, see `plan`.
        plan: A plan of this function, `plan(*args)`, or the path of the file in which it was saved: nothing is
            estimated or timed. It is refused for other programs, types, versions and values of arrays that f closes
            over.
        batch: Whether it is to be fast for many points at once, as under `jax.vmap`, and not for one. By default, if
            `jax.vmap` is seen around the call; set it where it is not, as in `jax.vmap(jax.jit(…))` or in a loop.

    Returns:
        A function of f's arguments that returns the Jacobian, as `jax.jacrev(f)` does; its `plan(*args)` is the
        `JacobianPlan`.

    Raises:
        TypeError: If f is not callable; when called, if inputs or outputs cannot be differentiated.
        ValueError: When called, if no method can be used; with the reason of each.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> jacobian.best(lambda x: x[1:] * x[:-1])(jnp.ones(5)).shape
        (4, 5)
    """
    prepare = with_plan(functools.partial(prepare_best, seconds=seconds), plan, JacobianPlan)
    return PlannedJacobian("best", f, prepare, argnums, has_aux, holomorphic, batch)


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
        TypeError: As `best`.
        ValueError: As `best`.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> y, J = jacobian.value_and_jacobian(lambda x: x[1:] * x[:-1])(jnp.ones(5))
        >>> y.shape, J.shape
        ((4,), (4, 5))
    """
    return best(f, argnums, has_aux, holomorphic).value_and_jacobian


def prepare_best(
    function: VectorFunction, seconds: float = SECONDS, decided: dict[str, Any] | None = None
) -> VerifiedJacobian:
    plan = _planned(function, seconds) if decided is None else _decided(function, decided)
    return VerifiedJacobian(function, replace(plan, function=function))


def _decided(function: VectorFunction, data: dict[str, Any]) -> JacobianPlan:
    """The plan with these data; only its best method is prepared."""
    best, *others = (Way(**{name: value for name, value in way.items() if value is not None}) for way in data["ways"])
    run = prepare_decided(function.named(best.method), data["decided"])
    return JacobianPlan(data["m"], data["n"], (replace(best, run=run, program=jax.jit(run)), *others))


def _planned(function: VectorFunction, seconds: float) -> JacobianPlan:
    # Several processes must choose alike: they time nothing.
    end = time.monotonic() + (seconds if jax.process_count() == 1 else math.inf)
    ways = _estimates(function, end)
    usable = sorted((way for way in ways if way.is_usable), key=lambda way: way.predicted)
    if len(usable) > 1 and may_be_run(function):
        usable = _tried(function, usable, seconds, end)
    plan = JacobianPlan.of(function.m, function.n, [*usable, *(way for way in ways if not way.is_usable)])
    while plan.best.compiled is None:
        try:
            plan.best.program.lower(*function.types)
            break
        except Exception as error:
            plan = plan.without_best(_refusal(error))
    return plan


def _estimates(function: VectorFunction, end: float) -> list[Way]:
    """Each method with its estimate; without, if another one is sure to be better or no time is left."""
    ways: list[Way] = []
    for name in methods(function):
        is_late = time.monotonic() > end and any(way.is_usable for way in ways)
        skipped = not_prepared(name, function, ways) or (NO_TIME if is_late else "")
        ways.append(Way(name, skipped=skipped) if skipped else _way(function, name))
    return ways


def _way(function: VectorFunction, name: str) -> Way:
    return estimated(function.named(name))


def _tried(function: VectorFunction, ways: list[Way], seconds: float, end: float) -> list[Way]:
    """The methods, the most promising first, with the times of those that can win.

    What takes long to compile comes last, and is left out if it leaves no time.
    """
    takes_long = lambda way: way.compile_seconds > MOST_OF_TIME * max(seconds, SECONDS)
    ways = sorted(ways, key=lambda way: (takes_long(way), way.predicted))
    first, *others = ways
    skipped = {way: why for way in others if (why := _no_chance(function, way, ways, seconds))}
    points = POINTS_AT_ONCE if function.in_batch and first.predicted < 2 * CALL else 0
    compiled: dict[Way, Way] = {}
    if len(skipped) < len(others):
        for way in ways:
            left = end - time.monotonic()
            if takes_long(way):
                left = min(left, MOST_FOR_ONE * seconds)
            if way not in skipped and way is not first and way.compile_seconds > left:
                skipped[way] = NO_TIME
            elif way not in skipped:
                compiled[way] = _compiled(function, way, points)
    usable = [way for way in compiled.values() if way.is_usable]
    if len(usable) > 1:
        with contextlib.suppress(Exception):  # f refuses random inputs: the estimates decide
            usable = _timed(function, usable)
    by_name = {way.method: way for way in (*compiled.values(), *usable)}
    return [replace(by_name.get(way.method, way), skipped=skipped.get(way, "")) for way in ways]


def _no_chance(function: VectorFunction, way: Way, ways: list[Way], seconds: float) -> str:
    """Why a method cannot win, or not by enough to be worth its compilation; empty if it can.

    An estimate may be wrong by a factor: the less time a method takes to compile, the worse it may look. In a batch
    fewer operations are worth a longer compilation.
    """
    first = ways[0]
    sparse = next((other for other in ways if other.method == "sparse"), None)
    if sparse and not is_small(function) and way.method in ("forward", "reverse"):
        columns, rows = sparse.run.plan.sweeps
        same, other = (columns, rows) if way.method == "forward" else (rows, columns)
        if other == 0 and same <= FEWER * way.count:
            return f"{way.count:,} sweeps; sparse takes {same:,}"
    if first.count == 1 and way.count > FEW:
        return f"{way.count:,} sweeps; {first.method} takes 1"
    ratio, share = way.operations / max(first.operations, 1), way.compile_seconds / seconds if seconds else math.inf
    clearly_less = 1 / NEAR if function.in_batch and share <= MOST_FOR_ONE else 0.0
    if ratio <= (NEAR if share <= MOST_OF_TIME else clearly_less) or ratio <= (0.1 / share) ** 2:
        return ""
    if ratio <= NEAR:
        return f"about {way.compile_seconds:.0f} s to compile, for {ratio:.1f} times the operations of {first.method}"
    fewest = min((other for other in ways if other.count), key=lambda other: other.count, default=first)
    if way.count > fewest.count:
        return f"{way.count:,} sweeps; {fewest.method} takes {fewest.count:,}"
    return f"about {ratio:.1f} times the operations of {first.method}"


def _compiled(function: VectorFunction, way: Way, points: int) -> Way:
    """The method, compiled for one point or for several at once, with the costs that XLA counts for one."""
    constants = _constants(function)
    variables = [type for type, value in zip(function.types, constants, strict=True) if value is None]

    def program(*variables):
        given = iter(variables)
        return way.program(*(next(given) if value is None else value for value in constants))

    if points:
        program = jax.vmap(program, (0, *[None] * (len(variables) - 1)))
        variables[0] = jax.ShapeDtypeStruct((points, function.n), function.x.dtype)
    try:
        compiled = jax.jit(program).lower(*variables).compile()
    except Exception as error:
        return replace(way, refused=_refusal(error))
    cost: Any = compiled.cost_analysis() or {}
    memory, count = compiled.memory_analysis(), max(points, 1)
    return replace(
        way,
        predicted=way.predicted - CALL + CALL / count,
        flops=cost.get("flops", math.nan) / count,
        bytes=cost.get("bytes accessed", math.nan) / count,
        temporary=math.nan if memory is None else memory.temp_size_in_bytes / count,
        compiled=compiled,
        points=points,
        variables=tuple(i for i, value in enumerate(constants) if value is None),
    )


def _constants(function: VectorFunction) -> list[Any]:
    """For each argument its value if it is part of the program, as it is where a user compiles `best(f)`, else None.

    XLA computes what depends on constants alone while it compiles. That takes long for large ones: they are arguments.
    """
    is_part = lambda c: c is not None and not isinstance(c, jax.core.Tracer) and np.size(c) <= MOST_CONSTANT
    constants = [c if is_part(c) else None for c in function.constants]
    return [None, *constants, *[None] * (len(function.others) - len(constants))]


def _refusal(error: Exception) -> str:
    if jx.is_spoilt_trace(error):
        raise error
    return reason(error)


def _timed(function: VectorFunction, ways: list[Way]) -> list[Way]:
    """The methods with their times on random inputs: the lower quartile of calls, a few in a row by each in turn.

    Calls of a program with several threads take two times, that where the threads are awake, as in a loop, and one of
    some 30 µs more; and other programs on the machine delay some calls of any.
    """
    with jax.ensure_compile_time_eval():
        random = np.random.default_rng(0)
        inputs = random_inputs(random.normal, function)
        inputs = ways[0].arguments(*inputs)
        times = {way: [min(_seconds(way, inputs) for _ in range(FIRST))] for way in ways}
        close = [way for way in ways if times[way][0] <= CLOSE * min(times.values())[0]]
        end = time.perf_counter() + TRIAL * len(close)
        for way in close:
            times[way] = []
        rounds = 0
        while rounds < 2 or (time.perf_counter() < end and rounds < 1000):
            for i in random.permutation(len(close)):
                times[close[i]] += [_seconds(close[i], inputs) for _ in range(IN_A_ROW)]
            rounds += 1
    quartile = lambda way: float(np.quantile(times[way][IN_A_ROW:] or times[way], 0.25))
    return [replace(way, measured=quartile(way) / max(way.points, 1)) for way in ways]


def _seconds(way: Way, inputs: list[Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(way.compiled(*inputs))
    return time.perf_counter() - start
