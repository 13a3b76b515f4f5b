"""Evaluation of a jaxpr in double precision, whatever its floating-point types: the same formula with less rounding."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxdl import jaxpr as jx


class NoDoublePrecision(NotImplementedError):
    """An equation can be evaluated only in the types in which it was traced."""


def in_double_precision(jaxpr: Any) -> Callable[..., list]:
    """The function of a closed jaxpr with all arithmetic in float64 and complex128; it returns the list of outputs.

    Values that do not depend on the arguments (random numbers) keep their bits, in a wider format. The function can be
    traced and differentiated, and has no hand-written rules. Call it, and its transformations, inside
    `jax.enable_x64(True)` on arrays that `as_double` returned.
    """
    return lambda *args: [_double_array(y) for y in _closed(jaxpr, args)]


def as_double(x: Any) -> Any:
    """An array in float64 or complex128 if it is floating-point or complex; others unchanged."""
    return np.asarray(x, double_type(x.dtype)) if jnp.issubdtype(x.dtype, jnp.inexact) else x


def double_struct(type: Any) -> jax.ShapeDtypeStruct:
    """The type of the array that `as_double` returns for an array of this type."""
    return jax.ShapeDtypeStruct(type.shape, double_type(type.dtype))


def real_parts(x: Any) -> np.ndarray:
    """A real array in float64; of a complex array the real and imaginary parts, stacked along a new last axis."""
    x = np.asarray(x)
    return np.stack([np.real(x), np.imag(x)], -1).astype(np.float64) if np.iscomplexobj(x) else x.astype(np.float64)


def double_type(dtype: Any) -> Any:
    """float64 or complex128 for a floating-point or complex type; others unchanged."""
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
    arrays = [(x, v) for x, v in zip(args, eqn.invars, strict=True) if hasattr(x, "dtype")]
    if all(x.dtype == v.aval.dtype for x, v in arrays) and not _narrows(eqn):
        return jx.binding(eqn)(*args)
    name = eqn.primitive.name
    args = [_double_array(x) for x in args]
    if name in _TRACED_TYPES_ONLY:
        raise NoDoublePrecision(f"{name} (at {jx.where(eqn)}) cannot be evaluated in float64")
    if name in _BY_PRIMITIVE:
        return _BY_PRIMITIVE[name](eqn, args)
    if inner := _body(eqn):
        return _closed(inner, args)
    settings = {key: _double_type_of(value) for key, value in jx.parameters(eqn).items()}
    if "precision" in settings:  # it may name an algorithm that rounds to bfloat16
        settings["precision"] = None
    return jx.binding(eqn, **settings)(*args)


def _narrows(eqn):
    """Whether an equation, or one inside it, rounds float64 to fewer digits."""
    formats = lambda atoms: {v.aval.dtype for v in atoms if jnp.issubdtype(v.aval.dtype, jnp.inexact)}
    is_double = lambda dtype: dtype == double_type(dtype)
    if any(map(is_double, formats(eqn.invars))) and not all(map(is_double, formats(eqn.outvars))):
        return True
    return any(_narrows(e) for inner in jx.inner_jaxprs(eqn) for e in jx.opened(inner).eqns)


def _double_array(x):
    if not jnp.issubdtype(jnp.result_type(x), jnp.inexact):
        return x
    return lax.convert_element_type(x, double_type(jnp.result_type(x)))


def _double_type_of(value):
    return double_type(value) if isinstance(value, np.dtype) else value


def _body(eqn):
    """The jaxpr that an equation calls: of jit, of a rule's primal, of one of jaxdl's primitives."""
    if inner := jx.called(eqn):
        return inner
    if jx.inner_jaxprs(eqn):
        raise NoDoublePrecision(f"{eqn.primitive.name} (at {jx.where(eqn)}) cannot be evaluated in float64")
    return None


def _rounded(eqn, args):
    """Evaluates an operation on bits in the type for which it was traced."""
    args = [lax.convert_element_type(x, v.aval.dtype) for x, v in zip(args, eqn.invars, strict=True)]
    return jx.binding(eqn)(*args)


def _scan(eqn, args):
    p = jx.scan(eqn)
    consts, carry, xs = p.split(args)

    def body(carry, xs):
        y = [_double_array(v) for v in _closed(p.body, [*consts, *carry, *xs])]
        return y[: len(carry)], y[len(carry) :]

    carry, ys = lax.scan(body, carry, xs, length=p.length, reverse=p.reverse)
    return [*carry, *ys]


def _while(eqn, args):
    loop = jx.while_(eqn)
    of_test, of_body, carry = loop.split(args)
    test = lambda carry: _closed(loop.test, [*of_test, *carry])[0]
    body = lambda carry: [_double_array(v) for v in _closed(loop.body, [*of_body, *carry])]
    return jx.while_loop(test, body, carry)


def _cond(eqn, args):
    which, *operands = args
    branch = lambda jaxpr: lambda *given: [_double_array(v) for v in _closed(jaxpr, given)]
    return lax.switch(lax.convert_element_type(which, np.int32), [*map(branch, jx.branches(eqn))], *operands)


def _scatter(function, eqn, args):
    settings = {k: jx.parameters(eqn)[k] for k in ("dimension_numbers", "indices_are_sorted", "unique_indices", "mode")}
    return [function(*args, **settings)]


def _scatter_or_apply(eqn, args):
    """`x.at[i].set(y)` or `x.at[i].apply(f)`."""
    if jx.is_replacement(eqn):
        return _scatter(lax.scatter, eqn, args)
    operand, indices, updates = args
    body, consts = jx.scatter(eqn).update, jx.parameters(eqn)["update_consts"]
    f = lambda x: _double_array(_opened(body, consts, [x, x])[0])
    return _scatter(functools.partial(lax.scatter_apply, update_shape=updates.shape), eqn, [operand, indices, f])


def _linear_solve(eqn, args):
    """Calls the equation's own solvers, and is differentiated as the equation is: not through their steps."""
    system = jx.linear_solve(eqn)
    of_matvec, _, of_solve, of_transpose, b = system.split(args)
    solver = lambda jaxpr, consts: lambda _, b: _closed(jaxpr, [*consts, *b])
    return lax.custom_linear_solve(
        lambda x: _closed(system.matvec, [*of_matvec, *x]),
        b,
        solver(system.solve, of_solve),
        system.transpose_solve and solver(system.transpose_solve, of_transpose),
    )


_TRACED_TYPES_ONLY = {"reduce", "reduce_window", "pure_callback", "io_callback"}
_BY_PRIMITIVE = {
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "custom_linear_solve": _linear_solve,
    "bitcast_convert_type": _rounded,
    "nextafter": _rounded,
    "random_gamma": _rounded,  # another format gives another sample
    "reduce_precision": lambda eqn, args: args,
    "scatter": _scatter_or_apply,
    "scatter-add": functools.partial(_scatter, lax.scatter_add),
    "scatter-mul": functools.partial(_scatter, lax.scatter_mul),
    "scatter-min": functools.partial(_scatter, lax.scatter_min),
    "scatter-max": functools.partial(_scatter, lax.scatter_max),
}
