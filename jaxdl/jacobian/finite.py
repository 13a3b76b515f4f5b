"""The Jacobian from values of the function alone: a reference with no derivative rule in it."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.jacobian.method import Vector, method
from jaxdl.jacobian.vector import join, split
from jaxdl.report import error_text

LEVELS = 9  # steps h, h/4, …, h/4⁸
FIRST = 2.0**-2
TINY = 1e-30  # added to i·h, it is far below the rounding of x, and there is no difference to cancel

DRAWS = re.compile("random_bits|threefry2x32|rng_|random_gamma")
OPENED = jx.CALLS | jx.CHECKPOINTS | jx.RULES

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
    f must run in float64: arguments are converted, arrays that it closes over must promote. Inside jit that needs
    jax_enable_x64. Takes f, argnums, has_aux as `jax.jacrev`; complex arguments are refused.
    """
    if jnp.issubdtype(vector.x.dtype, jnp.complexfloating):
        raise TypeError("jacobian.finite differentiates along the real axis: complex arguments are not supported")
    columns = by_complex_step if analytic(vector.jaxpr) else by_differences

    def run(x, *others):
        if jx.is_staged(x) and not jax.config.jax_enable_x64:
            raise TypeError("jacobian.finite computes in float64: call it outside jit, or turn jax_enable_x64 on")
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
            try:
                matrix = columns(lambda x: widened(vector, x, others), wide(x))
            except Exception as error:
                reason = error_text(error)
                raise TypeError(f"jacobian.finite computes in float64, in which f cannot run: {reason}") from error
            return matrix.astype(x.dtype)

    return run


def wide(a):
    to = _widest(np.dtype(jnp.result_type(a)) if not jx.is_key(a) else None, jnp.float64)
    return jnp.asarray(a).astype(to) if to else a


def widened(vector, x, others):
    """f with float64 in place of every narrower format: its equations where there are no loops, else as it is written.

    Written in float32, arrays that f closes over would not meet x in the same format in all of JAX's functions.
    """
    if not all(map(_opens_up, jx.equations(vector.jaxpr))):
        if drawn := sorted(set(filter(DRAWS.match, jx.primitives(vector.jaxpr)))):
            raise TypeError(f"in another format {drawn[0]} draws other numbers, beside a loop")
        y = vector.written(split(x, vector.inputs), *map(wide, others[len(vector.constants) :]))
        return join(list(map(jnp.asarray, jax.tree.leaves(y))))
    return _in_float64(vector.jaxpr, (x, *map(wide, others)))[0]


def _opens_up(eqn):
    """Whether an equation can be evaluated in another format: not a loop, whose body is of the one it has."""
    return not jx.inner_jaxprs(eqn) or eqn.primitive.name in OPENED


def _in_float64(jaxpr, args):
    consts = [wide(c) for c in getattr(jaxpr, "consts", ())]
    return jx.evaluate_opened(jaxpr, consts, args, _widening)


def _widening(eqn):
    """In place of an equation: its body opened up, or the same in float64; in complex128 what is complex, or all that
    takes the imaginary step."""
    inner = jx.inner_jaxprs(eqn)
    if inner and eqn.primitive.name in OPENED:
        return lambda *args: _in_float64(inner[0], args)
    if eqn.primitive.name == "bitcast_convert_type":  # the bits are those of its own format
        return lambda x: jx.binding(eqn)(x.astype(eqn.invars[0].aval.dtype))

    def run(*args):
        kinds = [v.aval.dtype for v in eqn.invars]
        stepped = any(_is(kind, jnp.floating) and jnp.iscomplexobj(a) for a, kind in zip(args, kinds, strict=True))
        to = functools.partial(_widest, real=jnp.complex128 if stepped else jnp.float64)
        alike = [jnp.asarray(a).astype(to(kind)) if to(kind) else a for a, kind in zip(args, kinds, strict=True)]
        return jx.binding(eqn, **{k: to(v) for k, v in eqn.params.items() if to(v)})(*alike)

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
