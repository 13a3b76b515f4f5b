"""The cheapest way to multiply out a chain of Jacobians J_N ⋯ J_2 J_1, with sweeps in place of factors.

Between two points of the chain the matrix is had in three ways: pushed (tangents of the point before, or the matrix
so far, forward through the functions), pulled (cotangents backward), or as the product of two matrices. Dynamic
programming finds the cheapest of all bracketings (Godbole 1973; with sweeps: Naumann 2020, "Optimization of
generalized Jacobian chain products without memory constraints").
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Push:
    """`columns` tangents forward from point `start` to `end`, applied to the matrix of `before` (or to I)."""

    start: int
    end: int
    before: object = None


@dataclass(frozen=True)
class Pull:
    """Cotangents backward from point `end` to `start`, applied to the matrix of `after` (or to I)."""

    start: int
    end: int
    after: object = None


@dataclass(frozen=True)
class Product:
    """after · before"""

    after: object
    before: object


def bracketing(sizes: Sequence[int], work: Sequence[float], back: Sequence[float] | None = None):
    """The cheapest way to the matrix of the whole chain: its cost in operations, and the way.

    sizes: entries at each point, N + 1 of them; work: operations of one sweep through each of the N functions, forward
    (and backward where `back` does not say otherwise); infinite where there is none.
    """
    back = work if back is None else back

    @functools.cache
    def best(i, j):
        ways = [(sizes[i] * sum(work[i:j]), Push(i, j)), (sizes[j] * sum(back[i:j]), Pull(i, j))]
        for k in range(i + 1, j):
            (left, before), (right, after) = best(i, k), best(k, j)
            ways.append((left + right + 2 * sizes[i] * sizes[k] * sizes[j], Product(after, before)))
            ways.append((left + sizes[i] * sum(work[k:j]), Push(k, j, before)))
            ways.append((right + sizes[j] * sum(back[i:k]), Pull(i, k, after)))
        return min(ways, key=lambda way: way[0])

    return best(0, len(work))


def multiplied(way, push: Callable, pull: Callable, product: Callable):
    """The matrix by a bracketing: push(start, end, matrix or None), pull(start, end, matrix or None), product."""
    again = functools.partial(multiplied, push=push, pull=pull, product=product)
    match way:
        case Push(start, end, before):
            return push(start, end, before and again(before))
        case Pull(start, end, after):
            return pull(start, end, after and again(after))
        case Product(after, before):
            return product(again(after), again(before))


def sweeps(way, sizes) -> int:
    """How many sweeps a bracketing makes, through however much of the chain."""
    match way:
        case Push(_, _, before):
            return sizes[_first(way)] + (sweeps(before, sizes) if before else 0)
        case Pull(_, _, after):
            return sizes[_last(way)] + (sweeps(after, sizes) if after else 0)
        case Product(after, before):
            return sweeps(after, sizes) + sweeps(before, sizes)


def _first(way):
    """The point at which a way's matrix begins: as many columns as it has entries."""
    match way:
        case Push(start, _, before):
            return _first(before) if before else start
        case Pull(start, _, _):
            return start
        case Product(_, before):
            return _first(before)


def _last(way):
    match way:
        case Pull(_, end, after):
            return _last(after) if after else end
        case Push(_, end, _):
            return end
        case Product(after, _):
            return _last(after)
