"""Colours of columns by their places on a grid: a stencil on a grid of any dimension often needs no more than its size.

Column j has the coordinates d₀, d₁, … on a grid, and the colour c₀ d₀ + c₁ d₁ + … modulo k. Two columns with a row in
common have different colours if the difference of their coordinates does not give 0: few differences are to be checked,
however large the grid. (Perfect codes of the five-point stencil are of this form: i + 2j modulo 5.)
"""

from __future__ import annotations

import itertools

import numpy as np

from jaxdl.jacobian.analysis.pattern.dependence import Matrix

# Pairs of columns to look at, and products of coefficients and differences to compute.
MOST_PAIRS = 20_000_000
MOST_CHECKS = 2_000_000
MOST_AXES, MOST_STEPS = 4, 8


def on_a_grid(pattern: Matrix, least: int, most: int) -> np.ndarray | None:
    """Colours of columns with at least `least` and fewer than `most` colours; None if none are found."""
    if pattern.nnz * least > MOST_PAIRS:
        return None
    pairs, best = _pairs(pattern, least), None
    for steps in _grids(pairs, pattern.shape[1])[: MOST_PAIRS // max(pairs[0].size, 1)]:
        coordinates = _coordinates(steps, pattern.shape[1])
        coefficients = _coefficients(_differences(coordinates, pairs), least, most)
        if coefficients is not None:
            *c, most = coefficients
            best = (c @ coordinates) % most
        if most == least:
            break
    return None if best is None else np.unique(best, return_inverse=True)[1].astype(np.int32)


def _coefficients(differences: np.ndarray, least: int, most: int) -> list[int] | None:
    """The c for which c · d is not 0 modulo k for any difference d, and k, the smallest one from `least` to `most`."""
    axes, count = differences.shape
    for k in range(least, most):
        if k**axes * count > MOST_CHECKS:
            return None
        c = np.array(list(itertools.product(range(k), repeat=axes)))
        good = ((c @ differences) % k != 0).all(1)
        if good.any():
            return [*c[good.argmax()].tolist(), k]
    return None


def _pairs(pattern: Matrix, fullest: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of columns that have a row in common, the smaller one first; one for each row."""
    row = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
    smaller, larger = [], []
    for gap in range(1, fullest):
        together = row[gap:] == row[:-gap]
        smaller.append(pattern.indices[:-gap][together])
        larger.append(pattern.indices[gap:][together])
    return np.concatenate(smaller), np.concatenate(larger)


def _grids(pairs: tuple[np.ndarray, np.ndarray], n: int) -> list[list[int]]:
    """Possible steps along the axes of a grid of n columns, those of few axes first: frequent distances of pairs.

    Each step is a multiple of the one before, the size of the last axis.
    """
    distance, count = np.unique(pairs[1] - pairs[0], return_counts=True)
    frequent = [step for step in distance[count > n // 8].tolist() if step > 1 and n % step == 0][:MOST_STEPS]
    grids = ([1, *steps] for axes in range(MOST_AXES) for steps in itertools.combinations(frequent, axes))
    return [steps for steps in grids if all(b % a == 0 for a, b in itertools.pairwise(steps))]


def _coordinates(steps: list[int], n: int) -> np.ndarray:
    """(axes, n)"""
    place = np.arange(n)
    return np.stack([place % above // step for step, above in zip(steps, [*steps[1:], n], strict=True)])


def _differences(coordinates: np.ndarray, pairs: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The distinct differences of the coordinates of pairs, (axes, differences)."""
    sizes = 2 * coordinates.max(1) + 1
    difference = coordinates[:, pairs[1]] - coordinates[:, pairs[0]] + coordinates.max(1)[:, None]
    codes = np.unique(np.ravel_multi_index(tuple(difference), tuple(sizes)))
    return np.stack(np.unravel_index(codes, tuple(sizes))) - coordinates.max(1)[:, None]
