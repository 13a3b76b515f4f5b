"""The cheapest way to multiply a chain of Jacobians J_N ⋯ J_2 J_1, where a sweep may replace a matrix product.

The matrix between two points of the chain can be computed in three ways: push tangents forward through the functions,
pull cotangents backward, or multiply two matrices. Dynamic programming finds the cheapest combination (Godbole 1973;
with sweeps: Naumann 2020, "Optimization of generalized Jacobian chain products without memory constraints").
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

MOST_POINTS = 48  # all bracketings are compared up to so many


@dataclass(frozen=True)
class Factor:
    """The matrix of one function, from point `start` to the next, which the caller computes in its own way."""

    start: int


@dataclass(frozen=True)
class Push:
    """Tangents pushed from point `start` to `end`: the columns of `before`, or of the identity if there is none."""

    start: int
    end: int
    before: Bracketing | None = None


@dataclass(frozen=True)
class Pull:
    """Cotangents pulled from point `end` to `start`: the rows of `after`, or of the identity if there is none."""

    start: int
    end: int
    after: Bracketing | None = None


@dataclass(frozen=True)
class Product:
    """after · before"""

    after: Bracketing
    before: Bracketing


Bracketing = Factor | Push | Pull | Product


def bracketing(
    sizes: Sequence[int],
    forward: Sequence[float],
    backward: Sequence[float] | None = None,
    factors: Sequence[float] | None = None,
) -> tuple[float, Bracketing]:
    """Finds the cheapest way to compute the matrix of the whole chain. In a long one, products are at `useful_points`.

    Args:
        sizes: The number of entries at each of the N + 1 points.
        forward: Operations of one forward sweep through each of the N functions; infinite where there is none.
        backward: The same for backward sweeps; by default the same numbers.
        factors: Operations to compute the matrix of each function. By default it is computed by sweeps.

    Returns:
        The number of operations, and the way.
    """
    backward = forward if backward is None else backward
    points = useful_points(sizes, forward, backward)
    width, last = [sizes[point] for point in points], len(points) - 1
    best: dict[tuple[int, int], tuple[float, Bracketing]] = {}  # the cheapest way between two points
    for k, (i, j) in enumerate(itertools.pairwise(points)):
        best[k, k + 1] = _without_product(sizes, forward, backward, factors, i, j)
    ahead, back = ([sum(costs[i:j]) for i, j in itertools.pairwise(points)] for costs in (forward, backward))
    for length in range(2, last + 1):
        for i in range(last - length + 1):
            j = i + length
            pushed = best[i, j - 1][0] + width[i] * ahead[j - 1]
            pulled = best[i + 1, j][0] + width[j] * back[i]
            area = 2 * width[i] * width[j]
            product, k = min((best[i, k][0] + best[k, j][0] + area * width[k], k) for k in range(i + 1, j))
            least = min(pushed, pulled, product)
            if least == pushed:
                way = _push(points[j - 1], points[j], best[i, j - 1][1])
            elif least == pulled:
                way = _pull(points[i], points[i + 1], best[i + 1, j][1])
            else:
                way = Product(best[k, j][1], best[i, k][1])
            best[i, j] = least, way
    return best[0, last]


def _without_product(
    sizes: Sequence[int],
    forward: Sequence[float],
    backward: Sequence[float],
    factors: Sequence[float] | None,
    i: int,
    j: int,
) -> tuple[float, Bracketing]:
    """The cheaper one of a push and a pull between two points, from the first or last factor if there are factors."""
    if factors is None:
        pushed, pulled = sizes[i] * sum(forward[i:j]), sizes[j] * sum(backward[i:j])
        return (pushed, Push(i, j)) if pushed <= pulled else (pulled, Pull(i, j))
    if j == i + 1:
        return factors[i], Factor(i)
    pushed = factors[i] + sizes[i] * sum(forward[i + 1 : j])
    pulled = factors[j - 1] + sizes[j] * sum(backward[i : j - 1])
    return (pushed, Push(i + 1, j, Factor(i))) if pushed <= pulled else (pulled, Pull(i, j - 1, Factor(j - 1)))


def useful_points(sizes: Sequence[int], forward: Sequence[float], backward: Sequence[float]) -> list[int]:
    """The points of a chain between which matrices are multiplied: all, or of a long chain those that may be useful.

    A product at a point that is as wide as one before it and one after it is never cheaper than sweeps through it, as
    long as the functions have both modes. So these are left out, except between functions that have different modes.
    """
    last = len(forward)
    if last <= MOST_POINTS:
        return list(range(last + 1))
    turns = [0, *_turns(sizes, forward, backward), last]
    narrow = sorted({k for a, b in itertools.pairwise(turns) for k in _narrowest_so_far(sizes, a, b)} - set(turns))
    every = -(-len(narrow) // MOST_POINTS) or 1
    narrowest = min(narrow, key=lambda k: sizes[k], default=0)
    return sorted({*turns, *narrow[::every], narrowest})


def _turns(sizes: Sequence[int], forward: Sequence[float], backward: Sequence[float]) -> list[int]:
    """For each function that cannot be swept in one mode with those before it, the narrowest point between them."""
    turns, since, ahead, back = [], 0, 0.0, 0.0
    for k, costs in enumerate(zip(forward, backward, strict=True)):
        ahead, back = ahead + costs[0], back + costs[1]
        if math.isinf(ahead) and math.isinf(back) and k:
            turns.append(min(range(since, k + 1), key=lambda point: sizes[point]))
            ahead, back = costs
        if math.isinf(sum(costs)):
            since = k + 1
    return turns


def _narrowest_so_far(sizes: Sequence[int], start: int, end: int) -> Iterator[int]:
    """The points from `start` to `end` that are narrower than all before them, or than all after them."""
    for points in (range(start, end + 1), range(end, start - 1, -1)):
        least = math.inf
        for point in points:
            if sizes[point] < least:
                least = sizes[point]
                yield point


def _push(start: int, end: int, before: Bracketing) -> Push:
    """One push where another one would precede it."""
    return Push(before.start, end, before.before) if isinstance(before, Push) else Push(start, end, before)


def _pull(start: int, end: int, after: Bracketing) -> Pull:
    return Pull(start, after.end, after.after) if isinstance(after, Pull) else Pull(start, end, after)


def as_data(way: Bracketing | None) -> Any:
    """A bracketing as nested lists: the name of its class, and its attributes."""
    if not isinstance(way, Factor | Push | Pull | Product):
        return way
    return [type(way).__name__, *(as_data(getattr(way, field.name)) for field in fields(way))]


def of_data(data: Any) -> Any:
    """The bracketing that `as_data` gave these lists for."""
    if not isinstance(data, list):
        return data
    name, *given = data
    kinds = {kind.__name__: kind for kind in (Factor, Push, Pull, Product)}
    return kinds[name](*map(of_data, given))


def multiplied(
    way: Bracketing,
    push: Callable[..., Any],
    pull: Callable[..., Any],
    product: Callable[..., Any],
    factor: Callable[..., Any] | None = None,
) -> Any:
    """The matrix by a bracketing.

    Args:
        way: The bracketing.
        push: `push(start, end, matrix)`; the matrix is None where tangents start from the identity.
        pull: `pull(start, end, matrix)`, the same for cotangents.
        product: `product(after, before)`.
        factor: `factor(start)`, for bracketings that were found with `factors`.
    """
    inner = functools.partial(multiplied, push=push, pull=pull, product=product, factor=factor)
    match way:
        case Push(start, end, before):
            return push(start, end, None if before is None else inner(before))
        case Pull(start, end, after):
            return pull(start, end, None if after is None else inner(after))
        case Product(after, before):
            return product(inner(after), inner(before))
    assert factor is not None
    return factor(way.start)


def sweeps(way: Bracketing, sizes: Sequence[int]) -> int:
    """How many sweeps a bracketing takes, each through any number of functions."""
    return sum(step.sweeps for step in steps(way, sizes))


class Step(NamedTuple):
    """A step of a bracketing: `sweeps` forward or reverse sweeps from a point to another, or a product."""

    kind: str
    sweeps: int
    start: int
    end: int


def steps(way: Bracketing, sizes: Sequence[int]) -> list[Step]:
    """The steps of a bracketing, in order."""
    match way:
        case Push(start, end, before):
            return [*(steps(before, sizes) if before else ()), Step("forward", sizes[_first(way)], start, end)]
        case Pull(start, end, after):
            return [*(steps(after, sizes) if after else ()), Step("reverse", sizes[_last(way)], end, start)]
        case Product(after, before):
            product = Step("product", 0, _first(before), _last(after))
            return [*steps(before, sizes), *steps(after, sizes), product]
    return []


def _first(way: Bracketing) -> int:
    """The point where a way's matrix starts: it has as many columns as that point has entries."""
    match way:
        case Product(_, before):
            return _first(before)
        case Push(_, _, before) if before is not None:
            return _first(before)
        case Factor(start) | Push(start) | Pull(start):
            return start


def _last(way: Bracketing) -> int:
    """The point where a way's matrix ends: it has as many rows as that point has entries."""
    match way:
        case Product(after, _):
            return _last(after)
        case Pull(_, _, after) if after is not None:
            return _last(after)
        case Push(_, end) | Pull(_, end):
            return end
        case Factor(start):
            return start + 1
