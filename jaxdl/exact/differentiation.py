"""Derivatives from function values alone, computed with far more digits than requested."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.exact.evaluation import inputs, trace_exactly
from jaxdl.exact.interpreter import run
from jaxdl.exact.numbers import each, exact, filled, is_complex, is_exact, is_inexact, new_context, own, parts, shared
from jaxdl.exact.one_sided import LEFT, RIGHT, OneSidedSlopes
from jaxdl.exact.special import SLOW
from jaxdl.exact.types import Context, Kind, Number

# Constants larger than this part of the largest number of their type only serve as masks.
MASK = 0.01


@dataclass(frozen=True)
class Derivative:
    """The derivative of one output of a function along a line.

    All attributes are arrays of the output's shape: object arrays of mpmath's numbers, and boolean arrays. For a
    complex output a flag is true if it is for the real or the imaginary part.

    Attributes:
        left: The left derivative, from the function's values for t < 0 without the value at 0: ±∞ where the slope is
            infinite, NaN where there is no limit or the function is not defined on that side.
        right: The right derivative, from the values for t > 0.
        value: The derivative where both one-sided derivatives agree and the function does not jump; NaN elsewhere, and
            where the function itself is not finite.
        is_kink: Both one-sided derivatives exist and differ.
        is_jump: f(0) is not the limit from one of the sides; at order 2 also: the first derivative jumps.
        is_infinite: A one-sided derivative is infinite.
    """

    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    is_kink: np.ndarray
    is_jump: np.ndarray
    is_infinite: np.ndarray


def derivative(f: Callable[..., Any], order: int = 1, digits: int = 50, along: Any = None) -> Callable[..., Any]:
    """dⁿ/dtⁿ f(args + t · along) at t = 0, from values of f alone, as a function of f's arguments.

    f is evaluated by `evaluate` at a few points on each side of 0. The steps are far smaller than any number in f:
    10⁻²⁰ of the spacing of float64 numbers at the smallest argument or constant, and less. The result is accepted if it
    agrees to half of the digits for two very different steps and precisions; its error is then about the square of
    their difference, so that normally all digits are right, and at least half of them. Cancellation is compensated up
    to about 600 digits (100 if f calls gamma functions and the like); a derivative below 10⁻³³⁰ that such a
    cancellation would explain is returned as 0. If no limit is found, as for an oscillation, the result is NaN.

    Args:
        f: A JAX function.
        order: n, 1 or 2.
        digits: Decimal digits of the result.
        along: The direction: a tuple like the arguments, with None for constant ones. By default 1 for every entry of
            every real or complex argument, so that an elementwise function has its ordinary derivative.

    Returns:
        A function of f's arguments. It returns the pytree of f's result with a `Derivative` for each real or complex
        array, and None for other arrays.

    Raises:
        ValueError: order is not 1 or 2, or along does not fit the arguments. The returned function raises what
            `evaluate`'s does.

    Examples:
        >>> slope = jaxdl.exact.derivative(jnp.abs)(jnp.float32(0))
        >>> float(slope.left), float(slope.right), bool(slope.is_kink)
        (-1.0, 1.0, True)
    """
    if order not in (1, 2):
        raise ValueError(f"exact.derivative: order is 1 or 2, got {order!r}")

    def differentiated(*args):
        jaxpr, shape = trace_exactly(f, args)
        line = Line(jaxpr, args, directions_of_arguments(args, along))
        kinds = jaxpr.out_avals
        if not any(map(is_inexact, kinds)):
            return jax.tree.map(lambda _: None, shape)
        found, mp = slopes_of(line, order, digits)
        slopes = iter(found)
        results = [assembled(mp, slopes, kind, digits) if is_inexact(kind) else None for kind in kinds]
        return jax.tree.structure(shape).unflatten(results)

    return differentiated


def directions_of_arguments(args: tuple[Any, ...], along: Any) -> list[Any]:
    """The leaves of `along`, one for each array among the arguments, None for constant ones."""
    if along is None:
        return [1] * len(jax.tree.leaves(args))
    pairs = []
    spread = lambda a, x: pairs.extend((a, leaf) for leaf in jax.tree.leaves(x))
    jax.tree.map(spread, along, args, is_leaf=lambda a: a is None)
    for a, x in pairs:
        if a is not None and np.shape(a) != np.shape(x):
            raise ValueError(
                f"exact.derivative: along has shape {np.shape(a)} for an argument of shape {np.shape(x)}; "
                f"give it the argument's shape, or None for a constant argument"
            )
    return [a for a, _ in pairs]


class Line:
    """f along a line: a function of t whose values are lists of all real numbers in f's result."""

    def __init__(self, jaxpr: jx.AnyJaxpr, args: tuple[Any, ...], along: list[Any]):
        self.jaxpr: jx.AnyJaxpr = jaxpr
        self.along: list[Any] = along
        self.args: list[Any] = jax.tree.leaves(args)
        self.kinds: list[Kind] = [v.aval for v in inputs(jaxpr)]
        mp = new_context(20)
        arrays = [x for x, _ in self.values(mp) if is_exact(x)]
        speeds = [a for _, a in self.values(mp) if a is not None]
        self.speed: Number = max((abs(v) for a in speeds for v in a.ravel()), default=mp.one) or mp.one
        sizes = [mp.mag(abs(v)) for x in arrays for v in x.ravel() if v != 0 and mp.isfinite(v)]
        thresholds = [math.frexp(v)[1] for v in constants(jaxpr)]
        # As powers of two: assumed least distance of two numbers in f, and largest number.
        self.finest = min([0, *sizes]) - 56
        self.finest = min([self.finest, *[-abs(e) for e in thresholds]])
        self.largest: int = max([0, *sizes, *thresholds])
        self.is_slow: bool = bool(SLOW.intersection(names(jaxpr)))

    def values(self, mp: Context) -> Iterator[tuple[Any, Any]]:
        """Each argument with its direction, None for a constant one."""
        for x, a, kind in zip(self.args, self.along, self.kinds, strict=True):
            x = exact(mp, x, kind)
            if a is not None and is_inexact(kind):
                a = np.broadcast_to(exact(mp, a, jax.ShapeDtypeStruct(np.shape(a), kind.dtype)), x.shape)
                yield x, a
            else:
                yield x, None

    def at(self, mp: Context, t: Number) -> list[Number]:
        moved = [x if a is None else each(lambda v, w: v + t * w, x, a) for x, a in self.values(mp)]
        y = [part for part in run(self.jaxpr, moved, mp) if is_exact(part)]
        return [v for part in y for entry in part.ravel() for v in parts(entry)]


def walk(jaxpr: jx.AnyJaxpr) -> Iterator[jx.AnyJaxpr]:
    """A jaxpr and all jaxprs inside it, including the definitions of ops."""
    yield jaxpr
    for eqn in jx.opened(jaxpr).eqns:
        is_traced = eqn.primitive.name in ("jaxdl_op", "call_hi_primitive")
        for inner in [jx.primal_of(eqn)] if is_traced else jx.inner_jaxprs(eqn):
            yield from walk(inner)


def names(jaxpr: jx.AnyJaxpr) -> set[str]:
    return {eqn.primitive.name for inner in walk(jaxpr) for eqn in jx.opened(inner).eqns}


def constants(jaxpr: jx.AnyJaxpr) -> Iterator[float]:
    """The absolute values of all numbers that are written in a jaxpr, without 0 and without masks."""
    for inner in walk(jaxpr):
        literals = [a for eqn in jx.opened(inner).eqns for a in eqn.invars if not jx.is_variable(a)]
        given = [(a.val, a.aval) for a in literals]
        given += [(c, v.aval) for c, v in zip(getattr(inner, "consts", ()), jx.opened(inner).constvars, strict=True)]
        for c, kind in given:
            if is_inexact(kind):
                sizes = np.abs(np.asarray(c, kind.dtype)).astype(np.float64).ravel()
                usual = sizes[(sizes > 0) & (sizes < MASK * float(jax.numpy.finfo(kind.dtype).max))]
                yield from (usual.min(), usual.max()) if usual.size else ()


def slopes_of(line: Line, order: int, digits: int) -> tuple[list[OneSidedSlopes], Context]:
    """The one-sided slopes of each number in f's result, with the mpmath context.

    Steps become smaller, and precision higher, until all slopes are settled.
    """
    spare_digits = (10, 100, 350, 400) if line.is_slow else (10, 600, 750, 1450)
    depths = (0.4, 0.6, 1.6, 4.0)  # how far the step is below the finest scale, over the digits
    mp = new_context(digits)
    slopes = []
    for ratio, extra in zip(depths, spare_digits, strict=True):
        depth = math.ceil(ratio * digits * math.log2(10)) - line.finest
        mp.prec = order * (depth + 3) + line.largest + math.ceil((digits + extra) * math.log2(10))
        h = mp.ldexp(1, -depth) / own(mp, line.speed)
        centre = line.at(mp, 0 * h)
        sides = [zip(*[line.at(mp, side * h * 2**j) for j in range(order + 2)], strict=True) for side in (LEFT, RIGHT)]
        slopes = slopes or [OneSidedSlopes(mp, order, digits, len(spare_digits)) for _ in centre]
        for slope, f0, left, right in zip(slopes, centre, *sides, strict=True):
            slope.add(h, f0, left, right)
        if all(slope.is_settled for slope in slopes):
            break
    return slopes, mp


def assembled(mp: Context, slopes: Iterator[OneSidedSlopes], kind: Kind, digits: int) -> Derivative:
    """A Derivative from the next slopes, one for each entry of an output, or two if it is complex."""
    per_entry = 2 if is_complex(kind) else 1
    entries = [[next(slopes) for _ in range(per_entry)] for _ in range(kind.size)]
    mp.dps = digits + 10
    number = mp.mpc if per_entry == 2 else lambda x: +x
    numbers = lambda get: shared(filled([number(*map(get, entry)) for entry in entries], kind.shape))
    flags = lambda get: np.array([any(map(get, entry)) for entry in entries], bool).reshape(kind.shape)
    return Derivative(
        left=numbers(lambda slope: slope.derivatives[LEFT]),
        right=numbers(lambda slope: slope.derivatives[RIGHT]),
        value=numbers(lambda slope: slope.value),
        is_kink=flags(lambda slope: slope.is_kink),
        is_jump=flags(lambda slope: slope.is_jump),
        is_infinite=flags(lambda slope: slope.is_infinite),
    )
