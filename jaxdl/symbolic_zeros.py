"""Derivatives of a function of flat arrays whose zeros stay symbolic: None where nothing moves, or nothing is asked.

A zero that is filled in meets infinities further on, and 0 · ∞ is no number; and a rule that is given one runs where
JAX would never call it. What is zero is JAX's own decision: each array goes through an identity whose rule is told.
"""

from collections.abc import Callable, Sequence

import jax
from jax.custom_derivatives import SymbolicZero


def pushed(f: Callable, args: Sequence, tangents: Sequence) -> list:
    """The tangents of the outputs of f, which gives a list, as its arguments move along `tangents`.

    None stands for an argument that stays, and for an output that does not move.
    """
    moving = [i for i, t in enumerate(tangents) if t is not None]
    moves = set()
    told = lambda *moved: telling_tangents(_at(f, args, moving, moved), moves)
    _, along = jax.jvp(told, [args[i] for i in moving], [tangents[i] for i in moving])
    return [t if k in moves else None for k, t in enumerate(along)]


def pulled(f: Callable, args: Sequence, moving: Sequence[int], cotangents: Sequence) -> list:
    """The cotangents of the arguments at places `moving`, from those of the outputs of f, which gives a list.

    None stands for an output from which nothing flows, and for an argument to which nothing does.
    """
    asked = [k for k, c in enumerate(cotangents) if c is not None]
    reached = set()

    def of_moving(*moved):
        outputs = _at(f, args, moving, _telling_cotangents(moved, reached))
        return [outputs[k] for k in asked]

    _, pullback = jax.vjp(of_moving, *[args[i] for i in moving])
    sent = pullback([cotangents[k] for k in asked])
    return [c if k in reached else None for k, c in enumerate(sent)]


def moved(f: Callable, types: Sequence, moving: Sequence[int]) -> list[bool]:
    """Which outputs of f, which gives a list, move with the arguments at places `moving`; from types alone."""
    found = []

    def along(*args):
        tangents = pushed(f, args, [x if i in moving else None for i, x in enumerate(args)])
        found.extend(t is not None for t in tangents)

    jax.eval_shape(along, *types)
    return found


def telling_tangents(arrays, moves):
    """The same arrays; `moves` takes the places of those whose tangents are no symbolic zeros."""

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


def _telling_cotangents(arrays, reached):
    """The same arrays; `reached` takes the places of those to which cotangents come that are no symbolic zeros."""

    @jax.custom_vjp
    def same(*arrays):
        return arrays

    def back(_, cotangents):
        reached.update(k for k, c in enumerate(cotangents) if not isinstance(c, SymbolicZero))
        return tuple(None if isinstance(c, SymbolicZero) else c for c in cotangents)

    same.defvjp(lambda *arrays: ([x.value for x in arrays], None), back, symbolic_zeros=True)
    return same(*arrays)
