"""Derivatives of functions of flat lists of arrays in which symbolic zeros stay symbolic: they are None.

An array of zeros in their place could meet an infinity further on, and 0 · ∞ is NaN; and it would run rules that JAX
never calls. JAX decides what is zero: each array passes an identity whose rule records whether its tangent is a
symbolic zero.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.custom_derivatives import SymbolicZero


def pushed(f: Callable[..., Any], args: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
    """The tangents of the outputs of f.

    Args:
        f: A function of arrays that returns a list of arrays.
        args: Its arguments.
        tangents: Their tangents; None for those without.

    Returns:
        The tangents of the outputs; None for symbolic zeros.
    """
    moving = [i for i, t in enumerate(tangents) if t is not None]
    moves = set()
    noting = lambda *moved: noting_tangents(_at(f, args, moving, moved), moves)
    _, along = jax.jvp(noting, [args[i] for i in moving], [tangents[i] for i in moving])
    return [t if k in moves else None for k, t in enumerate(along)]


def pulled(f: Callable[..., Any], args: Sequence[Any], moving: Sequence[int], cotangents: Sequence[Any]) -> list[Any]:
    """The cotangents of some arguments of f.

    Args:
        f: A function of arrays that returns a list of arrays.
        args: Its arguments.
        moving: The indices of the arguments to differentiate.
        cotangents: Those of the outputs; None for those without.

    Returns:
        The cotangents of the arguments at `moving`; None for symbolic zeros.
    """
    wanted = [k for k, c in enumerate(cotangents) if c is not None]
    reached = set()

    def of_moving(*moved):
        outputs = _at(f, args, moving, _noting_cotangents(moved, reached))
        return [outputs[k] for k in wanted]

    _, pullback = jax.vjp(of_moving, *[args[i] for i in moving])
    sent = pullback([cotangents[k] for k in wanted])
    return [c if k in reached else None for k, c in enumerate(sent)]


def moved(f: Callable[..., Any], types: Sequence[Any], moving: Sequence[int]) -> list[bool]:
    """Which outputs of f get a tangent where the arguments at `moving` have one; found from types alone."""
    found = []

    def along(*args):
        tangents = pushed(f, args, [x if i in moving else None for i, x in enumerate(args)])
        found.extend(t is not None for t in tangents)

    jax.eval_shape(along, *types)
    return found


def noting_tangents(arrays: Sequence[Any], moves: set[int]) -> Any:
    """The same arrays. Adds to the set `moves` the indices of those whose tangents are not symbolic zeros."""

    @jax.custom_jvp
    def same(*arrays):
        return arrays

    def rule(arrays, tangents):
        moves.update(k for k, t in enumerate(tangents) if not isinstance(t, SymbolicZero))
        return arrays, tangents

    same.defjvp(rule, symbolic_zeros=True)
    return same(*arrays)


def _at(f, args, places, values):
    full = list(args)
    for i, x in zip(places, values, strict=True):
        full[i] = x
    return f(*full)


def _noting_cotangents(arrays, reached):
    """The same arrays. Adds to the set `reached` the indices of those whose cotangents are not symbolic zeros."""

    @jax.custom_vjp
    def same(*arrays):
        return arrays

    def back(_, cotangents):
        reached.update(k for k, c in enumerate(cotangents) if not isinstance(c, SymbolicZero))
        return tuple(None if isinstance(c, SymbolicZero) else c for c in cotangents)

    same.defvjp(lambda *arrays: ([x.value for x in arrays], None), back, symbolic_zeros=True)
    return same(*arrays)
