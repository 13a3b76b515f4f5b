"""Derivatives from values alone, computed in far more digits than are asked for."""

import math
from dataclasses import dataclass

import jax
import numpy as np

from jaxdl import jaxpr as jx
from jaxdl.exact.evaluation import inputs, traced
from jaxdl.exact.interpreter import run
from jaxdl.exact.numbers import each, exact, filled, is_complex, is_exact, is_inexact, new_context, own, parts, shared
from jaxdl.exact.one_sided import LEFT, RIGHT, OneSidedSlopes
from jaxdl.exact.special import SLOW

# Numbers that close to the largest of their type only mark what is masked.
MASK = 0.01


@dataclass(frozen=True)
class Derivative:
    """The derivative of one output of a function along a line: object arrays of mpmath's numbers, of its shape.

    left, right  the one-sided derivatives: of f's values for t < 0 and for t > 0, without the one at 0; ±∞ where
                 the slope is infinite, NaN where there is no limit, or f is not defined on that side
    value        the derivative where both sides have the same and f does not jump; NaN elsewhere and where
                 f itself is not finite
    is_kink      both one-sided derivatives exist and differ
    is_jump      f(0) is not the limit from one of the sides (at order 2 also: the first derivative jumps)
    is_infinite  one of the sides is infinite

    The flags are boolean arrays. For complex outputs they hold if they do for either part.
    """

    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    is_kink: np.ndarray
    is_jump: np.ndarray
    is_infinite: np.ndarray


def derivative(f, order=1, digits=50, along=None):
    """dⁿ/dtⁿ f(args + t · along) at t = 0 for n = 1 or 2, by values of f alone: a function of the same arguments.

    Returns the pytree of f's result with a `Derivative` for each real or complex array and None for the others.
    `along` is a tuple like the arguments, None where nothing moves; by default all real and complex arguments
    move by one, so that each entry of an elementwise function has its ordinary derivative.

    f is evaluated by `evaluate` at a few points on each side of 0, in steps far smaller than any number near it:
    10⁻²⁰ of the spacing of float64 numbers at the smallest argument or constant, and smaller ones still. What is
    returned agreed for two very different steps and precisions to half of the digits, and its error is then about
    the square of that difference: normally all digits are right, at least half of them. Cancellation is followed
    to some 600 digits (100 where f calls gamma functions and their like), and a derivative below 10⁻³³⁰ that such
    cancellation would explain is 0. A limit that is not found, as by oscillation, is NaN.

    Raises ValueError for another order or an `along` that does not fit; else as `evaluate`.
    """
    if order not in (1, 2):
        raise ValueError(f"exact.derivative: order is 1 or 2, got {order!r}")

    def differentiated(*args):
        jaxpr, shape = traced(f, args)
        line = Line(jaxpr, args, directions(args, along))
        kinds = jaxpr.out_avals
        if not any(map(is_inexact, kinds)):
            return jax.tree.map(lambda _: None, shape)
        slopes, mp = followed(line, order, digits)
        slopes = iter(slopes)
        found = [assembled(mp, slopes, kind, digits) if is_inexact(kind) else None for kind in kinds]
        return jax.tree.structure(shape).unflatten(found)

    return differentiated


def directions(args, along):
    """The leaves of `along`, one for each array among the arguments, None where it does not move."""
    if along is None:
        return [1] * len(jax.tree.leaves(args))
    moves = []
    spread = lambda a, x: moves.extend((a, leaf) for leaf in jax.tree.leaves(x))
    jax.tree.map(spread, along, args, is_leaf=lambda a: a is None)
    for a, x in moves:
        if a is not None and np.shape(a) != np.shape(x):
            raise ValueError(
                f"exact.derivative: along has shape {np.shape(a)} for an argument of shape {np.shape(x)}; "
                f"give it the argument's shape, or None where the argument does not move"
            )
    return [a for a, _ in moves]


class Line:
    """f along a line, as a function of t that gives the list of all real numbers in its result."""

    def __init__(self, jaxpr, args, moves):
        self.jaxpr, self.args, self.moves = jaxpr, jax.tree.leaves(args), moves
        self.kinds = [v.aval for v in inputs(jaxpr)]
        mp = new_context(20)
        moving = [x for x, _ in self.values(mp) if is_exact(x)]
        speeds = [a for _, a in self.values(mp) if a is not None]
        self.speed = max((abs(v) for a in speeds for v in a.ravel()), default=mp.one) or mp.one
        sizes = [mp.mag(abs(v)) for x in moving for v in x.ravel() if v != 0 and mp.isfinite(v)]
        thresholds = [math.frexp(v)[1] for v in constants(jaxpr)]
        # As powers of two: no two different numbers should be closer, none larger.
        self.finest = min([0, *sizes]) - 56
        self.finest = min([self.finest, *[-abs(e) for e in thresholds]])
        self.largest = max([0, *sizes, *thresholds])
        self.is_slow = bool(SLOW.intersection(names(jaxpr)))

    def values(self, mp):
        """The arguments and their directions."""
        for x, a, kind in zip(self.args, self.moves, self.kinds, strict=True):
            x = exact(mp, x, kind)
            if a is not None and is_inexact(kind):
                a = np.broadcast_to(exact(mp, a, jax.ShapeDtypeStruct(np.shape(a), kind.dtype)), x.shape)
                yield x, a
            else:
                yield x, None

    def at(self, mp, t):
        moved = [x if a is None else each(lambda v, w: v + t * w, x, a) for x, a in self.values(mp)]
        y = [part for part in run(self.jaxpr, moved, mp) if is_exact(part)]
        return [v for part in y for entry in part.ravel() for v in parts(entry)]


def walk(jaxpr):
    """A jaxpr and all jaxprs inside it, also the definitions that are traced for it."""
    yield jaxpr
    for eqn in jx.opened(jaxpr).eqns:
        is_traced = eqn.primitive.name in ("jaxdl_op", "call_hi_primitive")
        for inner in [jx.primal_of(eqn)] if is_traced else jx.inner_jaxprs(eqn):
            yield from walk(inner)


def names(jaxpr):
    return {eqn.primitive.name for inner in walk(jaxpr) for eqn in jx.opened(inner).eqns}


def constants(jaxpr):
    """The sizes of all numbers that are written in a jaxpr, without 0 and those that mark what is masked."""
    for inner in walk(jaxpr):
        literals = [a for eqn in jx.opened(inner).eqns for a in eqn.invars if not jx.is_variable(a)]
        given = [(a.val, a.aval) for a in literals]
        given += [(c, v.aval) for c, v in zip(getattr(inner, "consts", ()), jx.opened(inner).constvars, strict=True)]
        for c, kind in given:
            if is_inexact(kind):
                sizes = np.abs(np.asarray(c, kind.dtype)).astype(np.float64).ravel()
                usual = sizes[(sizes > 0) & (sizes < MASK * float(jax.numpy.finfo(kind.dtype).max))]
                yield from (usual.min(), usual.max()) if usual.size else ()


def followed(line, order, digits):
    """The one-sided slopes of each number in the result, all settled by small enough steps, and the context.

    A step is (how far below the finest scale, decimal digits to spare).
    """
    spare = (10, 100, 350, 400) if line.is_slow else (10, 600, 750, 1450)
    below = (0.4, 0.6, 1.6, 4.0)
    mp = new_context(digits)
    slopes = None
    for share, extra in zip(below, spare, strict=True):
        depth = math.ceil(share * digits * math.log2(10)) - line.finest
        mp.prec = order * (depth + 3) + line.largest + math.ceil((digits + extra) * math.log2(10))
        h = mp.ldexp(1, -depth) / own(mp, line.speed)
        centre = line.at(mp, 0 * h)
        sides = [zip(*[line.at(mp, side * h * 2**j) for j in range(order + 2)], strict=True) for side in (LEFT, RIGHT)]
        slopes = slopes or [OneSidedSlopes(mp, order, digits, len(spare)) for _ in centre]
        for slope, f0, left, right in zip(slopes, centre, *sides, strict=True):
            slope.add(h, f0, left, right)
        if all(slope.is_settled for slope in slopes):
            break
    return slopes, mp


def assembled(mp, slopes, kind, digits):
    """The next one-sided slopes, one for each entry of an output (two where it is complex), as a Derivative."""
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
