"""What makes two traces of a function the same program: its equations, parameters and types, not its constants.

A function is traced at each call, as `jax.jacrev` does, for what it closes over may have changed. What was found out
about it is kept under this key. Arrays that it closes over are inputs of the program and do not belong to the key.
A hand-written rule is a function that is made anew in each trace: it counts by the program of its derivative.
"""

import dataclasses
import functools
import hashlib
import types
import weakref

import jax
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


# How functions among the parameters of these show what they do.
RULES = {
    "custom_jvp_call": _pushed,
    **dict.fromkeys(("custom_vjp_call", "custom_vjp_call_jaxpr", "linear_call"), _pulled),
    "custom_vmap_call": _mapped,
    "call_hi_primitive": _pushed_or_pulled,
}


def fingerprint(jaxpr, by_value=False):
    """A key that is equal for two traces only if they are one program; constants count by their types.

    Where that cannot be told (a parameter that is neither a value nor a function) it is equal to itself alone.
    by_value: what is inside a rule, which is evaluated and not differentiated again.
    """
    plain = jx.opened(jaxpr)
    numbers = {v: i for i, v in enumerate((*plain.constvars, *plain.invars))}
    place = lambda atom: numbers[atom] if jx.is_variable(atom) else value(atom.val)
    eqns = []
    for eqn in plain.eqns:
        ins = tuple(map(place, eqn.invars))
        for v in eqn.outvars:
            numbers[v] = len(numbers)
        eqns.append((eqn.primitive, ins, tuple(v.aval for v in eqn.outvars), _parameters(eqn, by_value)))
    given = tuple(v.aval for v in (*plain.constvars, *plain.invars))
    return len(plain.constvars), given, tuple(eqns), tuple(map(place, plain.outvars))


def _parameters(eqn, by_value):
    again = functools.partial(value, by_value=by_value)
    if eqn.primitive.name not in RULES:
        return tuple((name, again(given)) for name, given in sorted(jx.parameters(eqn).items()))
    primal = again(jx.primal_of(eqn))
    if by_value:
        return primal
    try:
        return primal, _closed(_derivative(eqn), by_value=True)
    except Exception:  # it asks for a mesh's axis, or has no derivative here
        return primal, Itself(eqn)


def _derivative(eqn):
    """The jaxpr of the derivative of an equation with a hand-written rule."""
    args = [v.aval for v in eqn.invars]
    fixed = sum(jx.parameters(eqn).get(count, 0) for count in ("num_callee_consts", "num_res"))  # of linear_call
    moving = [i for i, a in enumerate(args) if i >= fixed and jnp.issubdtype(a.dtype, jnp.inexact)]

    def along(*args):
        return RULES[eqn.primitive.name](jx.in_some(jx.binding(eqn), args, moving), [args[i] for i in moving])

    return jx.trace(along, *args)[0]


def _closed(jaxpr, by_value):
    """With the values of the constants: those inside of a program are not its inputs."""
    return fingerprint(jaxpr, by_value), tuple(map(value, getattr(jaxpr, "consts", ())))


# JAX traces a jitted function once, and gives the same jaxpr each time; kept unless it holds arrays, that may change.
_inner = weakref.WeakKeyDictionary()


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


def value(x, depth=0, by_value=False):
    """A parameter as something that is equal for equal values, and hashes."""
    if depth > 8:
        return Itself(x)
    again = functools.partial(value, depth=depth + 1, by_value=by_value)
    if jx.is_jaxpr(x):
        return _of_inner(x, by_value)
    if isinstance(x, jax.core.Tracer):
        return Itself(x)
    if hasattr(x, "dtype") and hasattr(x, "shape") and not isinstance(x, type):
        return _array(x)
    match x:
        case float() | complex():
            return type(x), repr(x)  # 0.0 is not −0.0, and NaN is NaN
        case tuple() | list():
            return type(x), tuple(map(again, x))
        case dict():
            return tuple((k, again(v)) for k, v in x.items())
        case types.FunctionType():
            return x.__code__, again(x.__defaults__), again(x.__kwdefaults__), again(_cells(x))
        case types.MethodType():
            return again(x.__func__), Itself(x.__self__)
        case functools.partial():
            return functools.partial, again(x.func), again(x.args), again(x.keywords)
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return type(x), tuple(again(getattr(x, field.name)) for field in dataclasses.fields(x))
    try:
        hash(x)
    except TypeError:
        return Itself(x)
    return jx.exactly(x)


def _cells(f):
    """What a function closes over; a cell may be empty."""
    return tuple(cell.cell_contents for cell in f.__closure__ or () if cell != types.CellType())


def _array(x):
    if jx.is_key(x) or getattr(x, "is_fully_addressable", True) is False:
        return Itself(x)
    return x.shape, x.dtype, getattr(x, "weak_type", False), hashlib.blake2b(np.asarray(x).tobytes()).digest()


class Itself:
    """Equal to nothing but the same object."""

    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return isinstance(other, Itself) and other.x is self.x

    def __hash__(self):
        return id(self.x)
