"""A planted fault: two functions with the same primal, whose rules differ in one place.

A rule is written once, as a formula: `pullback(*args, y, dy)` returns one cotangent per argument, and
`tangent(*args, y, *dots)` the tangent of y. `by_vjp`, `by_op` and `by_jvp` make a function with that rule. 16-bit
numbers are computed in 32 bits and rounded once, so that a right rule is right in every dtype.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

from jaxdl.ops.precision import is_differentiable, upcast
from jaxdl.rule import op, saving

KINDS = (
    "sign",
    "factor",
    "missing term",
    "transpose",
    "missing sum over a broadcast",
    "stale or swapped residual",
    "input in place of output",
    "off by one in padding",
    "missing flip",
    "wrong at ties",
    "wrong axis",
    "missing mean's 1/n",
    "forgotten epsilon",
    "zeroed entry in a large array",
    "wrong only beyond a threshold",
    "wrong only for stride > 1",
    "wrong dtype",
    "wrong shape",
    "nonlinear in the cotangent",
    "second order wrong only",
    "first-order implicit rule",
    "missing conj",
    "wrong under vmap",
    "zero where the truth is tiny",
    "NaN at an edge",
    "overflow in the rule",
    "output differs from the primal",
    "straight-through",
    "forward and reverse disagree",
    "symbolic zeros",
    "behind a stop",
)


@dataclass(frozen=True, eq=False)
class Fault:
    """Two functions of the same arrays; `verdicts` are the verdicts that an audit of `wrong` may give.

    The fault need not show at `args`, which are small and ordinary.
    """

    name: str
    kind: str
    right: Callable
    wrong: Callable
    args: tuple
    verdicts: frozenset

    def __str__(self):
        return self.name


@dataclass(frozen=True, eq=False)
class Rule:
    """A right rule, from which faults are derived; `form` is by_vjp, by_op or by_jvp."""

    form: Callable
    primal: Callable
    derivative: Callable
    args: tuple

    @functools.cached_property
    def right(self) -> Callable:
        return self.form(self.primal, self.derivative)

    def fault(self, name, kind, derivative=None, *verdicts, value=None) -> Fault:
        """The same function with another derivative or value when differentiated; verdict "wrong" unless given."""
        wrong = self.form(self.primal, derivative or self.derivative, value)
        title = f"{self.primal.__name__}: {name}"
        return Fault(title, kind, self.right, wrong, self.args, frozenset(verdicts or {"wrong"}))


# --- three forms of a rule -----------------------------------------------------------------------


def by_vjp(primal: Callable, pullback: Callable, value: Callable | None = None) -> Callable:
    """The function as a `jax.custom_vjp`; `value` computes the output when it is differentiated."""
    f = jax.custom_vjp(_in_32_bits(primal))

    def forward(*args):
        y = (value or primal)(*upcast(args))
        return _narrow(args, y), (args, y)

    def backward(kept, dy):
        args, y = kept
        return _cotangents(pullback, args, y, dy)

    f.defvjp(forward, backward)
    return f


def by_op(primal: Callable, pullback: Callable, value: Callable | None = None) -> Callable:
    """The function as a jaxdl op."""
    f = op(_in_32_bits(primal))

    @f.rule
    def rule(*args):
        y = (value or primal)(*upcast(args))
        return _narrow(args, y), saving(lambda args, y, dy: _cotangents(pullback, args, y, dy), args, y)

    return f


def by_jvp(primal: Callable, tangent: Callable, value: Callable | None = None) -> Callable:
    """The function as a `jax.custom_jvp`; the tangent gets y from the function itself, so y is differentiated too."""
    f = jax.custom_jvp(_in_32_bits(primal))

    @f.defjvp
    def jvp(args, dots):
        y = (value or f)(*upcast(args))
        dots = [upcast(d) if d.dtype != jax.dtypes.float0 else d for d in dots]
        return _narrow(args, y), _narrow(args, tangent(*upcast(args), y, *dots))

    return f


def _in_32_bits(primal):
    @functools.wraps(primal)
    def f(*args):
        return _narrow(args, primal(*upcast(args)))

    return f


def _narrow(args, y):
    """y in the dtype of the first floating-point argument, if that has 16 bits."""
    x = next(x for x in args if is_differentiable(x.dtype))
    return y if upcast(x).dtype == x.dtype else jax.tree.map(lambda y: y.astype(x.dtype), y)


def _cotangents(pullback, args, y, dy):
    """One cotangent per argument, in its dtype; None for integers."""
    found = pullback(*upcast(args), y, upcast(dy))
    given = found if isinstance(found, tuple) else (found,)
    smooth = [is_differentiable(x.dtype) for x in args]
    return tuple(d.astype(x.dtype) if s else None for d, x, s in zip(given, args, smooth, strict=True))


# --- arguments -------------------------------------------------------------------------------------


def normal(*shapes, seed=0):
    """One float32 array of each shape: normal numbers between ±1.5, no two entries equal."""
    random = np.random.default_rng(seed)
    draw = lambda shape: np.clip(0.8 * random.standard_normal(shape), -1.45, 1.45) + 0.05 * random.random(shape)
    return tuple(jnp.asarray(draw(shape), jnp.float32) for shape in shapes)


def positive(*shapes, seed=0):
    """One float32 array of each shape: uniform numbers between 0.5 and 2."""
    random = np.random.default_rng(seed)
    return tuple(jnp.asarray(random.uniform(0.5, 2, shape), jnp.float32) for shape in shapes)


def complex_normal(*shapes, seed=0):
    """One complex64 array of each shape, with real and imaginary parts as by `normal`."""
    real, imaginary = normal(*shapes, seed=seed), normal(*shapes, seed=seed + 1)
    return tuple(jax.lax.complex(a, b) for a, b in zip(real, imaginary, strict=True))


# --- JAX's check ---------------------------------------------------------------------------------------


def check_grads_sees(fault: Fault) -> bool:
    """Whether `jax.test_util.check_grads` raises on the wrong rule: its defaults, order 2, all modes that apply."""
    places = [i for i, x in enumerate(fault.args) if is_differentiable(x.dtype)]

    def in_floats(*moving):
        args = list(fault.args)
        for i, x in zip(places, moving, strict=True):
            args[i] = x
        return fault.wrong(*args)

    modes = ("rev",) if isinstance(fault.wrong, jax.custom_vjp) else ("fwd", "rev")
    try:
        check_grads(in_floats, [fault.args[i] for i in places], order=2, modes=modes)
    except Exception:  # an AssertionError, or an exception of the rule
        return True
    return False
