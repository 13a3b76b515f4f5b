"""The Jacobian from values of the function alone: a reference with no derivative rule in it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.double_precision import in_double_precision
from jaxdl.jacobian.methods.base import Vector, method
from jaxdl.report import error_text

LEVELS = 9  # steps h, h/4, …, h/4⁸
FIRST = 2.0**-2
TINY = 1e-30  # added to i·h, it is far below the rounding of x, and there is no difference to cancel

# fmt: off
ANALYTIC = frozenset((
    "add", "sub", "mul", "div", "neg", "exp", "exp2", "expm1", "log", "log1p", "log2", "sin", "cos", "tan", "sinh",
    "cosh", "tanh", "asin", "acos", "atan", "asinh", "acosh", "atanh", "sqrt", "rsqrt", "square", "integer_pow",
    "logistic", "one_minus_square", "polynomial", "dot_general", "conv_general_dilated", "reduce_sum", "cumsum",
    "broadcast_in_dim", "reshape", "transpose", "squeeze", "slice", "concatenate", "pad", "rev", "split", "copy",
    "copy_p", "expand_dims", "add_any", "gather", "dynamic_slice", "dynamic_update_slice", "reduce_window_sum",
))
# fmt: on


@method
def finite(vector: Vector):
    """The Jacobian by finite differences in float64, whatever f's own precision: the reference for the other methods.

    Where the jaxpr of f has only analytic operations it is the imaginary part of f(x + ih)/h, exact to rounding (Squire
    and Trapp 1998); else central differences, extrapolated to step 0 (Richardson; each entry from the place of the
    table that is least uncertain, as Ridders 1982). At a kink this gives the mean of the one-sided derivatives.
    Every operation of f is done in float64, also where f rounds to another format. Inside jit that needs
    jax_enable_x64. Takes f, argnums, has_aux as `jax.jacrev`; complex arguments are refused.
    """
    if jnp.issubdtype(vector.x.dtype, jnp.complexfloating):
        raise TypeError("jacobian.finite differentiates along the real axis: complex arguments are not supported")
    columns, of = (by_complex_step, _stepped) if analytic(vector.jaxpr) else (by_differences, in_double_precision)

    def run(x, *others):
        if jx.is_staged(x) and not jax.config.jax_enable_x64:
            raise TypeError("jacobian.finite computes in float64: call it outside jit, or turn jax_enable_x64 on")
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
            try:
                others = [*map(_wide, others)]
                matrix = columns(lambda x: of(vector.jaxpr)(x, *others)[0], _wide(x))
            except Exception as error:
                reason = error_text(error)
                raise TypeError(f"jacobian.finite computes in float64, in which f cannot run: {reason}") from error
            return matrix.astype(x.dtype)

    return run


def _wide(a):
    to = _widest(np.dtype(jnp.result_type(a)) if not jx.is_key(a) else None, jnp.float64)
    return jnp.asarray(a).astype(to) if to else a


def _stepped(jaxpr):
    """The function of a jaxpr with complex128 in place of what takes the imaginary step, float64 of what is real."""
    return lambda *args: jx.evaluate(jaxpr, args, _stepping)


def _stepping(eqn):
    if inner := jx.inner_jaxprs(eqn):
        return _stepped(*inner)
    kinds = [v.aval.dtype for v in eqn.invars]

    def run(*args):
        stepped = any(_is(kind, jnp.floating) and jnp.iscomplexobj(a) for a, kind in zip(args, kinds, strict=True))
        to = functools.partial(_widest, real=jnp.complex128 if stepped else jnp.float64)
        alike = [jnp.asarray(a).astype(to(kind)) if to(kind) else a for a, kind in zip(args, kinds, strict=True)]
        return jx.binding(eqn, **{k: to(v) for k, v in jx.parameters(eqn).items() if to(v)})(*alike)

    return run


def _widest(dtype, real):
    """The format in place of this one; None where it stays, and for what is none."""
    return jnp.dtype(real) if _is(dtype, jnp.floating) else jnp.dtype("complex128") if _is(dtype, jnp.inexact) else None


def _is(dtype, kind):
    return isinstance(dtype, np.dtype) and jnp.issubdtype(dtype, kind)


def analytic(jaxpr) -> bool:
    """Whether every operation is one that the complex plane knows, jit's bodies looked into."""
    return all(
        all(analytic(inner) for inner in jx.inner_jaxprs(eqn))
        if eqn.primitive.name == "jit"
        else eqn.primitive.name in ANALYTIC
        for eqn in jx.opened(jaxpr).eqns
    )


def by_complex_step(f, x):
    column = lambda e: jnp.imag(f(x + 1j * TINY * e)) / TINY
    matrix = jax.vmap(column, out_axes=1)(jnp.eye(x.size))
    return jnp.where(jnp.isnan(f(x))[:, None], jnp.nan, matrix)


def by_differences(f, x):
    return jax.vmap(lambda e: extrapolated(f, x, e), out_axes=1)(jnp.eye(x.size))


def extrapolated(f, x, e):
    """Richardson's table of the derivative along e, T[i][0] the central difference at step i, and

    T[i][j] = T[i][j−1] + (T[i][j−1] − T[i−1][j−1])/(16ʲ − 1).
    """
    scale = jnp.maximum(jnp.abs(x @ e), 1.0)
    previous, best, least = [], jnp.nan, jnp.inf
    for i in range(LEVELS):
        h = FIRST / 4**i * scale
        row = [(f(x + h * e) - f(x - h * e)) / (2 * h)]
        for j, above in enumerate(previous, 1):
            row.append(row[-1] + (row[-1] - above) / (16**j - 1))
            error = jnp.maximum(jnp.abs(row[-1] - row[-2]), jnp.abs(row[-1] - above))
            best, least = jnp.where(error < least, row[-1], best), jnp.fmin(error, least)
        previous = row
    return best
