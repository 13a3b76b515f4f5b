"""Each tool on a case, compared with JAX, and the verdict on results and errors."""

import linecache
import time
import traceback
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

import jaxdl
from benchmarks.harnesses.cases import Case, draw
from benchmarks.time_limit import TookTooLong, at_most
from jaxdl import exact, jacobian

OURS = str(Path(jaxdl.__file__).parent)
ROUNDINGS = 400  # allowed machine epsilons of the dtype, relative to the largest entry
CLEAR = (TypeError, ValueError, NotImplementedError)
RIGHT, BEYOND, REFUSED, AS_JAX = "right", "beyond JAX", "refused", "as JAX"
SLOW, WRONG, CRASHED = "too slow", "wrong", "crashed"


class Differs(Exception):
    """A tool's result differs from JAX's."""


class NotJudged(Exception):
    """A tool gives a result where JAX has none."""


def of_jax(case: Case, what: str):
    """JAX's result for a case; raises NotJudged where JAX raises."""
    try:
        return getattr(case, what)
    except Exception as error:  # JAX may raise anything
        raise NotJudged(said(error)) from error


# --- the tools ---------------------------------------------------------------------------------------


def exact_value(case: Case) -> None:
    found = jax.tree.leaves(exact.evaluate(case.f, digits=20)(*case.args))
    for i, (got, want) in enumerate(zip(found, case.value, strict=True)):
        same(numbers(got), want, f"output {i}", COARSE.get(case.group))


def exact_slope(case: Case) -> None:
    """The derivative in one direction; at kinks and jumps JAX may have any value between the sides."""
    if case.group in NO_SLOPE or (case.dtype.startswith("complex") and case.group in OTHERWISE_IN_JAX):
        raise NotJudged("JAX's derivative is a different one")
    along = iter(case.tangents)
    directions = tuple(next(along) if i in case.moving else None for i in range(len(case.args)))
    found = exact.derivative(case.smooth, digits=15, along=directions)(*case.args)
    values = case.smooth(*case.args)
    for i, (slope, y, want) in enumerate(zip(found, values, of_jax(case, "tangents_out"), strict=True)):
        free = (
            slope.is_kink | slope.is_jump | slope.is_infinite | ~np.isfinite(np.asarray(y, numbers(slope.value).dtype))
        )
        got = numbers(slope.value)
        got = np.where(free, np.asarray(want).astype(got.dtype), got)
        same(got, want, f"tangent {i}", COARSE.get(case.group))


def source(case: Case) -> None:
    written = {}
    exec(compile(jaxdl.source(case.f, *case.args), f"<source of {case.name}>", "exec"), written)
    rule = next(value for name, value in written.items() if name.endswith("_rule"))
    is_smooth = case.is_smooth

    def run(args, cotangents):
        y, pullback = rule(*args)
        given = iter(cotangents)
        dy = jax.tree.map(lambda y: next(given) if jnp.issubdtype(y.dtype, jnp.inexact) else None, y)
        return y, pullback(dy) if is_smooth else None

    y, found = jax.jit(run)(case.args, case.cotangents)
    for i, (got, want) in enumerate(zip(jax.tree.leaves(y), case.value, strict=True)):
        same(got, want, f"output {i}")
    if case.is_smooth:
        gradients_agree(case, [found[i] for i in case.moving])


def trace(case: Case) -> None:
    graph = jaxdl.trace(case.f)(*case.args).evaluate()
    for i, (output, want) in enumerate(zip(graph.flat_outputs, case.value, strict=True)):
        same(output.node.kept[output.place], want, f"output {i}")
    if case.is_smooth:
        given = iter(case.cotangents)
        cotangents = [next(given) if jnp.issubdtype(y.dtype, jnp.inexact) else None for y in case.value]
        graph.backward(cotangents)
        gradients_agree(case, [graph.flat_arguments[i].node.adjoint for i in case.moving])


def gradients_agree(case, found):
    for place, got, want in zip(case.moving, found, of_jax(case, "gradients"), strict=True):
        same(got, want, f"gradient in argument {place}")


def matrix(method, **options):
    def tool(case: Case) -> None:
        f, args = case.real
        found = jax.jit(method(f, case.moving or (0,), **options))(*args)
        rows = [y.size for y in jax.eval_shape(f, *args) for _ in case.moving]
        flat = lambda blocks: [
            np.asarray(x).reshape(n, -1) if x.size else np.zeros((n, 0), x.dtype)
            for n, x in zip(rows, jax.tree.leaves(blocks), strict=True)
        ]
        for i, (got, want) in enumerate(zip(flat(found), flat(of_jax(case, "matrix")), strict=True)):
            same_matrix(got, want, lambda i=i: flat(case.matrix_forward)[i], f"block {i}")

    return tool


def structured(case: Case) -> None:
    """The matrix, and a product with a vector from either side."""
    f, args = case.real
    lazy = jacobian.structured(f, case.moving or (0,))
    if not case.moving:
        lazy(*args)

    @jax.jit
    def products(args, v, w):
        operator = lazy(*args)
        return operator.dense(), operator @ v, operator.T @ w

    outputs = jax.eval_shape(f, *args)
    sizes = [args[i].size for i in case.moving]
    dtype = jnp.result_type(*[args[i] for i in case.moving])
    v, w = (draw((n,), dtype, n) for n in (sum(sizes), sum(y.size for y in outputs)))
    found, forward, back = products(args, v, w)
    flat = lambda y, row: [np.asarray(x, dtype).reshape(y.size, n) for x, n in zip(row, sizes, strict=True)]
    joined = lambda rows: np.block([flat(y, row) for y, row in zip(outputs, rows, strict=True)])
    want = joined(of_jax(case, "matrix"))
    same_matrix(np.asarray(found), want, lambda: joined(case.matrix_forward), "matrix")
    if np.isfinite(want).all():
        formats = {x.dtype for x in (*(args[i] for i in case.moving), *outputs)}
        coarsest = ROUNDINGS * max(float(jnp.finfo(x).eps) for x in formats)
        same(forward, want @ np.asarray(v), "J @ v", coarsest)
        same(back, want.T @ np.asarray(w), "J.T @ w", coarsest)


def same_matrix(got, want, forward, what):
    """Compares (m, n) matrices. A sweep may multiply a non-finite entry by 0 in its row or column: NaN is right there,
    and so is 0 at the entry."""
    if got.shape == want.shape and not (np.isfinite(want) & np.isfinite(got)).all():
        by_columns = forward()
        unbounded = ~np.isfinite(want) | ~np.isfinite(by_columns)
        doubtful = unbounded.any(0, keepdims=True) | unbounded.any(1, keepdims=True)
        want = np.where(np.isfinite(want), want, by_columns)
        want = np.where((unbounded & (got == 0)) | (doubtful & ~np.isfinite(got)), got, want)
    same(got, want, what)


TOOLS = {
    "exact": exact_value,
    "exact slope": exact_slope,
    "source": source,
    "trace": trace,
    "sparse": matrix(jacobian.sparse),
    "cut": matrix(jacobian.cut),
    "structured": structured,
    "eliminate": matrix(jacobian.eliminate, seconds=0.02),
}
SMOOTH_ONLY = {"exact slope"}

# As documented, exact does not round, and its derivative is that of the values: JAX's stops at stop_gradient, and reads
# one triangle of a matrix, as if perturbations were symmetric.
COARSE = {"reduce_precision": 2**-7}
NO_SLOPE = {"stop_gradient", "cholesky", "eigh"}
# JAX's derivative has the wrong sign left of the imaginary axis (acosh), and is 0 for the sign of a complex number,
# z / |z|; the phase of singular vectors is arbitrary.
OTHERWISE_IN_JAX = {"acosh", "sign", "svd"}


# --- the verdict -------------------------------------------------------------------------------------


def numbers(x):
    """mpmath numbers rounded to NumPy's."""
    x = np.asarray(x)
    if not x.dtype.hasobject:
        return x
    is_complex = any(isinstance(v, mpmath.mpc) for v in x.flat)
    return np.array([complex(v) if is_complex else float(v) for v in x.flat]).reshape(x.shape)


def same(got, want, what, allowed=None):
    """Raises Differs, naming the first entry that differs by more than `allowed` times the largest entry."""
    kind = want.dtype
    if jnp.issubdtype(kind, jax.dtypes.extended):
        got, want = map(jax.random.key_data, (got, want))
    if np.shape(got) != np.shape(want):
        raise Differs(f"{what}: shape {np.shape(got)}, expected {np.shape(want)}")
    if jnp.issubdtype(kind, jnp.inexact):
        wide = np.complex128 if jnp.issubdtype(kind, jnp.complexfloating) else np.float64
        got, want = (np.asarray(x).astype(wide) for x in (got, want))
        bad = ~alike(got, want, allowed or ROUNDINGS * float(jnp.finfo(kind).eps))
    else:
        got, want = np.asarray(got), np.asarray(want)
        bad = got != want
    if bad.any():
        at = tuple(int(i) for i in np.argwhere(bad)[0])
        raise Differs(f"{what}: {int(bad.sum())} of {bad.size} entries, at {at} {got[at]}, expected {want[at]}")


def alike(got, want, allowed):
    """Entry by entry; all non-finite complex numbers are equal."""
    finite = np.isfinite(want) & np.isfinite(got)
    apart = np.abs(np.where(finite, got, 0) - np.where(finite, want, 0))
    close = finite & (apart <= allowed * max(np.abs(want[finite]).max(initial=0), 1e-3))
    unbounded = (np.isnan(got) & np.isnan(want)) | (got == want)
    return close | (unbounded if np.isrealobj(want) else ~np.isfinite(got) & ~np.isfinite(want))


def verdict(tool: str, case: Case, seconds: float) -> dict:
    """The status of one tool on one case, its message, and the seconds it took."""
    start = time.perf_counter()
    try:
        with warnings.catch_warnings(), at_most(seconds):
            warnings.simplefilter("ignore")
            TOOLS[tool](case)
        status, note = RIGHT, ""
    except TookTooLong as error:
        status, note = SLOW, str(error)
    except NotJudged as nothing:
        status, note = BEYOND, str(nothing)
    except Differs as difference:
        status, note = WRONG, str(difference)
    except Exception as error:  # `status_of` decides whether it is a clear refusal
        status, note = status_of(error, case), said(error)
    return {"status": status, "note": note, "seconds": round(time.perf_counter() - start, 3)}


def status_of(error: Exception, case: Case) -> str:
    """Refused where jaxdl raises it with a message; as JAX where JAX's derivative raises it too.

    A message of jaxdl around an exception that JAX's derivative does not raise is a crash.
    """
    frame = traceback.extract_tb(error.__traceback__)[-1]
    raised = linecache.getline(frame.filename, frame.lineno).strip().startswith("raise")
    if frame.filename.startswith(OURS) and raised and isinstance(error, CLEAR) and str(error):
        return REFUSED if error.__cause__ is None or said(error.__cause__) in refusals_of_jax(case) else CRASHED
    return AS_JAX if said(error) in refusals_of_jax(case) else CRASHED


def refusals_of_jax(case: Case) -> list[str]:
    found = []
    for read in ("value", "gradients", "tangents_out", "matrix"):
        try:
            getattr(case, read)
        except Exception as error:  # JAX may raise anything
            found.append(said(error))
    return found


def said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
