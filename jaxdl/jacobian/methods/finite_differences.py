"""The Jacobian from values of the function alone: a reference that uses no derivative rule."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.double_precision import double_type, in_double_precision
from jaxdl.jacobian.analysis.vector_function import VectorFunction
from jaxdl.jacobian.methods.arguments import Argnums
from jaxdl.jacobian.methods.base import Jacobian, P, method
from jaxdl.report import error_text

LEVELS = 9  # steps h, h/4, …, h/4⁸
FIRST = 2.0**-2
TINY = 1e-30  # the imaginary step: far below the rounding of x, and no difference cancels

# fmt: off
# Not convolutions: JAX multiplies complex ones by three real products, whose rounding is larger than the step.
ANALYTIC = frozenset((
    "add", "sub", "mul", "div", "neg", "exp", "exp2", "expm1", "log", "log1p", "log2", "sin", "cos", "tan", "sinh",
    "cosh", "tanh", "asin", "acos", "atan", "asinh", "acosh", "atanh", "sqrt", "rsqrt", "square", "integer_pow",
    "logistic", "one_minus_square", "polynomial", "dot_general", "reduce_sum", "cumsum",
    "broadcast_in_dim", "reshape", "transpose", "squeeze", "slice", "concatenate", "pad", "rev", "split", "copy",
    "copy_p", "expand_dims", "add_any", "gather", "dynamic_slice", "dynamic_update_slice", "reduce_window_sum",
))
# fmt: on


@method
def finite(f: Callable[P, Any], argnums: Argnums = 0, has_aux: bool = False, holomorphic: bool = False) -> Jacobian[P]:
    """The Jacobian by finite differences in float64, in any precision of f: a reference for the other methods.

    If the jaxpr of f has only analytic operations, the derivative is the imaginary part of f(x + ih)/h, exact to
    rounding (Squire and Trapp 1998); otherwise central differences, extrapolated to step 0 (Richardson; of the table,
    each entry is taken from the least uncertain place, as Ridders 1982). At a kink that is the mean of the one-sided
    derivatives. All operations of f are done in float64, also where f rounds to another format.

    Args:
        f: The function to differentiate.
        argnums: Which arguments to differentiate, as in `jax.jacrev`.
        has_aux: Whether f returns a pair (output, aux).
        holomorphic: Must be False.

    Returns:
        A function of f's arguments that returns the Jacobian, as `jax.jacrev(f)` does, in f's own precision. Inside jit
        it needs jax_enable_x64.

    Raises:
        TypeError: If f is not callable; when called, if arguments are complex, f cannot run in float64, or inside jit
            without jax_enable_x64.

    Examples:
        >>> import jax.numpy as jnp
        >>> from jaxdl import jacobian
        >>> jacobian.finite(jnp.sin)(jnp.zeros(2)).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return Jacobian("finite", f, _prepare, argnums, has_aux, holomorphic)


def _prepare(function: VectorFunction) -> Callable[..., jax.Array]:
    if jnp.issubdtype(function.x.dtype, jnp.complexfloating):
        raise TypeError("jacobian.finite differentiates along the real axis: complex arguments are not supported")
    if analytic(function.jaxpr):
        columns, evaluated = by_complex_step, _with_complex_step
    else:
        columns, evaluated = by_differences, in_double_precision

    def run(x, *others: Any):
        if jx.is_staged(x) and not jax.config.read("jax_enable_x64"):
            raise TypeError("jacobian.finite computes in float64: call it outside jit, or turn jax_enable_x64 on")
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
            try:
                doubles = [*map(_as_double, others)]
                matrix = columns(lambda x: evaluated(function.jaxpr)(x, *doubles)[0], _as_double(x))
            except Exception as error:
                reason = error_text(error)
                raise TypeError(f"jacobian.finite computes in float64, in which f cannot run: {reason}") from error
            return matrix.astype(x.dtype)

    return run


def _as_double(a: Any) -> Any:
    return jnp.asarray(a).astype(double_type(a.dtype)) if jnp.issubdtype(a.dtype, jnp.inexact) else a


def _with_complex_step(jaxpr: Any) -> Callable[..., Any]:
    """The function of a jaxpr in complex128 where values depend on the imaginary step, else in float64."""
    return lambda *args: jx.evaluate(jaxpr, args, _complex_equation)


def _complex_equation(eqn: Any) -> Callable[..., Any]:
    if inner := jx.inner_jaxprs(eqn):
        return _with_complex_step(*inner)
    dtypes = [v.aval.dtype for v in eqn.invars]

    def run(*args):
        has_step = any(_is(dtype, jnp.floating) and jnp.iscomplexobj(a) for a, dtype in zip(args, dtypes, strict=True))
        widest = functools.partial(_widest, real=jnp.complex128 if has_step else jnp.float64)
        inputs = [jnp.asarray(a).astype(to) if (to := widest(d)) else a for a, d in zip(args, dtypes, strict=True)]
        parameters = {name: to for name, value in jx.parameters(eqn).items() if (to := widest(value))}
        return jx.binding(eqn, **parameters)(*inputs)

    return run


def _widest(dtype: Any, real: Any) -> Any:
    """The widest dtype of a kind, with `real` for real numbers; None for others and for what is no dtype."""
    return jnp.dtype(real) if _is(dtype, jnp.floating) else jnp.dtype("complex128") if _is(dtype, jnp.inexact) else None


def _is(dtype: Any, kind: Any) -> bool:
    return isinstance(dtype, np.dtype) and jnp.issubdtype(dtype, kind)


def analytic(jaxpr: Any) -> bool:
    """Whether all operations are analytic, also in the bodies of jit."""
    return all(
        all(analytic(inner) for inner in jx.inner_jaxprs(eqn))
        if eqn.primitive.name == "jit"
        else eqn.primitive.name in ANALYTIC
        for eqn in jx.opened(jaxpr).eqns
    )


def by_complex_step(f: Callable[..., Any], x: jax.Array) -> jax.Array:
    column = lambda e: jnp.imag(f(x + 1j * TINY * e)) / TINY
    matrix = jax.vmap(column, out_axes=1)(jnp.eye(x.size))
    return jnp.where(jnp.isnan(f(x))[:, None], jnp.nan, matrix)


def by_differences(f: Callable[..., Any], x: jax.Array) -> jax.Array:
    return jax.vmap(lambda e: extrapolated(f, x, e), out_axes=1)(jnp.eye(x.size))


def extrapolated(f: Callable[..., Any], x: jax.Array, e: jax.Array) -> jax.Array:
    """The derivative along e from Richardson's table, where T[i][0] is the central difference at step i, and

    T[i][j] = T[i][j−1] + (T[i][j−1] − T[i−1][j−1])/(16ʲ − 1).
    """
    scale = jnp.maximum(jnp.abs(x @ e), 1.0)
    previous, best, least = [], jnp.asarray(jnp.nan), jnp.asarray(jnp.inf)
    for i in range(LEVELS):
        h = FIRST / 4**i * scale
        row = [(f(x + h * e) - f(x - h * e)) / (2 * h)]
        for j, above in enumerate(previous, 1):
            row.append(row[-1] + (row[-1] - above) / (16**j - 1))
            error = jnp.maximum(jnp.abs(row[-1] - row[-2]), jnp.abs(row[-1] - above))
            best, least = jnp.where(error < least, row[-1], best), jnp.fmin(error, least)
        previous = row
    return best
