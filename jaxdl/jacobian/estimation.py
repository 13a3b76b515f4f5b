"""What each method would cost, estimated before anything is compiled.

The unit is an operation. For a function of few scalars it is a floating-point operation, as the whole program becomes
one loop; else the unit of `operation_counts`, in which to move an entry costs more.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax

from jaxdl import jaxpr as jx
from jaxdl.jacobian.analysis.operation_counts import MOVED, work_of
from jaxdl.jacobian.analysis.vector_function import VectorFunction
from jaxdl.jacobian.jacobian_plan import CALL, Way
from jaxdl.jacobian.methods.cutting import prepare_cut
from jaxdl.jacobian.methods.gradients import prepare_reverse_over_forward
from jaxdl.jacobian.methods.sparse_jacobians import prepare_sparse
from jaxdl.jacobian.methods.structure import prepare_operator
from jaxdl.jacobian.methods.sweeps import prepare_forward, prepare_reverse
from jaxdl.jacobian.methods.vertex_elimination import EliminationPlan, prepare_elimination
from jaxdl.report import plural_text


def prepare_structured(function: VectorFunction) -> Callable[..., jax.Array]:
    """The operator of `structured` as a matrix."""
    operator = prepare_operator(function)
    return lambda x, *others: operator(x, *others).dense()


# In this order: the first ones tell which of the others need not be prepared.
PREPARE: dict[str, Callable[[VectorFunction], Any]] = {
    "forward": prepare_forward,
    "reverse": prepare_reverse,
    "cut": prepare_cut,
    "sparse": prepare_sparse,
    "eliminate": functools.partial(prepare_elimination, seconds=0.3),
    "structured": prepare_structured,
}
# Those for Hessians only; the others are forward over reverse, reverse over reverse, … there.
PREPARE_HESSIAN: dict[str, Callable[[VectorFunction], Any]] = {"reverse over forward": prepare_reverse_over_forward}
SWEEPS = {"reverse": "rows", "forward": "columns", "reverse over forward": "rows"}

# Measured on two cores; only their ratios matter.
SECONDS_PER_WORK, SECONDS_PER_FLOP = 1e-11, 1e-10
COMPILATION, PER_EQUATION, PER_LINE = 0.03, 0.0015, 0.015  # seconds; lines are those of an elimination's matrix
MOST_SCALARS = 2000  # straight-line code for more takes minutes to compile
MOST_JOINED = 10  # with each more, XLA's program for the code of an elimination takes some 2.4 times as long
MOST_LINES, LEAST_RATIO = 32, 1.25  # longer code of an elimination that takes more operations is not written
MOST_STRUCTURED = 60  # equations of a function of scalars: its operators have some eight times as many


def methods(function: VectorFunction) -> dict[str, Callable[[VectorFunction], Any]]:
    """What prepares each method for a function."""
    return PREPARE if function.potential is None else PREPARE | PREPARE_HESSIAN


def prepare_decided(function: VectorFunction, decided: dict[str, Any] | None) -> Any:
    """A method (the name of the function) with what it decided before."""
    match function.name:
        case "sparse":
            return prepare_sparse(function, decided=decided)
        case "cut":
            return prepare_cut(function, decided=decided)
        case "eliminate" if decided is not None:
            return prepare_elimination(function, plan=EliminationPlan.of_data(decided))
    return methods(function)[function.name](function)


def is_small(function: VectorFunction) -> bool:
    """Whether f has few scalar operations: then the form of the program matters more than the number of sweeps."""
    return work_of(function.jaxpr) <= MOST_SCALARS * MOVED


def not_prepared(name: str, function: VectorFunction, ways: Sequence[Way]) -> str:
    """Why a method need not be prepared, as one of the usable `ways` is better; empty if it must be."""
    m, n = function.m, function.n
    found = {way.method: way for way in ways if way.is_usable}
    if m == 1 and "reverse" in found:
        return "one reverse sweep is enough"
    if n == 1 and "forward" in found:
        return "one forward sweep is enough"
    if name not in ("eliminate", "structured") or not is_small(function):
        return ""
    if name == "structured":
        long = len(jx.opened(function.jaxpr).eqns) > MOST_STRUCTURED
        return "of so many scalar equations, it takes long to compile" if long else ""
    sparse = found.get("sparse")
    entries = m * n if sparse is None else sparse.run.plan.pattern.nnz
    if entries > MOST_SCALARS:
        return f"it is for matrices of up to {MOST_SCALARS:,} entries, not {entries:,}"
    lines = min(m, n)
    if sparse is not None and lines > MOST_LINES:
        ratio = (2 * m * n + lines * entries) / sparse.operations
        return f"at least {ratio:.1f} times the operations of sparse" if ratio > LEAST_RATIO else ""
    return ""


def estimated(function: VectorFunction) -> Way:
    """A method (the name of the function), prepared and traced, with its estimate.

    Any error of the method is why it is refused.
    """
    name = function.name
    try:
        if refused := _refused(function):
            return Way(name, refused=refused)
        run = methods(function)[name](function)
        if no_gain := _no_gain(function, run):
            return Way(name, refused=no_gain)
        program = jax.jit(run)
        traced = program.trace(*function.types).jaxpr
        primitives = list(jx.primitives(traced))
    except Exception as error:
        if jx.is_spoilt_trace(error):
            raise
        return Way(name, refused=reason(error, name))
    if "custom_lin" in primitives:  # JAX refuses it when it is lowered
        return Way(name, refused="a custom_vjp has no forward mode")
    count, text = _sweeps(function, run)
    lines = _lines(traced) if name == "eliminate" else []
    operations = _operations(function, run, count, traced) + sum(size * parts for size, parts in lines)
    return Way(
        name,
        text,
        flops=count * jx.flops(function.jaxpr) if count else jx.flops(traced),
        predicted=CALL + operations * (SECONDS_PER_FLOP if is_small(function) else SECONDS_PER_WORK),
        count=count,
        operations=operations,
        compile_seconds=COMPILATION + PER_EQUATION * len(primitives) + PER_LINE * len(lines),
        run=run,
        program=program,
    )


def reason(error: Exception, name: str = "") -> str:
    """The message of an error of method `name`, without its own name, other methods to use, and JAX's notes."""
    text = str(error).split("\n\n")[0].split("\n---")[0].strip()
    text = text.removeprefix(f"jacobian.{name}: ")
    text = re.sub(r"; (use )?jacobian\.[^;]*$", "", text)
    return (
        text if isinstance(error, ValueError | TypeError) and text else f"{type(error).__name__}: {text}".rstrip(": ")
    )


def _refused(function: VectorFunction) -> str:
    if function.name != "eliminate":
        return ""
    if not is_small(function):
        return f"more than {MOST_SCALARS:,} scalar operations: its program would take long to compile"
    if (joined := _most_joined(jx.opened(jx.inlined(function.jaxpr)))) > MOST_JOINED:
        return (
            f"arrays are joined from entries of others {joined} times in a row, and XLA would compute them repeatedly"
        )
    if jax.process_count() > 1:
        return "a search with a time limit may find another order in another process"
    return ""


def _most_joined(jaxpr: Any) -> int:
    """The most concatenations one after the other."""
    joined: dict[Any, int] = {}
    for eqn in jaxpr.eqns:
        before = max((joined.get(v, 0) for v in eqn.invars if jx.is_variable(v)), default=0)
        joined.update((v, before + (eqn.primitive.name in ("concatenate", "stack"))) for v in eqn.outvars)
    return max(joined.values(), default=0)


def _no_gain(function: VectorFunction, run: Any) -> str:
    """Why a method has no advantage over plain sweeps; empty if it has."""
    name = function.name
    if name == "cut" and len(run.sizes) == 2:
        return "no place is narrower than the input and the output"
    if name == "sparse" and sum(run.plan.sweeps) >= min(function.m, function.n) and not is_small(function):
        return "no two rows or columns can share a sweep"
    if name == "eliminate" and run.plan.multiplications["found"] > MOST_SCALARS:
        return f"more than {MOST_SCALARS:,} multiplications: its program would take long to compile"
    return ""


def _sweeps(function: VectorFunction, run: Any) -> tuple[int, str]:
    """The number of sweeps through the whole function, 0 if there are none; and what the plan's table shows."""
    match function.name:
        case "reverse" | "reverse over forward":
            return function.m, plural_text(function.m, "row")
        case "forward":
            return function.n, plural_text(function.n, "column")
        case "sparse":
            columns, rows = run.plan.sweeps
            texts = [plural_text(n, noun) for n, noun in ((columns, "column"), (rows, "row")) if n]
            return columns + rows, ", ".join(texts) or "none"
        case "cut":
            return 0, f"{run.plan.sweeps:,} across {' → '.join(f'{size:,}' for size in run.sizes)}"
        case "eliminate":
            return 0, plural_text(run.plan.multiplications["found"], "multiplication")
    return 0, "layer by layer"


def _lines(traced: Any) -> list[tuple[int, int]]:
    """The vectors that are joined from parts: their sizes and numbers of parts.

    XLA compiles each to a loop that asks for each entry of which part it is.
    """
    joined = [eqn for eqn in jx.opened(jx.inlined(traced)).eqns if eqn.primitive.name == "concatenate"]
    return [(eqn.outvars[0].aval.size, len(eqn.invars)) for eqn in joined if eqn.outvars[0].aval.ndim == 1]


def _operations(function: VectorFunction, run: Any, sweeps: int, traced: Any) -> float:
    """The operations of a method, with those to write the matrix.

    Sweeps are counted, as what a hand-written rule does under vmap is not seen in the traced program.
    """
    entries = function.m * function.n
    if is_small(function):
        counted = (1 + 2 * sweeps) * jx.flops(function.jaxpr) if sweeps else 0.0
        return 2 * entries + max(counted, jx.flops(traced))
    if sweeps:
        return MOVED * entries + sweeps * work_of(function.jaxpr)
    return MOVED * entries + run.cost if function.name == "cut" else work_of(traced)
