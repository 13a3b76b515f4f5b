"""A key for programs: equal for two traces of a function if they are the same program.

The key has the equations, parameters and types, but not the constants: arrays that a function closes over are inputs
of the program. A function is traced at each call, as in `jax.jacrev`, because what it closes over may have changed; the
analysis of the program is kept under this key. A hand-written rule is a new function in each trace: it counts by the
program of its derivative.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import types
import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jaxdl import jaxpr as jx


def _pushed(f, x):
    return jax.jvp(f, x, x)


def _pulled(f, x):
    y, pullback = jax.vjp(f, *x)
    return y, pullback(y)


def _pushed_or_pulled(f, x):
    try:
        return _pushed(f, x)
    except (TypeError, NotImplementedError):
        return _pulled(f, x)


def _mapped(f, x):
    return jax.vmap(f, axis_size=2)(*[jnp.stack([v, v]) for v in x])


# For primitives with functions as parameters, what runs these functions.
DERIVATIVES: dict[str, Callable[..., Any]] = {
    "custom_jvp_call": _pushed,
    **dict.fromkeys(("custom_vjp_call", "custom_vjp_call_jaxpr", "linear_call"), _pulled),
    "custom_vmap_call": _mapped,
    "call_hi_primitive": _pushed_or_pulled,
}


def fingerprint(jaxpr: Any, by_value: bool = False) -> tuple[Any, ...]:
    """The key of a jaxpr. It is equal only to itself if a parameter cannot be compared.

    Args:
        jaxpr: The jaxpr; its constants count by their types.
        by_value: Whether rules count by what they compute, as inside of rules, which are not differentiated again.
    """
    plain = jx.opened(jaxpr)
    numbers = {v: i for i, v in enumerate((*plain.constvars, *plain.invars))}
    key = lambda atom: numbers[atom] if jx.is_variable(atom) else value_key(atom.val)
    eqns = []
    for eqn in plain.eqns:
        ins = tuple(map(key, eqn.invars))
        for v in eqn.outvars:
            numbers[v] = len(numbers)
        eqns.append((eqn.primitive, ins, tuple(v.aval for v in eqn.outvars), _parameters(eqn, by_value)))
    given = tuple(v.aval for v in (*plain.constvars, *plain.invars))
    return len(plain.constvars), given, tuple(eqns), tuple(map(key, plain.outvars))


def _parameters(eqn, by_value):
    key = functools.partial(value_key, by_value=by_value)
    if eqn.primitive.name not in DERIVATIVES:
        return tuple((name, key(given)) for name, given in sorted(jx.parameters(eqn).items()))
    primal = key(jx.primal_of(eqn))
    if by_value:
        return primal
    try:
        return primal, _closed(_derivative(eqn), by_value=True)
    except Exception:  # it needs a mesh axis, or has no derivative here
        return primal, ByIdentity(eqn)


def _derivative(eqn):
    """The jaxpr of the derivative of an equation with a hand-written rule."""
    args = [v.aval for v in eqn.invars]
    fixed = sum(jx.parameters(eqn).get(count, 0) for count in ("num_callee_consts", "num_res"))  # of linear_call
    moving = [i for i, a in enumerate(args) if i >= fixed and jnp.issubdtype(a.dtype, jnp.inexact)]

    def along(*args):
        return DERIVATIVES[eqn.primitive.name](jx.in_some(jx.binding(eqn), args, moving), [args[i] for i in moving])

    return jx.trace(along, *args)[0]


def _closed(jaxpr, by_value):
    """The key of an inner jaxpr, with the values of its constants: these are no inputs of the program."""
    return fingerprint(jaxpr, by_value), tuple(map(value_key, getattr(jaxpr, "consts", ())))


# JAX traces a jitted function once and returns the same jaxpr each time. Keys of jaxprs with arrays, which may change,
# are not kept.
_inner: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def _of_inner(jaxpr, by_value):
    kept = _inner.setdefault(jaxpr, {})
    if by_value in kept:
        return kept[by_value]
    found = _closed(jaxpr, by_value)
    if not _holds_arrays(jaxpr):
        kept[by_value] = found
    return found


def _holds_arrays(jaxpr):
    return bool(getattr(jaxpr, "consts", ())) or any(
        _holds_arrays(inner) for eqn in jx.opened(jaxpr).eqns for inner in jx.inner_jaxprs(eqn)
    )


def value_key(x: Any, depth: int = 0, by_value: bool = False) -> Any:
    """A hashable key for a parameter, equal for equal values."""
    if depth > 8:
        return ByIdentity(x)
    key = functools.partial(value_key, depth=depth + 1, by_value=by_value)
    if jx.is_jaxpr(x):
        return _of_inner(x, by_value)
    if isinstance(x, jax.core.Tracer):
        return ByIdentity(x)
    if hasattr(x, "dtype") and hasattr(x, "shape") and not isinstance(x, type):
        return _array(x)
    match x:
        case float() | complex():
            return type(x), repr(x)  # 0.0 is not −0.0, and NaN is NaN
        case tuple() | list():
            return type(x), tuple(map(key, x))
        case dict():
            return tuple((k, key(v)) for k, v in x.items())
        case types.FunctionType():
            return x.__code__, key(x.__defaults__), key(x.__kwdefaults__), key(_cells(x))
        case types.MethodType():
            return key(x.__func__), ByIdentity(x.__self__)
        case functools.partial():
            return functools.partial, key(x.func), key(x.args), key(x.keywords)
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return type(x), tuple(key(getattr(x, field.name)) for field in dataclasses.fields(x))
    try:
        hash(x)
    except TypeError:
        return ByIdentity(x)
    return jx.exactly(x)


def _cells(f):
    """What a function closes over. A cell may be empty."""
    return tuple(cell.cell_contents for cell in f.__closure__ or () if cell != types.CellType())


def _array(x):
    if jx.is_key(x) or getattr(x, "is_fully_addressable", True) is False:
        return ByIdentity(x)
    return x.shape, x.dtype, getattr(x, "weak_type", False), hashlib.blake2b(np.asarray(x).tobytes()).digest()


class ByIdentity:
    """A key that is equal for the same object only."""

    def __init__(self, x: Any):
        self.x: Any = x

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByIdentity) and other.x is self.x

    def __hash__(self) -> int:
        return id(self.x)
