"""A jaxpr evaluated in float64, in whatever floating-point types it was traced: the same formula, rounded less."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl import jaxpr as jx


class NotWidened(NotImplementedError):
    """An equation that works in the types only in which it was traced."""


def widened(jaxpr):
    """The function of a closed jaxpr with all arithmetic in float64 and complex128; the list of its outputs.

    What does not come from the arguments (random numbers) keeps its bits. Traceable and differentiable, with no
    hand-written rules in it. Call it, and what is made of it, inside `jax.enable_x64(True)`, on arrays in `wide`.
    """
    return lambda *args: _closed(jaxpr, args)


def wide(x):
    """An array, or a type of one, in float64 or complex128 if it is floating-point; else as it is."""
    if isinstance(x, jax.ShapeDtypeStruct):
        return jax.ShapeDtypeStruct(x.shape, wide_type(x.dtype))
    return np.asarray(x, wide_type(x.dtype)) if jnp.issubdtype(x.dtype, jnp.inexact) else x


def parts(x):
    """In float64; of a complex array the real and the imaginary part, along an axis more."""
    x = np.asarray(x)
    return np.stack([x.real, x.imag], -1).astype(np.float64) if np.iscomplexobj(x) else x.astype(np.float64)


def wide_type(dtype):
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return np.dtype(np.complex128)
    return np.dtype(np.float64) if jnp.issubdtype(dtype, jnp.floating) else dtype


def _closed(jaxpr, args):
    return _opened(jaxpr, getattr(jaxpr, "consts", ()), args)


def _opened(jaxpr, consts, args):
    plain = jx.opened(jaxpr)
    values = dict(zip(plain.constvars, consts, strict=True)) | dict(zip(plain.invars, args, strict=True))
    for eqn in plain.eqns:
        y = _equation(eqn, [jx.value_of(atom, values) for atom in eqn.invars])
        values.update(zip(eqn.outvars, y, strict=True))
    return [jx.value_of(atom, values) for atom in plain.outvars]


def _equation(eqn, args):
    is_native = all(x.dtype == v.aval.dtype for x, v in zip(args, eqn.invars, strict=True) if hasattr(x, "dtype"))
    if is_native and not _narrows(eqn):
        return jx.binding(eqn)(*args)
    name = eqn.primitive.name
    args = [_widened_array(x) for x in args]
    if name in _NATIVE_ONLY:
        raise NotWidened(f"{name} (at {jx.where(eqn)}) cannot be evaluated in float64")
    if name in _BUILT_ANEW:
        return _BUILT_ANEW[name](eqn, args)
    if inner := _body(eqn):
        return _closed(inner, args)
    settings = {key: _widened_type(value) for key, value in jx.parameters(eqn).items()}
    if "precision" in settings:  # which may be an algorithm that rounds to bfloat16
        settings["precision"] = None
    return jx.binding(eqn, **settings)(*args)


def _narrows(eqn):
    """Whether float64 is rounded to fewer digits in an equation, or inside of it."""
    formats = lambda atoms: {v.aval.dtype for v in atoms if jnp.issubdtype(v.aval.dtype, jnp.inexact)}
    is_wide = lambda dtype: dtype == wide_type(dtype)
    if any(map(is_wide, formats(eqn.invars))) and not all(map(is_wide, formats(eqn.outvars))):
        return True
    return any(_narrows(e) for inner in jx.inner_jaxprs(eqn) for e in jx.opened(inner).eqns)


def _widened_array(x):
    if not jnp.issubdtype(jnp.result_type(x), jnp.inexact):
        return x
    return lax.convert_element_type(x, wide_type(jnp.result_type(x)))


def _widened_type(value):
    return wide_type(value) if isinstance(value, np.dtype) else value


def _body(eqn):
    """The jaxpr that an equation only calls: of jit, of a rule's primal, of a primitive of jaxdl."""
    if inner := jx.called(eqn):
        return inner
    if jx.inner_jaxprs(eqn):
        raise NotWidened(f"{eqn.primitive.name} (at {jx.where(eqn)}) cannot be evaluated in float64")
    return None


def _rounded(eqn, args):
    """What works on bits gets the numbers in the type whose bits they are."""
    args = [lax.convert_element_type(x, v.aval.dtype) for x, v in zip(args, eqn.invars, strict=True)]
    return jx.binding(eqn)(*args)


def _scan(eqn, args):
    p = jx.scan(eqn)
    consts, carry, xs = p.split(args)

    def body(carry, xs):
        y = [_widened_array(v) for v in _closed(p.body, [*consts, *carry, *xs])]
        return y[: len(carry)], y[len(carry) :]

    carry, ys = lax.scan(body, carry, xs, length=p.length, reverse=p.reverse)
    return [*carry, *ys]


def _while(eqn, args):
    loop = jx.while_(eqn)
    of_test, of_body, carry = loop.split(args)
    test = lambda carry: _closed(loop.test, [*of_test, *carry])[0]
    body = lambda carry: [_widened_array(v) for v in _closed(loop.body, [*of_body, *carry])]
    return jx.while_loop(test, body, carry)


def _cond(eqn, args):
    which, *operands = args
    branch = lambda jaxpr: lambda *given: [_widened_array(v) for v in _closed(jaxpr, given)]
    return lax.switch(lax.convert_element_type(which, np.int32), [*map(branch, jx.branches(eqn))], *operands)


def _scatter(function, eqn, args):
    settings = {k: jx.parameters(eqn)[k] for k in ("dimension_numbers", "indices_are_sorted", "unique_indices", "mode")}
    return [function(*args, **settings)]


def _linear_solve(eqn, args):
    """By its own solver."""
    system = jx.linear_solve(eqn)
    return _closed(system.solve, system.inputs_of_solve(args))


_NATIVE_ONLY = {"reduce", "reduce_window", "pure_callback", "io_callback"}
_BUILT_ANEW = {
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "custom_linear_solve": _linear_solve,
    "bitcast_convert_type": _rounded,
    "nextafter": _rounded,
    "random_gamma": _rounded,  # a draw in another format is another draw
    "reduce_precision": lambda eqn, args: args,
    "scatter": functools.partial(_scatter, lax.scatter),
    "scatter-add": functools.partial(_scatter, lax.scatter_add),
    "scatter-mul": functools.partial(_scatter, lax.scatter_mul),
    "scatter-min": functools.partial(_scatter, lax.scatter_min),
    "scatter-max": functools.partial(_scatter, lax.scatter_max),
}
